import importlib
import json
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rich.console import Console

from changedet.cli import scene_progress
from changedet.errors import DataError, StorageError
from changedet.models.model_file import save_model
from changedet.predict.flow import TilesDone
from changedet.predict.remarks import Remark, note, warning
from changedet.predict.request import SceneReport, SceneRequest
from changedet.raster.cog import MaskCounts
from changedet.raster.pair import Coverage
from changedet.vector.files import AreaLimit, PolygonSummary
from stand_ins import untrained_scene_model

pytestmark = pytest.mark.usefixtures("few_shift_tiles")
UTM = Affine(1.0, 0.0, 500_000.0, 0.0, -1.0, 5_400_000.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, *untrained_scene_model())
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


# Imported before any test replaces predict_scene: it would keep the replacement.
importlib.import_module("changedet.predict.folders")


@pytest.fixture
def predict(run, model: Path):
    def call(*words: object):
        options = ["--model", model, "--device", "cpu"]
        if "--tile" not in words and not str(words[0]).endswith(".png"):
            options += ["--tile", "64"]
        return run("predict", *words, *options)

    return call


def test_two_rasters_give_a_change_map_and_the_command_says_what_it_found(tmp_path: Path, predict):
    before, after = raster(tmp_path / "a.tif"), raster(tmp_path / "b.tif", seed=1)
    code, printed, errors = predict(before, after, "--out", tmp_path / "out")
    assert code == 0, errors
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    share = 100 * summary["changed_share"]
    assert f"{share:.2f} % changed; {summary['polygons']['count']} polygon" in printed
    assert "Mpx/s" in printed
    assert "peak memory" in printed
    assert f"results: {tmp_path / 'out'}" in printed
    assert "look at preview.png" in printed
    assert "common area 96x80 px: 100.0 % of before, 100.0 % of after" in errors


def test_options_of_the_command_reach_the_result(tmp_path: Path, predict):
    before, after = raster(tmp_path / "a.tif"), raster(tmp_path / "b.tif", seed=1)
    words = ["--aoi", "500010,5399940,500050,5399990", "--polygons", "geojson", "--bands", "3,2,1"]
    words += ["--threshold", "0.0", "--min-area", "5", "--fill-holes", "9", "--simplify", "1"]
    words += ["--batch-size", "1", "--overlap", "8", "--resampling", "cubic"]
    code, _, errors = predict(before, after, *words, "--out", tmp_path / "out")
    assert code == 0, errors
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["grid"]["height"], summary["grid"]["width"]) == (50, 40)
    assert summary["inputs"]["before"]["bands"] == [3, 2, 1]
    assert summary["polygons"]["file"] == "polygons.geojson"
    asked = summary["request"]["polygons"]
    assert (asked["min_area"], asked["fill_holes"], asked["simplify_px"]) == (5.0, 9.0, 1.0)
    assert summary["tiles"]["overlap_px"] == 8
    assert summary["changed_share"] == 1.0


@pytest.mark.parametrize(
    ("words", "expected"), [("0,3000", [[0.0, 3000.0]] * 2), ("auto", [[5.0, 245.0]] * 2)]
)
def test_deep_rasters_are_stretched(
    tmp_path: Path, predict, words: str, expected: list[list[float]]
):
    before = raster(tmp_path / "a.tif", dtype="uint16")
    code, _, errors = predict(before, before, "--stretch", words, "--out", tmp_path / "out")
    assert code == 0, errors
    used = json.loads((tmp_path / "out" / "summary.json").read_text())["stretch"]
    # Values between 1 and 249; auto cuts off 2 % on either side.
    np.testing.assert_allclose(used, expected, atol=1.5)


