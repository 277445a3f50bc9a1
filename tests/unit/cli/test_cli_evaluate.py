import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from changedet.card import ModelCard
from changedet.models.model_file import save_model
from changedet.selection import Selection
from changedet.types import Normalisation
from stand_ins import untrained_network

pytestmark = pytest.mark.usefixtures("blank_charts")


def write_model(path: Path, threshold: float | None) -> Path:
    network = untrained_network("dasnet_v2")
    statistics = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    chosen = Selection("split", data="TINY", split="val", images=2)
    card = ModelCard(
        "dasnet_v2",
        network.options,
        statistics,
        tile_px=32,
        threshold=threshold,
        threshold_selection=chosen if threshold else None,
        data_name="TINY",
    )
    save_model(path, network, card)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", 0.2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "TINY"
    rng = np.random.default_rng(0)
    for split in ("val", "test"):
        for number in range(2):
            images = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
            label = np.zeros((32, 32), dtype=np.uint8)
            label[:16] = 1
            images[1, 16:] = images[0, 16:]
            for folder, pixels in zip(("A", "B", "label"), (*images, label), strict=True):
                (root / split / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / split / folder / f"{number}.png")
    return root


def test_both_protocols_are_printed_side_by_side(tmp_path: Path, model: Path, data: Path, run):
    out = tmp_path / "out"
    code, printed, errors = run("evaluate", model, "--data", data, "--out", out, "--device", "cpu")
    assert code == 0, errors
    metrics = json.loads((out / "metrics.json").read_text())
    row = next(line for line in printed.splitlines() if " F1 " in line)
    assert f"{metrics['best_threshold']['max_f1']:.4f}" in row
    assert f"{metrics['fixed_threshold']['f1']:.4f}" in row
    assert "best threshold (optimistic)" in printed
    assert "its threshold is chosen on this same set" in printed
    assert "fixed threshold: max-F1 on split 'val' of TINY (2 images)" in printed
    assert "labels: " in errors
    assert "calibration error: none, since these scores are no probabilities" in printed


def test_the_selection_set_is_called_optimistic(tmp_path: Path, model: Path, data: Path, run):
    out = tmp_path / "out"
    _, printed, _ = run("evaluate", model, "--data", data, "--split", "val", "--out", out)
    assert "fixed threshold: selection set, optimistic" in printed


def test_json_is_all_that_is_printed_when_asked(tmp_path: Path, model: Path, data: Path, run):
    out = tmp_path / "out"
    words = ["evaluate", model, "--data", data, "--out", out, "--json", "--panels", 1]
    code, printed, _ = run(*words, "--mode", "grid", "--threshold", 0.1)
    assert code == 0
    metrics = json.loads(printed)
    assert metrics == json.loads((out / "metrics.json").read_text())
    assert metrics["fixed_threshold"]["threshold"] == 0.1
    assert metrics["mode"] == "grid"
    assert len(list((out / "panels").iterdir())) == 1


def test_a_model_without_threshold_is_told_why_there_is_no_fixed_one(
    tmp_path: Path, data: Path, run
):
    bare = write_model(tmp_path / "bare.safetensors", None)
    code, printed, _ = run("evaluate", bare, "--data", data, "--out", tmp_path / "out")
    assert code == 0
    assert "fixed threshold: the model file has no threshold; set --threshold or" in printed


def test_labels_of_three_values_can_be_declared(tmp_path: Path, model: Path, data: Path, run):
    root = tmp_path / "THREE"
    for folder in ("A", "B", "label"):
        (root / "test" / folder).mkdir(parents=True)
        for path in (data / "test" / folder).iterdir():
            (root / "test" / folder / path.name).write_bytes(path.read_bytes())
    label = np.repeat(np.array([0, 2, 3, 3], dtype=np.uint8), 8)[:, None].repeat(32, axis=1)
    Image.fromarray(label).save(root / "test" / "label" / "0.png")
    words = ["evaluate", model, "--data", root, "--out", tmp_path / "out"]
    code, _, errors = run(*words)
    assert code == 2
    assert errors.splitlines()[-1].startswith("changedet: ")
    values = ["--changed-value", 1, "--changed-value", 2, "--ignore-value", 3]
    code, printed, errors = run(*words, *values, "--json")
    assert code == 0, errors
    assert sum(json.loads(printed)["fixed_threshold"]["confusion"].values()) == 2 * 1024 - 512


def test_an_untrained_method_stands_where_a_model_could(tmp_path: Path, data: Path, run):
    out = tmp_path / "out"
    code, printed, errors = run("evaluate", "baseline:cva", "--data", data, "--out", out)
    assert code == 0, errors
    assert "fixed threshold: Otsu of each image" in printed
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["model"]["baseline"] == "cva"
    words = ["--threshold-split", "val", "--json", "--overwrite"]
    code, printed, errors = run("evaluate", "baseline:cva", "--data", data, "--out", out, *words)
    assert code == 0, errors
    fixed = json.loads(printed)["fixed_threshold"]
    assert fixed["threshold_source"] == "max-F1 on split 'val' of TINY (2 images)"
    assert fixed["note"] is None


def test_the_encoder_of_an_untrained_method_can_be_chosen(tmp_path: Path, data: Path, run):
    words = ["--encoder", "resnet10t", "--encoder-weights", "none", "--json", "--panels", 0]
    baseline = ["evaluate", "baseline:deep_difference", "--data", data, "--out", tmp_path / "out"]
    code, printed, errors = run(*baseline, *words)
    assert code == 0, errors
    assert json.loads(printed)["model"]["encoder"] == "resnet10t"


def test_the_users_mistake_is_one_line_and_exit_2(tmp_path: Path, model: Path, data: Path, run):
    out = ["--out", tmp_path / "out"]
    for mistake, message in (
        (["evaluate", tmp_path / "gone.safetensors", "--data", data, *out], "gone.safetensors"),
        (["evaluate", model, "--data", tmp_path / "gone", *out], "gone"),
        (["evaluate", model, "--data", data, "--split", "night", *out], "no split 'night'"),
        (["evaluate", model, "--data", data, "--threshold", "7", *out], "half the distance"),
        (["evaluate", model, "--data", data, "--out", data], "contains other files"),
        (["evaluate", "baseline:cvaa", "--data", data, *out], "did you mean 'cva'?"),
        (["evaluate", "baseline:cva", "--data", data, "--encoder", "resnet18", *out], "no encoder"),
        (
            ["evaluate", model, "--data", data, "--channels", 4, *out],
            "--channels applies to baselines only",
        ),
    ):
        code, printed, errors = run(*mistake)
        assert (code, printed) == (2, "")
        assert errors.startswith("changedet: ")
        assert message in errors
        assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()
