"""``--kind`` and ``--gsd`` of every command that uses a model."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from changedet.card import read_card
from changedet.cli.completion import complete_kind
from conftest import WrittenScene
from stand_ins import write_kinds_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return write_kinds_model(folder / "kinds.safetensors", working_gsd_m=(0.25, 1.0))


@pytest.fixture
def scene(write_scene: Callable[..., WrittenScene]) -> WrittenScene:
    return write_scene(shape=(96, 128))


@pytest.mark.usefixtures("blank_charts")
def test_evaluate_judges_the_chosen_kind_at_the_given_length(run, model, pairs_folder, tmp_path):
    out = tmp_path / "out"
    words = ("evaluate", model, "--data", pairs_folder, "--out", out, "--panels", 0)
    ended = run(*words, "--kind", "building", "--gsd", 2)
    assert ended.code == 0, ended.err
    assert "it sees the images, of 2 m, enlarged to 1 m (x 2)" in ended.err
    found = json.loads((out / "metrics.json").read_text())
    assert found["change_kind"] == "building"
    assert found["fixed_threshold"]["threshold"] == 0.2
    assert found["gsd"] == {
        "gsd_m": 2.0,
        "source": "user",
        "working_gsd_m": [0.25, 1.0],
        "factor": 2.0,
    }
    ended = run(*words, "--overwrite")
    assert "any, building or cropland change: any is taken; set --kind" in ended.err
    assert "is not known: they are taken as they are; set --gsd" in ended.err
    found = json.loads((out / "metrics.json").read_text())
    assert (found["change_kind"], found["gsd"]["factor"]) == ("any", 1.0)


def test_predict_takes_the_length_of_rasters_from_their_crs(run, model, scene, tmp_path):
    out = tmp_path / "out"
    words = ("predict", scene.folder / "before.tif", scene.folder / "after.tif", "--model", model)
    assert run(*words, "--out", out, "--kind", "cropland").code == 0
    found = json.loads((out / "summary.json").read_text())
    assert (found["change_kind"], found["threshold"]["score"]) == ("cropland", 0.3)
    assert (found["gsd"]["source"], found["gsd"]["factor"]) == ("georeference", 1.0)
    assert found["gsd"]["gsd_m"] == pytest.approx(0.5, rel=0.01)
    ended = run(*words, "--out", out, "--gsd", 0.1, "--overwrite")
    assert ended.code == 0, ended.err
    assert "--gsd says that pixels are 0.1 m long, and the georeference of the images 0.5" in (
        ended.err
    )
    assert "shrunk to 0.25 m (x 0.4)" in ended.err
    found = json.loads((out / "summary.json").read_text())
    assert found["gsd"]["factor"] == pytest.approx(0.4)
    assert (found["change_kind"], found["request"]["kind"]) == ("any", "any")


def test_predict_on_pictures_takes_both(run, model, pairs_folder, tmp_path):
    pair = pairs_folder / "test" / "A" / "000.png", pairs_folder / "test" / "B" / "000.png"
    ended = run(
        *("predict", *pair, "--model", model, "--out", tmp_path / "out"),
        *("--kind", "building", "--gsd", 8),
    )
    assert ended.code == 0, ended.err
    assert "warning: pixels of 8 m are beyond the 0.25 to 1 m at which the model works" in ended.err
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (found["change_kind"], found["gsd"]["factor"]) == ("building", 4.0)
    assert found["threshold"]["score"] == 0.2


def test_calibrate_chooses_the_threshold_of_one_kind_and_leaves_the_others(
    run, model, pairs_folder, tmp_path
):
    out = tmp_path / "new.safetensors"
    words = ("calibrate", model, out, "--data", pairs_folder, "--gsd", 1)
    ended = run(*words, "--kind", "building", "--test-time", "mirror")
    assert ended.code == 0, ended.err
    assert "thresholds of any, cropland were chosen for test-time augmentation none" in ended.err
    card = read_card(out)
    any_change, building, cropland = card.kinds
    assert (card.threshold, any_change.threshold, cropland.threshold) == (0.1, 0.1, 0.3)
    assert building.threshold != 0.2
    assert building.threshold_selection.kind == "calibration"
    assert card.threshold_selection is None
    assert set(card.metrics) == {"calibration_building"}
    assert run(*words, "--overwrite").code == 0
    card = read_card(out)
    assert card.threshold == card.kinds[0].threshold != 0.1
    assert card.kinds[1].threshold == 0.2
    assert set(card.metrics) == {"calibration"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--kind", "road"), "does not know the kind of change 'road'"),
        (("--gsd", "0"), "--gsd is the side of a pixel in metres and must be above 0, got 0"),
        (("--gsd", "nan"), "must be above 0, got nan"),
        (("--gsd", "inf"), "must be above 0, got inf"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "calibrate", "predict", "accuracy"])
def test_mistakes_are_told_before_pytorch_is_loaded(
    run, model, pairs_folder, tmp_path, monkeypatch, command, words, message
):
    # Whoever imports it now fails.
    monkeypatch.setitem(sys.modules, "torch", None)
    out = tmp_path / "out.safetensors"
    data = ("--data", pairs_folder)
    pair = pairs_folder / "test" / "A" / "000.png", pairs_folder / "test" / "B" / "000.png"
    called = {
        "evaluate": ("evaluate", model, *data, "--out", out),
        "calibrate": ("calibrate", model, out, *data),
        "predict": ("predict", *pair, "--model", model, "--out", out),
        "accuracy": ("benchmark", "accuracy", model, *data, "--out", out),
    }
    ended = run(*called[command], *words)
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not out.exists()


def test_a_kind_is_refused_where_no_method_tells_kinds_apart(run, pairs_folder, tmp_path):
    data = ("--data", pairs_folder, "--out", tmp_path / "out", "--kind", "any")
    ended = run("benchmark", "accuracy", "baseline:cva", *data)
    assert ended.code == 2
    assert "--kind is for models that tell kinds of change apart" in ended.err
    ended = run("evaluate", "baseline:cva", *data)
    assert "--kind applies to models only" in ended.err


@pytest.mark.usefixtures("blank_charts")
def test_the_accuracy_benchmark_says_how_each_model_saw_the_images(
    run, model, pairs_folder, tmp_path
):
    out = tmp_path / "out"
    ended = run(
        *("benchmark", "accuracy", model, "baseline:difference", "--no-baselines", "--out", out),
        *("--data", pairs_folder, "--kind", "building", "--gsd", 0.125, "--threshold", "stored"),
    )
    assert ended.code == 0, ended.err
    several, baseline = json.loads((out / "accuracy.json").read_text())["methods"]
    assert (several["change_kind"], several["gsd"]["factor"]) == ("building", 0.5)
    assert several["views"][0]["threshold"] == 0.2
    assert several["views"][0]["tile_px"] == 256
    assert (baseline["change_kind"], baseline["gsd"]["factor"]) == (None, 1.0)
    assert "| building | 0.25 to 1 | 0.125 | 0.5 |" in (out / "accuracy.md").read_text()


def test_info_and_models_list_the_kinds_and_the_working_range(run, model, monkeypatch):
    ended = run("info", model)
    assert "building (threshold 0.2000)" in ended.out
    assert "0.25 to 1 m; others are resampled" in ended.out
    assert "kind cropland" in run("info", model, "--full").out
    monkeypatch.setenv("CHANGEDET_MODELS", str(model.parent))
    listed = run("models").out
    assert "any, building, cropland" in listed
    assert "0.25-1" in listed
    (row, *_) = json.loads(run("models", "--json").out)
    assert row["kinds"] == {"any": 0.1, "building": 0.2, "cropland": 0.3}
    assert row["working_gsd_m"] == [0.25, 1.0]


def test_describe_states_the_working_range(run, model, tmp_path):
    out = tmp_path / "new.safetensors"
    assert run("describe", model, out, "--working-gsd", "2,0.5").code == 0
    assert read_card(out).working_gsd_m == (0.5, 2.0)
    ended = run("describe", model, out, "--working-gsd", "0", "--overwrite")
    assert ended.code == 2
    ended = run("describe", model, out, "--working-gsd", "wide", "--overwrite")
    assert "--working-gsd takes one or two lengths in metres" in ended.err


def test_the_shell_offers_the_kinds_of_the_model(model):
    class Words:
        def __init__(self, **params: object) -> None:
            self.params = params

    assert complete_kind(Words(model=str(model)), "") == ["any", "building", "cropland"]
    assert complete_kind(Words(models=[str(model)]), "b") == ["building"]
    assert "cropland" in complete_kind(Words(model="not there"), "c")


@pytest.mark.usefixtures("blank_charts")
def test_the_curve_over_lengths_is_printed_and_written(run, model, pairs_folder, tmp_path):
    out = tmp_path / "out"
    words = ("benchmark", "gsd", model, "--data", pairs_folder, "--out", out)
    ended = run(*words, "--gsd", 2, "--lengths", "4,2", "--pairs", 1, "--kind", "building")
    assert ended.code == 0, ended.err
    assert "threshold 0.2000" in ended.out
    (own, coarse) = json.loads((out / "gsd.json").read_text())["points"]
    assert (own["gsd_m"], own["resampled"]["factor"]) == (2.0, 2.0)
    assert (coarse["gsd_m"], coarse["resampled"]["factor"]) == (4.0, 4.0)
    assert {path.name for path in out.iterdir()} == {"gsd.json", "gsd.csv", "gsd.png"}
    for wrong, message in (
        (("--gsd", 2, "--lengths", "fine"), "--lengths takes lengths in metres"),
        (("--gsd", 2, "--lengths", "400"), "--lengths must lie between 0.125 and 32 m"),
        (("--gsd", 2, "--kind", "road"), "does not know the kind of change 'road'"),
        ((), "set --gsd, in metres"),
    ):
        ended = run(*words, *wrong, "--overwrite")
        assert ended.code == 2
        assert message in ended.err