def test_two_folders_of_rasters_give_one_folder_a_pair_and_go_on_where_they_were(
    tmp_path: Path, predict
):
    for folder, seed in (("A", 0), ("B", 1)):
        (tmp_path / folder).mkdir()
        for name in ("north", "south"):
            raster(tmp_path / folder / f"{name}.tif", seed=seed)
    words = [tmp_path / "A", tmp_path / "B", "--out", tmp_path / "out"]
    code, printed, errors = predict(*words)
    assert code == 0, errors
    for name in ("north", "south"):
        assert (tmp_path / "out" / name / "score.tif").is_file()
        assert re.search(
            rf"^{name}: \d+\.\d\d % changed; (1 polygon|\d+ polygons), ", printed, re.MULTILINE
        )
        assert re.search(rf"^{name}: .* Mpx/s", printed, re.MULTILINE)
    assert printed.endswith(f"threshold 0.3000 (stored with the model)\nresults: {words[3]}\n")
    code, printed, errors = predict(*words)
    assert (code, printed) == (0, f"results: {words[3]}\n")
    assert "north: skipped, results exist (--overwrite replaces them)" in errors
    code, printed, errors = predict(*words, "--min-area", "3")
    assert (code, printed) == (2, "")
    assert "other settings: --min-area (north, south); use --overwrite to recompute" in errors
    (tmp_path / "B" / "north.tif").unlink()
    code, _, errors = predict(*words)
    assert code == 2
    assert "no partner" in errors


def test_results_of_folders_do_not_go_among_their_images(tmp_path: Path, predict):
    for date in ("before", "after"):
        (tmp_path / date).mkdir()
        (tmp_path / date / "1.tif").touch()
    folders = [tmp_path / "before", tmp_path / "after"]
    code, _, errors = predict(*folders, "--out", folders[0])
    assert code == 2
    assert f"{folders[0]} holds images (1.tif), and results would lie among them" in errors
    assert [path.name for path in folders[0].iterdir()] == ["1.tif"]


def test_a_picture_beside_a_raster_is_read_as_a_raster(tmp_path: Path, predict):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "b.png")
    before = raster(tmp_path / "a.tif")
    code, _, errors = predict(before, tmp_path / "b.png", "--out", tmp_path / "out")
    assert code == 2
    assert "CRS" in errors


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, predict, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("changedet.predict.rasters.predict_scene", interrupt)
    before, after = raster(tmp_path / "a.tif"), raster(tmp_path / "b.tif", seed=1)
    code, _, errors = predict(before, after, "--out", tmp_path / "out")
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
    tmp_path: Path, predict, name: str
):
    words, message = mistakes(tmp_path)[name]
    code, printed, errors = predict(*words, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    complaints = [line for line in errors.splitlines() if line.startswith("changedet: ")]
    assert len(complaints) == 1, errors
    assert message in complaints[0]
    assert "Traceback" not in errors
    assert not any(path.name[0] != "." for path in (tmp_path / "out").glob("*"))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path)
    return paths


@pytest.mark.parametrize(
    "option",
    [
        "--bands 1,2,3",
        "--bands-after 1,2,3",
        "--stretch auto",
        "--aoi 0,0,1,1",
        "--aoi-crs EPSG:4326",
        "--coregister",
        "--resampling cubic",
        # Given is given, be it the default.
        "--resampling bilinear",
        "--tile 64",
        "--overlap 0",
        "--polygons gpkg",
        "--min-area 0",
        "--fill-holes 5",
        "--simplify 1",
    ],
)
def test_options_for_rasters_are_refused_on_pictures(
    tmp_path: Path, predict, pictures: list[Path], option: str
):
    code, printed, errors = predict(*pictures, "--out", tmp_path / "out", *option.split())
    assert (code, printed) == (2, "")
    assert errors.startswith(f"changedet: {option.split()[0]} only work(s) on rasters")
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_all_options_that_do_not_suit_pictures_are_named(tmp_path: Path, predict, pictures):
    words = ["--min-area", "5", "--aoi", "0,0,1,1", "--threshold", "0.5"]
    code, _, errors = predict(*pictures, "--out", tmp_path / "out", *words)
    assert code == 2
    assert "changedet: --aoi, --min-area only work(s) on rasters" in errors


