import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from changedet.card import ModelCard
from changedet.models.model_file import save_model
from changedet.types import Normalisation
from stand_ins import untrained_network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = untrained_network("dasnet_v2")
    statistics = Normalisation((120.0,) * 3, (110.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, network, ModelCard("dasnet_v2", network.options, statistics, tile_px=32))
    return path


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / "before.png", tmp_path / "after.png"]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


def test_predict_says_what_it_found_and_where(tmp_path: Path, model: Path, pair, run):
    out = tmp_path / "out"
    words = ["predict", *pair, "--model", model, "--out", out, "--device", "cpu"]
    code, printed, errors = run(*words, "--threshold", "0.3")
    assert code == 0, errors
    share = json.loads((out / "summary.json").read_text())["changed_share"]
    assert f"after: {100 * share:.2f} % changed" in printed
    assert "threshold 0.3000 (set by the user)" in printed
    assert str(out) in printed
    assert errors == ""


def test_results_are_replaced_only_when_told(tmp_path: Path, model: Path, pair, run):
    words = ["predict", *pair, "--model", model, "--out", tmp_path / "out", "--threshold", 0.1]
    assert run(*words)[0] == 0
    code, printed, errors = run(*words)
    assert (code, printed) == (2, "")
    assert errors.startswith(f"changedet: {tmp_path / 'out'} contains the results of another run")
    assert errors.count("\n") == 1
    assert "--overwrite" in errors
    assert run(*words, "--overwrite")[0] == 0


def test_the_users_mistake_is_one_line_and_exit_2(tmp_path: Path, model: Path, pair, run):
    words = ["--model", model, "--out", tmp_path / "out"]
    for mistake, message in (
        (["predict", pair[0], tmp_path / "gone.png", *words], "no file or folder"),
        (["predict", *pair, *words], "--threshold"),
        (["predict", *pair, *words, "--threshold", "2"], "half the distance"),
        (["predict", *pair, *words, "--threshold", "0.5", "--device", "tpu"], "unknown device"),
        (["predict", pair[0], tmp_path, *words], "is a folder and"),
    ):
        code, printed, errors = run(*mistake)
        assert (code, printed) == (2, "")
        assert errors.startswith("changedet: ")
        assert message in errors
        assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_test_time_augmentation_is_handed_on(tmp_path: Path, model: Path, pair, run):
    out = tmp_path / "out"
    words = ["predict", *pair, "--model", model, "--out", out, "--threshold", 0.1]
    code, _, errors = run(*words, "--test-time", "flips", "--device", "cpu")
    assert code == 0, errors
    assert json.loads((out / "summary.json").read_text())["test_time"] == "flips"
