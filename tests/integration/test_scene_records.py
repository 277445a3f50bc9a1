"""What a run remembers of its scenes: which blocks it saw, and which bands."""

import json

import pytest

from changedet.card import read_card
from changedet.data.index import index_pairs
from changedet.errors import ConfigError
from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model
from changedet.training.run import TrainRequest, run_training
from stand_ins import TINY_NETWORK

pytestmark = pytest.mark.usefixtures("blank_charts")
TINY = (
    *TINY_NETWORK,
    "training.epochs=1",
    "training.batch_size=8",
)
BANDS = "bands: [5, 1, 2]\nbands_after: [4, 1, 2]\n"


def edit(scene, old, new):
    text = scene.manifest.read_text()
    assert old in text
    scene.manifest.write_text(text.replace(old, new))


def resume(out, **options):
    request = TrainRequest(
        out=out, overrides=("training.epochs=2",), device="cpu", mode="resume", **options
    )
    return run_training(request)


def evaluate(run, scene, out, **options):
    said = []
    request = EvaluationRequest(
        model=run / "best.safetensors",
        data=scene.folder,
        out=out,
        device="cpu",
        panels=0,
        existing="replace",
        **options,
    )
    return evaluate_model(request, say=said.append), said


@pytest.fixture
def scene(write_scene):
    scene = write_scene(bands=5)
    scene.manifest.write_text(scene.manifest.read_text() + BANDS)
    return scene


@pytest.fixture
def run(scene, tmp_path):
    out = tmp_path / "run"
    run_training(TrainRequest(out=out, data=scene.folder, overrides=TINY, device="cpu"))
    return out


def test_a_run_and_its_model_know_blocks_and_bands(scene, run):
    card = read_card(run / "best.safetensors")
    stored = json.loads((run / "run.json").read_text())
    index = index_pairs(scene.folder)

    windows = [list(block.window) for block in index.split("train")]
    assert card.blocks["scenes"][0]["training"] == windows
    assert stored["blocks"] == card.blocks
    assert (card.source_bands, card.source_bands_after) == ((5, 1, 2), (4, 1, 2))
    assert stored["source_bands"] == [5, 1, 2]


def test_a_run_does_not_go_on_with_another_split_or_other_bands(scene, run, pairs_folder):
    edit(scene, "gap_px: 4", "gap_px: 4, seed: 3")
    words = r"cut or split differently .*14 training blocks then, 14 now.*restore .*`init`"
    with pytest.raises(ConfigError, match=words):
        resume(run)
    edit(scene, "gap_px: 4, seed: 3", "gap_px: 4")
    edit(scene, "bands_after: [4, 1, 2]\n", "")
    with pytest.raises(ConfigError, match=r"5, 1, 2 and for after 4, 1, 2 then, 5, 1, 2 now"):
        resume(run)
    edit(scene, "bands: [5, 1, 2]\n", BANDS)
    with pytest.raises(ConfigError, match=r"started on scenes, but .* has pairs of files"):
        resume(run, data=pairs_folder)
    assert resume(run).progress.epoch == 2


def test_a_run_of_before_blocks_were_stored_still_goes_on(scene, run):
    path = run / "run.json"
    stored = json.loads(path.read_text())
    for key in ("blocks", "source_bands", "source_bands_after"):
        del stored[key]
    path.write_text(json.dumps(stored))
    assert resume(run).progress.epoch == 2


def test_figures_of_blocks_that_were_trained_on_are_called_optimistic(scene, run, tmp_path):
    report, said = evaluate(run, scene, tmp_path / "judged")
    assert report.fixed_threshold.note is None
    assert report.to_dict()["seen_blocks"]["trained_on"] == 0
    assert not any("bands" in line for line in said)
    for split, note in (("train", "training set"), ("val", "selection set")):
        own, _ = evaluate(run, scene, tmp_path / "judged", split=split)
        assert own.fixed_threshold.note == f"{note}, optimistic"

    edit(scene, "gap_px: 4", "gap_px: 4, seed: 3")
    edit(scene, BANDS, "bands: [5, 1, 2]\n")
    report, said = evaluate(run, scene, tmp_path / "judged")
    seen = report.to_dict()["seen_blocks"]
    words = f"{seen['trained_on']} of {seen['blocks']} blocks were trained on"
    assert 0 < seen["trained_on"] <= seen["blocks"] == report.images
    assert words in report.to_dict()["best_threshold"]["note"]
    assert report.fixed_threshold.note.endswith("optimistic")
    assert any("trained on bands 5, 1, 2 of before and 4, 1, 2 of after" in line for line in said)
    written = json.loads((tmp_path / "judged" / "metrics.json").read_text())
    assert written["fixed_threshold"]["note"] == report.fixed_threshold.note
    # A threshold by hand changes nothing about that.
    by_hand, _ = evaluate(run, scene, tmp_path / "judged", threshold=0.5)
    assert by_hand.fixed_threshold.note.endswith("optimistic")
