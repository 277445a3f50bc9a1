import json
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from changedet.baselines.registry import create_baseline
from changedet.cli.main import main

PLACE = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_400_000.0)


def dates(bands: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Noise, the same in other light, and a bright square at the second date, (h, w, C)."""
    rng = np.random.default_rng(0)
    before = rng.integers(40, 120, (90, 110, bands)).astype(np.uint8)
    after = (1.2 * before + 10 + rng.normal(0, 4, before.shape)).astype(np.uint8)
    after[20:50, 30:70] = rng.integers(200, 250, (30, 40, bands))
    return before, after


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "before.png", tmp_path / "after.png"]
    for path, image in zip(paths, dates(), strict=True):
        Image.fromarray(image).save(path)
    return paths


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    height, width, count = image.shape
    profile = {"height": height, "width": width, "count": count, "dtype": "uint16"}
    with rasterio.open(path, "w", "GTiff", **profile, crs="EPSG:32633", transform=PLACE) as file:
        file.write(image.transpose(2, 0, 1).astype(np.uint16) * 40)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["changedet", "predict", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return call


def test_pictures_are_measured_each_as_a_whole(tmp_path: Path, pictures, run):
    out = tmp_path / "out"
    code, printed, errors = run(*pictures, "--model", "baseline:cva", "--out", out)
    assert code == 0, errors
    assert "threshold 0.5000 (Otsu of each image)" in printed
    with Image.open(out / "score.png") as image:
        score = np.asarray(image) / 65_535
    assert score == pytest.approx(create_baseline("cva").score(*dates()), abs=1e-4)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["model"] == {"baseline": "cva"}


def test_rasters_are_measured_over_the_scene(tmp_path: Path, run):
    before, after = (
        write(tmp_path / name, date)
        for name, date in zip(("before.tif", "after.tif"), dates(5), strict=True)
    )
    code, printed, errors = run(before, after, "--model", "floor:ir_mad", "--out", tmp_path / "out")
    assert code == 0, errors
    assert "IR-MAD" in errors
    assert "canonical correlations" in errors
    assert "threshold 0.5000 (Otsu's threshold over the scene)" in printed
    mask = rasterio.open(tmp_path / "out/mask.tif").read(1) == 1
    assert mask[20:50, 30:70].mean() > 0.9
    assert mask.mean() < 0.15


def test_folders_of_rasters_are_measured_pair_by_pair(tmp_path: Path, run):
    for stem in ("east", "west"):
        for folder, date in zip("AB", dates(4), strict=True):
            write(tmp_path / folder / f"{stem}.tif", date + (stem == "west"))
    words = [tmp_path / "A", tmp_path / "B", "--out", tmp_path / "out"]
    code, _, errors = run(*words, "--model", "baseline:cva")
    assert code == 0, errors
    for stem in ("east", "west"):
        assert f"{stem}: Otsu's threshold over the scene" in errors
        summary = json.loads((tmp_path / "out" / stem / "summary.json").read_text())
        assert summary["model"]["measured"]["pixels"] == 90 * 110
    code, _, errors = run(*words, "--model", "baseline:cva")
    assert code == 0, errors
    code, _, errors = run(*words, "--model", "baseline:ir_mad")
    assert code == 2
    assert "other settings: --model (east, west)" in errors


def test_the_encoder_of_deep_differences_can_be_chosen(tmp_path: Path, pictures, run):
    out = tmp_path / "out"
    words = [*pictures, "--model", "baseline:deep_difference", "--out", out]
    code, _, errors = run(*words, "--encoder", "resnet18", "--encoder-weights", "none")
    assert code == 0, errors
    summary = json.loads((out / "summary.json").read_text())
    assert summary["model"] == {
        "baseline": "deep_difference",
        "encoder": "resnet18",
        "encoder_weights": "none",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "baseline:irmad"], "did you mean 'ir_mad'"),
        (["--model", "baseline:cva", "--encoder", "resnet18"], "has no encoder"),
        (["--model", "baseline:cva", "--test-time", "flips"], "applies to models only"),
        (["--model", "m.safetensors", "--encoder", "resnet18"], "applies to baselines only"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, pictures, run, words, message):
    code, _, errors = run(*pictures, *words, "--out", tmp_path / "out")
    assert code == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_the_help_names_the_baselines(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, printed, _ = run("--help")
    assert code == 0
    assert "baseline:ir_mad" in printed