def test_pictures_need_no_options_for_rasters(tmp_path: Path, predict, pictures: list[Path]):
    code, _, errors = predict(*pictures, "--out", tmp_path / "out", "--batch-size", "1")
    assert code == 0, errors
    assert (tmp_path / "out" / "summary.json").is_file()


@pytest.mark.parametrize("aoi", [[], ["--aoi", "area.gpkg"], ["--aoi", "area.SHP"]])
def test_a_crs_of_no_numbers_is_refused(tmp_path: Path, predict, aoi: list[str]):
    before = raster(tmp_path / "a.tif")
    words = [before, before, "--out", tmp_path / "out", *aoi, "--aoi-crs", "EPSG:4326"]
    code, printed, errors = predict(*words)
    assert (code, printed) == (2, "")
    assert errors.startswith("changedet: --aoi-crs EPSG:4326 ")
    assert (aoi[1] if aoi else "there is no --aoi") in errors


def test_a_crs_of_the_four_numbers_reaches_the_result(tmp_path: Path, predict):
    before = raster(tmp_path / "a.tif")
    words = ["--aoi", "15.0,48.7,15.0005,48.8", "--aoi-crs", "EPSG:4326"]
    code, _, errors = predict(before, before, "--out", tmp_path / "out", *words)
    assert code == 0, errors
    grid = json.loads((tmp_path / "out" / "summary.json").read_text())["grid"]
    # 0.0005 degrees of longitude on this latitude, on 1 m pixels.
    assert grid["width"] == pytest.approx(0.0005 * 111_320 * np.cos(np.radians(48.75)), abs=2)
    assert grid["height"] == 80


def half_empty(path: Path, *, seed: int) -> Path:
    with rasterio.open(raster(path, seed=seed, nodata=0), "r+") as file:
        pixels = file.read()
        pixels[:, :, :24] = 0
        file.write(pixels)
    return path


def test_the_share_without_data_is_printed_where_there_is_one(tmp_path: Path, predict):
    before = half_empty(tmp_path / "a.tif", seed=0)
    after = raster(tmp_path / "b.tif", seed=1)
    code, printed, errors = predict(before, after, "--out", tmp_path / "out")
    assert code == 0, errors
    assert " % changed, 25.0 % without data; " in printed
    code, printed, _ = predict(after, after, "--out", tmp_path / "whole")
    assert code == 0
    assert "without data" not in printed


def report(
    *,
    changed: int = 50,
    nodata: int = 0,
    dropped: int = 0,
    unsimplified: int = 0,
    remarks: tuple[Remark, ...] = (),
) -> SceneReport:
    return SceneReport(
        out=Path("out"),
        threshold=0.5,
        threshold_source="a test",
        counts=MaskCounts(changed=changed, unchanged=100_000 - changed, nodata=nodata),
        coverage=Coverage(1.0, 1.0),
        shift=None,
        polygons=PolygonSummary(
            count=2,
            area_m2=1234.5,
            dropped=dropped,
            unsimplified=unsimplified,
            min_area=AreaLimit(16.0, "px", 1600.0),
            fill_holes=AreaLimit(16.0, "px", 1600.0),
        ),
        seconds=2.0,
        mpx_per_s=0.5,
        peak_memory_mb=None,
        remarks=remarks,
        content={},
    )


@pytest.fixture
def say_of(tmp_path: Path, predict, monkeypatch: pytest.MonkeyPatch):
    """Run the command with a made-up report, and give what it prints."""

    def call(content: SceneReport, *words: str) -> str:
        monkeypatch.setattr("changedet.predict.rasters.predict_scene", lambda *_, **__: content)
        pair = [tmp_path / name for name in ("a.tif", "b.tif")]
        for path in pair:
            path.touch()
        code, printed, errors = predict(*pair, "--out", tmp_path / "out", *words)
        assert code == 0, errors
        return printed

    return call


