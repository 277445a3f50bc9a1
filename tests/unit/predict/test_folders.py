import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from changedet.card import ModelCard
from changedet.errors import (
    ChangeDetError,
    CheckpointError,
    ConfigError,
    DataError,
    MissingExtraError,
    StorageError,
)
from changedet.inference import detector as detector_module
from changedet.inference import opening as opening_module
from changedet.inference.detector import Detector
from changedet.inference.torch_scorer import TorchScorer
from changedet.predict import folders
from changedet.predict.folders import PairResult, predict_scenes
from changedet.predict.inputs import is_scene
from changedet.predict.request import SceneReport, SceneRequest
from changedet.selection import Selection
from changedet.types import Normalisation
from changedet.vector.files import PolygonOptions
from conftest import write_raster
from stand_ins import Difference

pytestmark = pytest.mark.usefixtures("few_shift_tiles")
UTM = Affine(1.0, 0.0, 500_000.0, 0.0, -1.0, 5_400_000.0)
STATS = Normalisation((0.0,) * 3, (0.0,) * 3, (255.0,) * 3, (255.0,) * 3)
STEMS = ("east", "north")


def raster(path: Path, *, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(1, 250, (3, 64, 64), dtype=np.uint8)
    profile = {"driver": "GTiff", "count": 3, "height": 64, "width": 64, "dtype": "uint8"}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=UTM, **profile) as file:
        file.write(pixels)
    return path


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SceneRequest:
    """Two folders with two rasters each."""
    card = ModelCard(
        "stub",
        {},
        STATS,
        tile_px=64,
        threshold=0.3,
        threshold_selection=Selection("other", text="a test"),
    )
    monkeypatch.setattr(
        "changedet.inference.opening.load",
        lambda path, device, test_time, kind=None, **_: Detector(
            TorchScorer(Difference(), card, device="cpu", test_time=test_time, kind=kind),
            path=Path(path),
        ),
    )
    monkeypatch.setattr("changedet.predict.tiling._LARGE_TILE_PX", 64)
    (tmp_path / "stub.safetensors").write_bytes(b"stub")
    for folder, seed in (("A", 0), ("B", 1)):
        for stem in STEMS:
            raster(tmp_path / folder / f"{stem}.tif", seed=seed)
    return SceneRequest(
        before=str(tmp_path / "A"),
        after=str(tmp_path / "B"),
        model=tmp_path / "stub.safetensors",
        out=tmp_path / "out",
    )


