"""Own scenes and public pairs in one training; what the model remembers of the scenes."""

import json

import pytest

from changedet.card import read_card
from changedet.data.index import index_pairs
from changedet.errors import ConfigError
from changedet.evaluation.calibrate_mixture import calibrate_on_mixture
from changedet.evaluation.calibration_request import CalibrationRequest
from changedet.evaluation.evaluate_mixture import evaluate_mixture
from changedet.evaluation.request import EvaluationRequest
from changedet.training.run import TrainRequest, run_training
from conftest import write_split_folders
from stand_ins import TINY_PYRAMID

pytestmark = pytest.mark.usefixtures("blank_charts")
TINY = (
    *TINY_PYRAMID,
    "data.working_gsd_m=[1, 2]",
    "training.epochs=1",
    "training.batch_size=16",
    "training.max_heatmaps=1",
)


@pytest.fixture
def mixture(write_scene, tmp_path):
    scene = write_scene()
    write_split_folders(tmp_path / "public", counts=(2, 1, 0))
    path = tmp_path / "mixture.yaml"
    path.write_text(
        "sets:\n"
        "  own: {data: scenes.yaml, kind: any}\n"
        "  public: {data: public, kind: any, gsd_m: 1}\n"
    )
    return path, scene


def test_own_scenes_are_trained_on_beside_public_pairs(mixture, tmp_path):
    path, scene = mixture
    said: list[str] = []
    run = tmp_path / "run"
    request = TrainRequest(out=run, data=path, recipe="pyramid_small", overrides=TINY, device="cpu")
    run_training(request, say=said.append)
    assert any(line.startswith("reading the scenes once") for line in said)
    assert any(line.startswith("own: images with pixels of 0.5 m are shrunk") for line in said)

    model = run / "best.safetensors"
    card = read_card(model)
    alone = index_pairs(scene.folder / "scenes.yaml")
    [stored] = card.blocks["scenes"]
    assert stored["training"] == [list(block.window) for block in alone.split("train")]
    assert stored["validation"] == [list(block.window) for block in alone.split("val")]
    assert set(card.metrics["validation"]["sets"]) == {"own", "public"}

    # Under another name the blocks are known by their place.
    other = path.with_name("other.yaml")
    other.write_text("sets: {again: {data: scenes.yaml, kind: any}}")
    out = tmp_path / "judged"
    evaluate_mixture(EvaluationRequest(model, other, out, split="val", device="cpu", panels=0))
    seen = json.loads((out / "again" / "metrics.json").read_text())["seen_blocks"]
    blocks = len(alone.split("val"))
    assert (seen["blocks"], seen["trained_on"], seen["chosen_on"]) == (blocks, 0, blocks)

    calibration = CalibrationRequest(
        model=model, out=tmp_path / "new.safetensors", data=other, split="train", device="cpu"
    )
    with pytest.raises(ConfigError, match="was trained on split 'train'"):
        calibrate_on_mixture(calibration)

    # A run goes on with the same blocks only.
    resumed = TrainRequest(out=run, overrides=("training.epochs=2",), device="cpu", mode="resume")
    scene.manifest.write_text(scene.manifest.read_text().replace("gap_px: 4", "gap_px: 6"))
    with pytest.raises(ConfigError, match="cut or split differently"):
        run_training(resumed)
    scene.manifest.write_text(scene.manifest.read_text().replace("gap_px: 6", "gap_px: 4"))
    assert run_training(resumed).progress.epoch == 2