def test_a_very_small_share_without_data_is_not_called_zero(say_of):
    assert "0.05 % changed, less than 0.1 % without data; 2 poly" in say_of(report(nodata=9))


def test_what_lies_outside_the_area_of_interest_is_not_called_missing(say_of):
    printed = say_of(report(nodata=100_000), "--aoi", "0,0,9,9")
    assert ", 50.0 % without data or outside the area of interest; " in printed


def test_polygons_that_could_not_be_simplified_are_said(say_of):
    kept = "polygons keep their outlines along the pixels"
    assert f"2 {kept}" in say_of(report(unsimplified=2), "--simplify", "1")
    assert kept not in say_of(report(), "--simplify", "1")


def test_what_is_left_out_of_the_polygons_by_default_is_said_and_how_to_keep_it(say_of):
    assert (
        "in the polygons, patches below 16 px (1,600 m2) left out (35), holes up to 16 px "
        "(1,600 m2) filled; --min-area 0 --fill-holes 0 keep all"
    ) in say_of(report(dropped=35)).splitlines()
    printed = say_of(report(dropped=35), "--min-area", "2000")
    assert "2 polygons, 1,234 m2 (35 smaller ones removed)" in printed
    assert "holes up to 16 px (1,600 m2) filled; --fill-holes 0 keeps all" in printed
    assert "in the polygons" not in say_of(report(), "--min-area", "0", "--fill-holes", "0")


def test_warnings_are_repeated_at_the_end(tmp_path: Path, predict, monkeypatch):
    told = (note("place", "a note"), warning("values", "set `bands`"), warning("place", "far"))
    made_up = report(remarks=told)
    monkeypatch.setattr("changedet.predict.rasters.predict_scene", lambda *_, **__: made_up)
    pair = [tmp_path / name for name in ("a.tif", "b.tif")]
    for path in pair:
        path.touch()
    _, _, errors = predict(*pair, "--out", tmp_path / "out")
    assert errors.splitlines() == ["2 warnings:", "  set --bands", "  far"]


def test_warnings_of_two_folders_carry_the_name_of_their_scene(
    tmp_path: Path, predict, monkeypatch
):
    made_up = report(remarks=(warning("values", "dark"),))
    results = [("east", made_up), ("west", report())]
    monkeypatch.setattr("changedet.predict.folders.predict_scenes", lambda *_, **__: results)
    (tmp_path / "east.tif").touch()
    _, _, errors = predict(tmp_path, tmp_path, "--out", tmp_path / "out")
    assert errors.splitlines() == ["1 warning:", "  east: dark"]


def test_a_bad_pair_is_told_at_the_end_and_the_others_are_done(tmp_path: Path, predict):
    for folder, seed in (("A", 0), ("B", 1)):
        (tmp_path / folder).mkdir()
        for name in ("east", "north", "west"):
            raster(tmp_path / folder / f"{name}.tif", seed=seed)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "A" / "east.png")
    cut_short(tmp_path / "B" / "north.tif")
    raster(tmp_path / "B" / "west.tif", crs=None)
    words = [tmp_path / "A", tmp_path / "B", "--out", tmp_path / "out"]
    code, printed, errors = predict(*words)
    assert code == 1, printed + errors
    lines = errors.splitlines()
    assert [line.split(": ")[:2] for line in lines[-2:]] == [
        ["changedet", "north"],
        ["changedet", "west"],
    ]
    assert "north.tif" in lines[-2]
    assert "gdal_edit.py -a_srs" in lines[-1]
    assert sum(line.startswith("changedet: ") for line in lines) == 2
    assert f"{tmp_path / 'A'}: 1 image(s) other than TIFFs are ignored" in lines
    assert printed.startswith("east: ")
    assert "north: " not in printed
    assert f"results: {tmp_path / 'out'}" in printed
    assert (tmp_path / "out" / "east" / "summary.json").is_file()


