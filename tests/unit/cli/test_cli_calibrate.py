from pathlib import Path

import pytest

from changedet.card import ModelCard, read_card, read_precision
from changedet.cli.calibrate import calibrate
from changedet.errors import ConfigError
from changedet.models.model_file import save_model
from changedet.types import Normalisation
from stand_ins import untrained_network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = untrained_network("dasnet")
    statistics = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, network, ModelCard("dasnet", network.options, statistics, tile_px=32))
    return path


@pytest.fixture
def run(invoke, model: Path, pairs_folder: Path, tmp_path: Path):
    def call(*words: object):
        usual = [model, tmp_path / "new.safetensors", "--data", pairs_folder, "--device", "cpu"]
        return invoke(calibrate, *usual, *words)

    return call


def test_before_and_after_are_printed_with_what_they_are_worth(run, tmp_path: Path):
    result = run("--test-time", "mirror", "--precision", "float16")
    assert result.exit_code == 0, result.output
    card = read_card(tmp_path / "new.safetensors")
    assert "split val, 2 pairs: selection set, optimistic" in result.stdout
    assert "before: no threshold (test-time augmentation none, float32 weights)" in result.stdout
    figures = f"F1 {card.metrics['calibration']['f1']:.4f} at threshold {card.threshold:.4f}"
    assert f"after:  {figures} (test-time augmentation mirror, float16 weights)" in result.stdout
    size = (tmp_path / "new.safetensors").stat().st_size
    assert f"new.safetensors ({size / 1e6:.1f} MB)" in result.stdout
    assert "labels: " in result.stderr
    assert card.test_time == "mirror"
    assert read_precision(tmp_path / "new.safetensors") == "float16"


def test_an_existing_file_is_replaced_only_when_told(run, tmp_path: Path):
    (tmp_path / "new.safetensors").write_text("mine")
    refused = run()
    assert isinstance(refused.exception, ConfigError)
    assert (tmp_path / "new.safetensors").read_text() == "mine"
    assert run("--overwrite", "--split", "test").exit_code == 0
    assert "'test' of" in str(read_card(tmp_path / "new.safetensors").threshold_source)


def test_label_values_can_be_declared(run, tmp_path: Path):
    assert run("--changed-value", "0", "--ignore-value", "9").exit_code == 0
    assert read_card(tmp_path / "new.safetensors").threshold is not None