@pytest.fixture
def finished(request_: SceneRequest) -> SceneRequest:
    assert [stem for stem, _ in predict_scenes(request_)] == list(STEMS)
    return request_


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Replace the prediction of a pair by errors, or by nothing."""

    def replace_by(errors: dict[str, ChangeDetError]) -> list[str]:
        tried: list[str] = []

        def predict(pair: SceneRequest, **_: object) -> str:
            tried.append(pair.out.name)
            if pair.out.name in errors:
                raise errors[pair.out.name]
            return "report"

        monkeypatch.setattr(folders, "predict_scene", predict)
        return tried

    return replace_by


def said(request: SceneRequest) -> tuple[list[PairResult], list[str]]:
    messages: list[str] = []
    return list(predict_scenes(request, say=messages.append)), messages


@pytest.mark.parametrize(
    "location",
    [
        "a.tif",
        "a.jp2",
        "https://host/a.png",
        "s3://bucket/a.jpg",
        "/vsizip/a.zip/a.png",
        "no_such_place",
    ],
)
def test_rasters_and_all_addresses_are_scenes(location: str) -> None:
    assert is_scene(location)


@pytest.mark.parametrize("location", ["a.png", "A.JPG", "a.jpe", "folder/a.webp"])
def test_a_picture_is_no_scene(location: str) -> None:
    assert not is_scene(location)


def test_a_folder_is_one_of_scenes_if_it_holds_a_tiff(tmp_path: Path) -> None:
    (tmp_path / "north.png").touch()
    (tmp_path / ".hidden.tif").touch()
    assert not is_scene(str(tmp_path))
    (tmp_path / "north.TIFF").touch()
    assert is_scene(str(tmp_path))


def test_each_pair_is_handed_over_before_the_next_one_begins(
    request_: SceneRequest, pretend: Callable[..., list[str]]
) -> None:
    tried = pretend({})
    results = predict_scenes(request_)
    assert tried == []
    assert next(results) == PairResult("east", "report")  # type: ignore[arg-type]
    assert tried == ["east"]
    assert [stem for stem, _ in results] == ["north"]


def test_a_pair_gives_the_result_that_it_gives_alone(finished: SceneRequest) -> None:
    one = replace(
        finished,
        before=str(Path(finished.before) / "east.tif"),
        after=str(Path(finished.after) / "east.tif"),
        out=finished.out.parent / "alone",
    )
    folders.predict_scene(one)
    for name in ("score.tif", "mask.tif"):
        with (
            rasterio.open(one.out / name) as alone,
            rasterio.open(finished.out / "east" / name) as file,
        ):
            np.testing.assert_array_equal(alone.read(), file.read())


def test_finished_pairs_are_passed_over_and_the_others_done(finished: SceneRequest) -> None:
    shutil.rmtree(finished.out / "north")
    results, messages = said(finished)
    assert [stem for stem, _ in results] == ["north"]
    assert isinstance(results[0].outcome, SceneReport)
    assert 'east: skipped, results exist (`existing="replace"` replaces them)' in messages


def test_finished_pairs_are_done_again_when_told(finished: SceneRequest) -> None:
    again = replace(finished, existing="replace", threshold=0.9)
    assert [stem for stem, _ in predict_scenes(again)] == list(STEMS)
    summary = json.loads((finished.out / "east" / "summary.json").read_text())
    assert summary["threshold"]["score"] == 0.9


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"threshold": 0.9}, "threshold"),
        ({"test_time": "turns"}, "test_time"),
        ({"bands": (3, 2, 1)}, "bands"),
        ({"stretch": (0.0, 9.0)}, "stretch"),
        ({"resampling": "cubic"}, "resampling"),
        ({"coregister": "global"}, "coregister"),
        ({"tile_px": 32}, "tile_px"),
        ({"overlap_px": 8}, "overlap_px"),
        ({"region": "500000,5399950,500060,5400000"}, "region"),
        ({"polygons": PolygonOptions(min_area=9.0)}, "polygons.min_area"),
        ({"polygons": PolygonOptions(format="geojson")}, "polygons.format"),
        ({"polygons": PolygonOptions(simplify_px=1.0)}, "polygons.simplify_px"),
    ],
)
def test_results_of_other_settings_are_not_passed_over(
    finished: SceneRequest, options: dict[str, object], name: str
) -> None:
    with pytest.raises(
        ConfigError, match=f"other settings: `{name}` .east, north.; use `existing=.replace.`"
    ):
        predict_scenes(replace(finished, **options))  # type: ignore[arg-type]


def test_results_of_another_model_are_not_passed_over(finished: SceneRequest) -> None:
    finished.model.write_bytes(b"trained anew")
    with pytest.raises(ConfigError, match="other settings: `model` "):
        predict_scenes(finished)


def test_what_does_not_decide_the_result_may_differ(
    finished: SceneRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.out.parent)
    moved = finished.model.rename("renamed.safetensors")
    # The model's own threshold, given by hand; relative paths instead of absolute ones.
    same = replace(
        finished, before="A", after="B", model=moved, threshold=0.3, batch_size=1, device="cpu"
    )
    assert list(predict_scenes(same)) == []


def test_results_of_versions_without_test_time_augmentation_count_as_made_without(
    finished: SceneRequest,
) -> None:
    for stem in STEMS:
        path = finished.out / stem / "summary.json"
        summary = json.loads(path.read_text())
        assert summary["request"].pop("test_time") == "none"
        path.write_text(json.dumps(summary))
    assert list(predict_scenes(finished)) == []
    with pytest.raises(ConfigError, match="other settings: `test_time` "):
        predict_scenes(replace(finished, test_time="flips"))


def test_a_raster_that_was_replaced_since_is_named(finished: SceneRequest) -> None:
    raster(Path(finished.after) / "north.tif", seed=7)
    os.utime(Path(finished.after) / "north.tif", (1.6e9, 1.6e9))
    with pytest.raises(ConfigError, match=r"other settings: the content of after \(north\)"):
        predict_scenes(finished)


def test_a_finished_raster_that_became_unreadable_counts_as_replaced(
    finished: SceneRequest,
) -> None:
    (Path(finished.before) / "east.tif").write_bytes(b"no raster")
    with pytest.raises(ConfigError, match=r"the content of before \(east\)"):
        predict_scenes(finished)


def test_results_from_another_place_are_not_passed_over(finished: SceneRequest) -> None:
    elsewhere = shutil.copytree(finished.before, finished.out.parent / "A2")
    with pytest.raises(ConfigError, match=r"other settings: the raster before \(east, north\)"):
        predict_scenes(replace(finished, before=str(elsewhere)))


def test_an_area_of_interest_that_was_redrawn_is_named(request_: SceneRequest) -> None:
    area = request_.out.parent / "area.geojson"

    def draw(width: float) -> None:
        # RFC 7946 is in longitude and latitude; the rasters lie at 15 east, 48.75 north.
        west, north = 15.0, 48.7500
        ring = [[west, north - 1], [west + width, north - 1], [west + width, north + 1]]
        ring += [[west, north + 1], [west, north - 1]]
        area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))

    draw(0.0005)
    request = replace(request_, region=str(area))
    assert all(isinstance(outcome, SceneReport) for _, outcome in predict_scenes(request))
    assert list(predict_scenes(request)) == []
    draw(0.0004)
    with pytest.raises(ConfigError, match=r"the content of .*area.geojson \(east, north\)"):
        predict_scenes(request)


@pytest.mark.parametrize("content", ["{}", "[]", "no json", '{"request": null}'])
def test_results_that_do_not_say_how_they_were_made_are_not_passed_over(
    finished: SceneRequest, content: str
) -> None:
    (finished.out / "east" / "summary.json").write_text(content)
    with pytest.raises(ConfigError, match=r"unknown, as summary\.json cannot be read \(east\)"):
        predict_scenes(finished)


def test_a_bad_pair_does_not_stop_the_others(request_: SceneRequest) -> None:
    (Path(request_.before) / "east.tif").write_bytes(b"no raster")
    results, _ = said(request_)
    assert [stem for stem, _ in results] == list(STEMS)
    assert isinstance(results[0].outcome, DataError)
    assert "east.tif" in str(results[0].outcome)
    assert isinstance(results[1].outcome, SceneReport)


@pytest.mark.parametrize("kind", [StorageError, CheckpointError, MissingExtraError])
def test_what_would_hit_every_pair_stops_at_once(
    request_: SceneRequest, pretend: Callable[..., list[str]], kind: type[ChangeDetError]
) -> None:
    tried = pretend({"east": kind("no")})
    with pytest.raises(kind):
        list(predict_scenes(request_))
    assert tried == ["east"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_px": 33}, "tile_px"),
        ({"overlap_px": 64}, "overlap_px"),
        ({"threshold": 2.0}, "threshold"),
        ({"batch_size": 0}, "`batch_size`"),
    ],
)
def test_options_that_no_pair_can_take_are_refused_before_the_first_one(
    request_: SceneRequest,
    pretend: Callable[..., list[str]],
    options: dict[str, object],
    message: str,
) -> None:
    tried = pretend({})
    with pytest.raises(ConfigError, match=message):
        predict_scenes(replace(request_, **options))  # type: ignore[arg-type]
    assert tried == []


def test_pictures_beside_the_rasters_are_counted_and_left_alone(
    request_: SceneRequest, pretend: Callable[..., list[str]]
) -> None:
    pretend({})
    folder = Path(request_.before)
    # GDAL reads .aux.xml and .tfw together with the raster: they are not ignored.
    for name in ("east.png", "north.jpg", "east.tif.aux.xml", "east.tfw", "list.txt", ".x.png"):
        (folder / name).touch()
    results, messages = said(request_)
    assert [stem for stem, _ in results] == list(STEMS)
    assert messages == [f"{folder}: 2 image(s) other than TIFFs are ignored"]


@pytest.mark.parametrize(
    ("disturb", "message"),
    [
        (lambda a, b: raster(a / "east.tiff"), "east.tif and east.tiff have the same stem"),
        (lambda a, b: (b / "north.tif").unlink(), "no partner in the other folder: north"),
        (lambda a, b: [path.rename(path.with_suffix(".img")) for path in b.iterdir()], "no TIFFs"),
        (lambda a, b: shutil.rmtree(b), "is a folder and .* is not;"),
    ],
)
def test_folders_that_do_not_match_are_refused(
    request_: SceneRequest, disturb: Callable[[Path, Path], object], message: str
) -> None:
    disturb(Path(request_.before), Path(request_.after))
    with pytest.raises(DataError, match=message):
        predict_scenes(request_)


def test_the_model_is_read_and_hashed_once_for_all_pairs(
    request_: SceneRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"load": 0, "hash": 0}
    load, describe = opening_module.load, detector_module.model_metadata

    def counting_load(*args: object, **options: object) -> Detector:
        counts["load"] += 1
        return load(*args, **options)

    def counting_hash(*args: object) -> dict[str, object]:
        counts["hash"] += 1
        return describe(*args)

    monkeypatch.setattr(opening_module, "load", counting_load)
    monkeypatch.setattr(detector_module, "model_metadata", counting_hash)
    assert len(list(predict_scenes(request_))) == len(STEMS) > 1
    assert counts == {"load": 1, "hash": 1}

    detector = counting_load(request_.model, "cpu", None)
    again = replace(request_, out=request_.out.with_name("again"), model=None)
    assert len(list(predict_scenes(again, detector=detector))) == len(STEMS)
    assert counts == {"load": 2, "hash": 2}


def test_folders_of_one_file_per_band_are_refused_with_the_command_that_stacks(request_):
    for place in (request_.before, request_.after):
        folder = Path(place)
        for path in folder.iterdir():
            path.unlink()
        for band in ("B03", "B04", "B02"):
            write_raster(folder / f"x_{band}.tif", np.ones((64, 64), np.uint8))

    with pytest.raises(DataError, match=r"one file per band \(B02, B03, B04\)") as error:
        list(predict_scenes(request_))
    files = " ".join(f"{request_.after}/x_{band}.tif" for band in ("B02", "B03", "B04"))
    assert f"gdalbuildvrt -separate -resolution highest after.vrt {files}" in str(error.value)
    # Whoever names bands means each file as an image.
    results = list(predict_scenes(replace(request_, bands=(1, 1, 1))))
    assert [stem for stem, _ in results] == ["x_B02", "x_B03", "x_B04"]