def test_failures_so_far_are_told_where_the_disk_is_full(
    tmp_path: Path, predict, monkeypatch: pytest.MonkeyPatch
):
    def fail(pair: SceneRequest, **options: object) -> None:
        if pair.out.name == "east":
            raise DataError("bad\npair")
        raise StorageError("no room")

    monkeypatch.setattr("changedet.predict.folders.predict_scene", fail)
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        for stem in ("east", "north", "west"):
            raster(tmp_path / name / f"{stem}.tif")
    code, printed, errors = predict(tmp_path / "A", tmp_path / "B", "--out", tmp_path / "out")
    assert (code, printed) == (1, "")
    assert errors.splitlines() == [
        "east: failed, continuing with the others",
        "changedet: east: bad pair",
        "changedet: no room",
    ]


def test_an_address_of_a_picture_is_read_as_a_raster(tmp_path: Path, predict):
    words = ["http://127.0.0.1:9/a.png", "http://127.0.0.1:9/b.png", "--out", tmp_path / "out"]
    # Words for rasters only: on pictures they would be refused.
    code, _, errors = predict(*words, "--tile", "64")
    assert code == 2
    assert "over the network" in errors


def test_the_bar_is_out_of_the_way_while_results_are_printed(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(
        scene_progress,
        "messages_console",
        partial(Console, stderr=True, force_terminal=True, width=80),
    )
    with scene_progress.scene_progress() as display:
        display.update(TilesDone(1, 4, 1000))
        with display.aside():
            sys.stdout.write("found\n")
        display.update(TilesDone(2, 8, 1000))
        display.say("a note")
    printed, errors = capsys.readouterr()
    # On a terminal the bar takes all that is printed to where it is itself: standard error.
    assert printed == "found\n"
    assert "a note" in errors
    assert "25%" in errors


def test_progress_comes_line_by_line_for_other_programs(tmp_path: Path, predict):
    before, after = raster(tmp_path / "a.tif"), raster(tmp_path / "b.tif", seed=1)
    words = (before, after, "--progress", "lines", "--batch-size", "1")
    code, printed, errors = predict(*words, "--out", tmp_path / "out")
    assert code == 0, errors
    count = json.loads((tmp_path / "out" / "summary.json").read_text())["tiles"]["count"]
    lines = [line for line in errors.splitlines() if line.startswith("progress")]
    assert lines == [f"progress {done}/{count}" for done in range(count + 1)]
    assert "progress 0/" not in printed
    code, _, errors = predict(*words, "--quiet", "--out", tmp_path / "quiet")
    assert (code, errors) == (0, "")


@pytest.mark.parametrize("value", ["-9999", "auto", "none"])
def test_what_marks_missing_pixels_reaches_the_request(
    tmp_path: Path, predict, monkeypatch: pytest.MonkeyPatch, value: str
):
    requests: list[SceneRequest] = []

    def note_request(request: SceneRequest, **_: object) -> SceneReport:
        requests.append(request)
        return report()

    monkeypatch.setattr("changedet.predict.rasters.predict_scene", note_request)
    for name in ("a.tif", "b.tif"):
        raster(tmp_path / name)
    words = ("--out", tmp_path / "out", "--nodata", value, "--alpha", "ignore")
    code, _, errors = predict(tmp_path / "a.tif", tmp_path / "b.tif", *words)
    assert code == 0, errors
    assert requests[0].nodata == (-9999.0 if value == "-9999" else value)
    assert requests[0].alpha == "ignore"


def test_a_nodata_value_that_is_none_is_refused(tmp_path: Path, predict):
    for name in ("a.tif", "b.tif"):
        raster(tmp_path / name)
    words = ("--out", tmp_path / "out", "--nodata", "maybe")
    code, _, errors = predict(tmp_path / "a.tif", tmp_path / "b.tif", *words)
    assert code == 2
    assert "--nodata takes auto, none or a number, such as -9999; got 'maybe'" in errors
