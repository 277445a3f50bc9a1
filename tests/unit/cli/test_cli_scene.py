import json
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from PIL import Image

from changedet.cli.main import main
from changedet.models.model_file import ModelCard, save_model
from changedet.models.registry import create_model
from changedet.types import Normalisation

UTM = Affine(1.0, 0.0, 500_000.0, 0.0, -1.0, 5_400_000.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = create_model("dasnet", encoder="resnet18", head_width=8, attention="none")
    stats = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    card = ModelCard("dasnet", network.options, stats, tile_px=64, threshold=0.02)
    save_model(path, network, card)
    return path


def raster(path: Path, *, seed: int = 0, **profile: object) -> Path:
    count = int(profile.pop("count", 3))
    height, width = int(profile.pop("height", 80)), int(profile.pop("width", 96))
    usual = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": UTM,
    }
    options = {**usual, **profile}
    rng = np.random.default_rng(seed)
    with rasterio.open(path, "w", **options) as file:
        file.write(rng.integers(1, 250, (count, height, width)).astype(options["dtype"]))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path):
    def call(*words: object) -> tuple[int, str, str]:
        options = ["--model", str(model), "--device", "cpu", "--tile", "64"]
        monkeypatch.setattr(sys, "argv", ["changedet", "predict", *map(str, words), *options])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return call


def test_two_rasters_give_a_change_map_and_the_command_says_what_it_found(tmp_path: Path, run):
    before, after = raster(tmp_path / "a.tif"), raster(tmp_path / "b.tif", seed=1)
    code, printed, errors = run(before, after, "--out", tmp_path / "out")
    assert code == 0, errors
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    share = 100 * summary["changed_share"]
    assert f"{share:.2f} % changed; {summary['polygons']['count']} polygons" in printed
    assert "Mpx/s" in printed
    assert "peak memory" in printed
    assert f"results: {tmp_path / 'out'}" in printed
    assert "common area 96x80 px: 100.0 % of before, 100.0 % of after" in errors


def test_options_of_the_command_reach_the_result(tmp_path: Path, run):
    before, after = raster(tmp_path / "a.tif"), raster(tmp_path / "b.tif", seed=1)
    words = ["--aoi", "500010,5399940,500050,5399990", "--polygons", "geojson", "--bands", "3,2,1"]
    words += ["--threshold", "0.0", "--min-area", "5", "--fill-holes", "9", "--simplify", "1"]
    words += ["--batch-size", "1", "--overlap", "8", "--resampling", "cubic"]
    code, _, errors = run(before, after, *words, "--out", tmp_path / "out")
    assert code == 0, errors
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["grid"]["height"], summary["grid"]["width"]) == (50, 40)
    assert summary["inputs"]["before"]["bands"] == [3, 2, 1]
    assert summary["polygons"]["file"] == "polygons.geojson"
    assert summary["polygons"]["option_simplify_px"] == 1.0
    assert summary["tiles"]["overlap_px"] == 8
    assert summary["changed_share"] == 1.0


def test_two_folders_of_rasters_give_one_folder_a_pair_and_go_on_where_they_were(
    tmp_path: Path, run
):
    for folder, seed in (("A", 0), ("B", 1)):
        (tmp_path / folder).mkdir()
        for name in ("north", "south"):
            raster(tmp_path / folder / f"{name}.tif", seed=seed)
    words = [tmp_path / "A", tmp_path / "B", "--out", tmp_path / "out"]
    code, _, errors = run(*words)
    assert code == 0, errors
    for name in ("north", "south"):
        assert (tmp_path / "out" / name / "score.tif").is_file()
    code, _, errors = run(*words)
    assert code == 0
    assert "north: already there" in errors
    (tmp_path / "B" / "north.tif").unlink()
    code, _, errors = run(*words)
    assert code == 2
    assert "no partner" in errors


def test_a_picture_beside_a_raster_is_read_as_a_raster(tmp_path: Path, run):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "b.png")
    before = raster(tmp_path / "a.tif")
    code, _, errors = run(before, tmp_path / "b.png", "--out", tmp_path / "out")
    assert code == 2
    assert "CRS" in errors


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("changedet.scene.predict.predict_scene", interrupt)
    before, after = raster(tmp_path / "a.tif"), raster(tmp_path / "b.tif", seed=1)
    code, _, errors = run(before, after, "--out", tmp_path / "out")
    assert code == 130
    assert "run the same command again" in errors


def cut_short(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def mistakes(folder: Path) -> dict[str, tuple[list[object], str]]:
    """Words for the command, and what the message must say."""
    good = raster(folder / "good.tif")
    far = raster(folder / "far.tif", transform=UTM @ Affine.translation(1000, 0))
    bare = raster(folder / "bare.tif", crs=None)
    rotated = raster(folder / "rotated.tif", transform=UTM @ Affine.rotation(20))
    truncated = cut_short(
        raster(folder / "truncated.tif", height=80, tiled=True, blockxsize=16, blockysize=16)
    )
    flat = raster(folder / "flat.tif", height=1)
    empty = folder / "empty.tif"
    with rasterio.open(raster(empty, nodata=0), "r+") as file:
        file.write(np.zeros((3, 80, 96), np.uint8))
    four = raster(folder / "four.tif", count=4, photometric="minisblack", alpha="no")
    deep = raster(folder / "deep.tif", dtype="uint16")
    return {
        "no overlap": ([good, far], "overlap"),
        "one CRS": ([good, bare], "gdal_edit.py -a_srs"),
        "rotated": ([rotated, good], "gdalwarp"),
        "unknown band": ([good, good, "--bands", "1,2,9"], "9"),
        "words as bands": ([good, good, "--bands", "red"], "band numbers"),
        "all nodata": ([good, empty], "nodata"),
        "truncated": ([good, truncated], "truncated.tif"),
        "gone": ([good, folder / "gone.tif"], "gone.tif"),
        "no raster": ([good, __file__], "test_cli_scene.py"),
        "unreachable": ([good, "http://127.0.0.1:9/after.tif"], "127.0.0.1"),
        "flat": ([flat, flat], "96x1 pixels"),
        "mixed bands": ([good, four], "--bands"),
        "16 bit": ([deep, deep], "--stretch"),
        "stretch": ([deep, deep, "--stretch", "1"], "--stretch takes"),
        "aoi outside": ([good, good, "--aoi", "0,0,1,1"], "area of interest"),
        "aoi file": ([good, good, "--aoi", folder / "gone.gpkg"], "gone.gpkg"),
        "overlap": ([good, good, "--overlap", "64"], "--overlap"),
        "threshold": ([good, good, "--threshold", "2"], "half the distance"),
        "folder and file": ([folder, good], "folder"),
    }


NAMES = [
    "no overlap",
    "one CRS",
    "rotated",
    "unknown band",
    "words as bands",
    "all nodata",
    "truncated",
    "gone",
    "no raster",
    "unreachable",
    "flat",
    "mixed bands",
    "16 bit",
    "stretch",
    "aoi outside",
    "aoi file",
    "overlap",
    "threshold",
    "folder and file",
]


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_one_line_that_says_what_to_do_and_leaves_nothing(
    tmp_path: Path, run, name: str
):
    words, message = mistakes(tmp_path)[name]
    code, printed, errors = run(*words, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    complaints = [line for line in errors.splitlines() if line.startswith("changedet: ")]
    assert len(complaints) == 1, errors
    assert message in complaints[0]
    assert "Traceback" not in errors
    assert not any(path.name[0] != "." for path in (tmp_path / "out").glob("*"))


def test_options_for_rasters_are_refused_on_pictures(tmp_path: Path, run):
    for name in ("a", "b"):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / f"{name}.png")
    words = [tmp_path / "a.png", tmp_path / "b.png", "--out", tmp_path / "out", "--aoi", "0,0,1,1"]
    code, _, errors = run(*words)
    assert code == 2
    assert "--aoi, --tile only work(s) on rasters" in errors
