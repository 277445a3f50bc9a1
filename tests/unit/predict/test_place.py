"""Scenes with a place of any kind: what the results say of it, and what is left out."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
from affine import Affine
from PIL import Image

from changedet.card import ModelCard
from changedet.errors import DataError
from changedet.inference.detector import Detector
from changedet.inference.scorer import HostScorer
from changedet.predict import measures
from changedet.predict.folders import predict_scenes
from changedet.predict.images import predict_files
from changedet.predict.inputs import check_inputs, is_folder_of_images, is_scene
from changedet.predict.rasters import predict_scene
from changedet.predict.request import SceneReport, SceneRequest
from changedet.raster.shift_estimate import ShiftEstimate
from changedet.types import Normalisation, TestTime
from changedet.vector.files import PolygonOptions
from unusual_crs import MARS, ROTATED_POLE, SITE, UNKNOWN, WITH_HEIGHTS

pytestmark = [
    pytest.mark.usefixtures("few_shift_tiles"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
PLACE = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 2_500_000.0)
STATS = Normalisation((0.0,), (0.0,), (255.0,), (255.0,))


class Difference(HostScorer):
    card = ModelCard("stand-in", {}, STATS, tile_px=64, threshold=0.3)
    in_channels, stride, fixed_tile = 1, 8, False
    test_time: TestTime = "none"

    def score(self, before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> np.ndarray:
        return (np.abs(np.stack(after).astype(np.float32) - np.stack(before)) / 255).mean(-1)


GROUND = np.random.default_rng(0).integers(40, 100, (1, 80, 96), dtype=np.uint8)
CHANGED = GROUND.copy()
CHANGED[:, 20:40, 30:60] += 120


def write(path: Path, pixels: np.ndarray, **profile: object) -> str:
    _, height, width = pixels.shape
    usual = {"driver": "GTiff", "count": 1, "height": height, "width": width, "dtype": "uint8"}
    with rasterio.open(path, "w", **{**usual, **profile}) as raster:
        raster.write(pixels)
    return str(path)


@pytest.fixture
def predict(tmp_path: Path) -> Callable[..., SceneReport]:
    def call(before: str, after: str, **options: object) -> SceneReport:
        return predict_scene(
            before, after, detector=Detector(Difference()), out=tmp_path / "out", **options
        )

    return call


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    def make(**profile: object) -> tuple[str, str]:
        return (
            write(tmp_path / "before.tif", GROUND, **profile),
            write(tmp_path / "after.tif", CHANGED, **profile),
        )

    return make


def said(report: SceneReport) -> str:
    return "\n".join(remark.text for remark in report.remarks)


def same_crs(found: object, crs: str) -> bool:
    other = pyproj.CRS.from_user_input(rasterio.CRS.from_user_input(crs).to_wkt())
    return pyproj.CRS.from_user_input(found).equals(other, ignore_axis_order=True)


@pytest.mark.parametrize("format", ["gpkg", "geoparquet"])
@pytest.mark.parametrize(
    ("crs", "transform", "is_on_earth"),
    [
        (MARS, PLACE, False),
        ("IAU_2015:30100", Affine(1e-3, 0, 30.0, 0, -1e-3, 10.0), False),
        (SITE, PLACE, False),
        (UNKNOWN, PLACE, False),
        (WITH_HEIGHTS, PLACE, True),
        ("EPSG:32650+5773", PLACE, True),
        (ROTATED_POLE, Affine(0.01, 0, 5.0, 0, -0.01, 5.0), True),
    ],
)
def test_a_map_comes_out_at_the_place_of_before_whatever_its_crs(
    tmp_path: Path, predict, pair, crs: str, *, transform: Affine, is_on_earth: bool, format
):
    paths = pair(crs=crs, transform=transform)
    report = predict(*paths, polygons=PolygonOptions(format=format))
    out = tmp_path / "out"
    with rasterio.open(paths[0]) as raster:
        # What the GeoTIFF of the test keeps of a site's own system is its name.
        crs = raster.crs.to_wkt()
    for name in ("score.tif", "mask.tif"):
        with rasterio.open(out / name) as raster:
            assert same_crs(raster.crs.to_wkt(), crs)
            assert raster.transform.almost_equals(transform)
            assert raster.shape == (80, 96)
    assert report.counts.changed == 600
    if format == "gpkg":
        assert same_crs(pyogrio.read_info(out / "polygons.gpkg")["crs"], crs)
        bounds = pyogrio.read_bounds(out / "polygons.gpkg")[1][:, 0]
        left, top = transform @ (30, 20)
        right, bottom = transform @ (60, 40)
        np.testing.assert_allclose(bounds, (left, bottom, right, top))
    assert report.polygons.area_m2 is not None
    assert np.isfinite(report.polygons.area_m2)
    item = json.loads((out / "item.json").read_text())
    assert (item["geometry"] is not None) == is_on_earth
    assert ("no way leads from the CRS" in said(report)) != is_on_earth
    assert (report.content["grid"]["gsd_m"] is not None) == is_on_earth
    has_sidecar = (out / "score.tif.aux.xml").exists()
    assert ("score-place" in item["assets"]) == has_sidecar
    assert (".aux.xml files next to the results" in said(report)) == has_sidecar


def test_areas_of_another_planet_are_those_on_it(predict, pair):
    report = predict(*pair(crs=MARS, transform=PLACE))
    # Of an equidistant cylindrical projection of a sphere, areas shrink with the latitude.
    latitude = 2_500_000 / 3_396_190
    assert report.polygons.area_m2 == pytest.approx(600 * 4 * np.cos(latitude), rel=1e-3)
    site = predict(*pair(crs=SITE, transform=PLACE), existing="replace")
    assert site.polygons.area_m2 == pytest.approx(600 * 4)


@pytest.mark.parametrize("crs", [MARS, SITE, UNKNOWN])
def test_geojson_of_a_crs_that_is_not_of_the_earth_becomes_a_geopackage(
    tmp_path: Path, predict, pair, crs: str
):
    before, after = pair(crs=crs, transform=PLACE)
    report = predict(before, after, polygons=PolygonOptions(format="geojson"))
    assert "the polygons are written to polygons.gpkg instead" in said(report)
    assert report.content["polygons"]["file"] == "polygons.gpkg"
    assert report.polygons.count > 0
    out = tmp_path / "out"
    assert (out / "polygons.gpkg").is_file()
    assert not (out / "polygons.geojson").exists()


def test_an_area_of_interest_in_another_crs_needs_a_way_to_it(tmp_path: Path, predict, pair):
    before, after = pair(crs=MARS, transform=PLACE)
    with pytest.raises(DataError, match="no way leads from WGS 84 to the CRS of the rasters"):
        predict(before, after, region="10,10,20,20", region_crs="EPSG:4326")
    area = {
        "type": "Polygon",
        "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]],
    }
    (tmp_path / "area.geojson").write_text(json.dumps(area))
    with pytest.raises(DataError, match=r"area\.geojson: no way leads from"):
        predict(before, after, region=str(tmp_path / "area.geojson"))
    own = predict(before, after, region="500040,2499900,500140,2499960")
    assert own.content["grid"]["width"] == 50


def test_coordinates_outside_of_a_mistaken_crs_are_warned_of_and_mapped(predict, pair):
    # Easting without the number of its zone in front: nowhere in this CRS.
    report = predict(*pair(crs="EPSG:2334", transform=PLACE))
    assert "lies outside of where its CRS is defined" in said(report)
    assert report.counts.changed == 600
    assert report.polygons.area_m2 == pytest.approx(600 * 4)


def test_world_files_place_the_results_without_a_crs(tmp_path: Path, predict):
    paths = []
    for name, pixels in (("before", GROUND), ("after", CHANGED)):
        paths.append(str(tmp_path / f"{name}.tif"))
        Image.fromarray(pixels[0]).save(paths[-1])
        (tmp_path / f"{name}.tfw").write_text("0.5\n0\n0\n-0.5\n500000.25\n2499999.75\n")
    (tmp_path / "before.prj").write_text(pyproj.CRS("EPSG:32650").to_wkt("WKT1_ESRI"))
    report = predict(*paths, region="500005,2499975,500040,2499999")
    with rasterio.open(tmp_path / "out" / "mask.tif") as mask:
        assert not mask.crs
        assert mask.transform == Affine(0.5, 0, 500_005.0, 0, -0.5, 2_499_999.0)
        assert mask.read(1)[20 - 2 + 5, 30 - 10 + 5] == 1
    (bounds,) = pyogrio.read_bounds(tmp_path / "out" / "polygons.gpkg")[1].T
    np.testing.assert_allclose(bounds, (500_015.0, 2_499_980.0, 500_030.0, 2_499_990.0))
    assert "the results keep their coordinates, without a CRS" in said(report)
    assert "before.prj is not read as the CRS" in said(report)
    assert report.polygons.area_m2 is None


def test_a_world_file_that_gives_no_position_is_warned_of(tmp_path: Path, predict):
    paths = []
    for name, pixels in (("before", GROUND), ("after", CHANGED)):
        paths.append(str(tmp_path / f"{name}.tif"))
        Image.fromarray(pixels[0]).save(paths[-1])
        (tmp_path / f"{name}.tfw").write_text("0,5\n0\n0\n-0,5\n")
    report = predict(*paths)
    for name in ("before", "after"):
        assert f"{name}.tfw gives the image beside it no position" in said(report)


def test_a_world_file_that_contradicts_its_raster_is_warned_of(pair, tmp_path: Path, predict):
    before, after = pair(crs="EPSG:32650", transform=PLACE)
    centre = PLACE @ (0.5, 0.5)
    for path, right in ((before, 0.1), (after, 30.0)):
        lines = (PLACE.a, PLACE.d, PLACE.b, PLACE.e, centre[0] + right * PLACE.a, centre[1])
        Path(path).with_suffix(".tfw").write_text("\n".join(map(str, lines)))
    text = said(predict(before, after))
    assert "after.tfw places the image beside it elsewhere" in text
    assert "before.tfw" not in text


def test_a_world_file_on_one_side_is_refused(tmp_path: Path, predict):
    for name in ("before", "after"):
        Image.fromarray(GROUND[0]).save(tmp_path / f"{name}.tif")
    (tmp_path / "after.tfw").write_text("0.5\n0\n0\n-0.5\n500000.25\n2499999.75\n")
    with pytest.raises(DataError, match="different places but have no CRS"):
        predict(str(tmp_path / "before.tif"), str(tmp_path / "after.tif"))


def test_a_ballpark_transformation_is_warned_of_in_pixels(tmp_path: Path, predict):
    before = write(tmp_path / "before.tif", GROUND, crs="EPSG:32650", transform=PLACE)
    xian = PLACE @ Affine.translation(0, 500)
    after = write(
        tmp_path / "after.tif",
        CHANGED,
        crs="EPSG:2334",
        transform=Affine(2, 0, xian.c + 20_000_000, 0, -2, 2_501_000.4),
    )
    report = predict(before, after)
    assert "only a ballpark transformation" in said(report)
    assert "Xian 1980 / Gauss-Kruger zone 20" in said(report)
    assert "200 m off, that is 100 pixels" in said(report)


def test_the_accuracy_of_a_transformation_is_told_where_it_is_pixels(tmp_path: Path, predict):
    fine = Affine(0.1, 0, 500_000.0, 0, -0.1, 5_500_000.0)
    before = write(tmp_path / "before.tif", GROUND, crs="EPSG:32633", transform=fine)
    after = write(tmp_path / "after.tif", CHANGED, crs="EPSG:25833", transform=fine)
    report = predict(before, after)
    assert "is accurate to 1 m, that is 10 pixels" in said(report)
    coarse = Affine(10, 0, 500_000.0, 0, -10, 5_500_000.0)
    before = write(tmp_path / "before.tif", GROUND, crs="EPSG:32633", transform=coarse)
    after = write(tmp_path / "after.tif", CHANGED, crs="EPSG:25833", transform=coarse)
    assert "accurate" not in said(predict(before, after, existing="replace"))


@pytest.mark.parametrize(("factor", "finer"), [(5, "before"), (0.2, "after"), (3, None)])
def test_dates_of_very_different_resolution_are_warned_of(
    tmp_path: Path, predict, factor: float, finer: str | None
):
    before = write(tmp_path / "before.tif", GROUND, crs="EPSG:32650", transform=PLACE)
    sides = (round(80 / factor), round(96 / factor))
    after = write(
        tmp_path / "after.tif",
        np.full((1, *sides), 90, np.uint8),
        crs="EPSG:32650",
        transform=PLACE @ Affine.scale(factor),
    )
    text = said(predict(before, after))
    assert ("times as long as one of" in text) == (finer is not None)
    assert finer is None or f"5 times as long as one of {finer}" in text


@pytest.mark.parametrize("how", ["same path", "symlink", "hard link"])
def test_the_same_file_for_both_dates_is_warned_of(tmp_path: Path, predict, pair, how: str):
    before, _ = pair(crs="EPSG:32650", transform=PLACE)
    other = tmp_path / "other.tif"
    if how == "symlink":
        other.symlink_to(before)
    elif how == "hard link":
        other.hardlink_to(before)
    else:
        other = Path(before)
    report = predict(before, str(other))
    assert "before and after are the same file" in said(report)


def test_pages_of_one_file_are_told_and_chosen_by_number(tmp_path: Path, predict):
    stack = tmp_path / "stack.tif"
    pages = [Image.fromarray(pixels[0]) for pixels in (GROUND, CHANGED)]
    pages[0].save(stack, save_all=True, append_images=pages[1:])
    first = predict(str(stack), str(stack))
    assert "before and after are the same file" in said(first)
    assert "holds 2 images, of which the first is read; choose another one by its number " in said(
        first
    )
    assert first.counts.changed == 0
    chosen = predict(str(stack), f"{stack}#2", existing="replace")
    assert chosen.counts.changed == 600
    assert "same file" not in said(chosen)
    assert "holds 2 images" not in said(chosen)
    with pytest.raises(DataError, match=r"stack\.tif: has no image '3'; it holds 2"):
        predict(str(stack), f"{stack}#3", existing="replace")


def test_dates_of_the_same_content_are_warned_of(tmp_path: Path, predict, pair):
    before, _ = pair(crs="EPSG:32650", transform=PLACE)
    copy = write(tmp_path / "copy.tif", GROUND, crs="EPSG:32650", transform=PLACE, compress="lzw")
    text = said(predict(before, copy))
    assert "hold the same values wherever they were compared" in text
    assert "the same file" not in text


def test_a_correction_that_makes_the_pair_worse_is_not_applied(
    tmp_path: Path, predict, pair, monkeypatch: pytest.MonkeyPatch
):
    paths = pair(crs="EPSG:32650", transform=PLACE)
    plain = predict(*paths)
    estimates = iter([ShiftEstimate(3, 4, 0.1, 9, 9), ShiftEstimate(6, 8, 0.1, 9, 9)])
    monkeypatch.setattr(measures, "estimate_shift", lambda read, grid: next(estimates))
    report = predict(*paths, coregister="global", existing="replace")
    assert "the shift is not corrected: measured again" in said(report)
    assert report.content["shift_corrected"] is False
    assert report.content["shift_remaining"]["down_px"] == 6.0
    assert report.counts == plain.counts


WORLD_FILE = "2\n0\n0\n-2\n500001\n2499999\n"


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """The pair as PNG with world files, each in a folder of its own."""
    paths = tmp_path / "first" / "a.png", tmp_path / "second" / "a.png"
    for path, pixels in zip(paths, (GROUND, CHANGED), strict=True):
        path.parent.mkdir()
        Image.fromarray(pixels[0]).save(path)
        path.with_suffix(".pgw").write_text(WORLD_FILE)
    return paths


def test_pictures_with_world_files_are_rasters_with_a_place(
    tmp_path: Path, predict, pictures: tuple[Path, Path]
):
    before, after = map(str, pictures)
    assert is_scene(before)
    assert is_scene(str(pictures[0].parent))
    predict(before, after)
    with rasterio.open(tmp_path / "out" / "mask.tif") as mask:
        assert mask.transform == PLACE
    request = SceneRequest(
        *(str(path.parent) for path in pictures), model=None, out=tmp_path / "all"
    )
    ((stem, report),) = predict_scenes(request, detector=Detector(Difference()))
    assert stem == "a"
    assert report.counts.changed == 600


def test_pictures_whose_world_files_differ_are_never_compared_as_pictures(
    tmp_path: Path, predict, pictures: tuple[Path, Path]
):
    pictures[1].with_suffix(".pgw").write_text(WORLD_FILE.replace("500001", "500033"))
    with pytest.raises(DataError, match=r"different places.*x 500000,.*x 500032,"):
        predict(*map(str, pictures))
    with pytest.raises(DataError, match="lie at different places according to their world files"):
        predict_files(*pictures, detector=Detector(Difference()), out=tmp_path / "files")
    pictures[1].with_suffix(".pgw").unlink()
    with pytest.raises(DataError, match="has no coordinates"):
        predict(*map(str, pictures))


def test_a_folder_that_is_a_raster_is_one_scene(tmp_path: Path):
    store = tmp_path / "a.zarr"
    store.mkdir()
    assert is_scene(str(store))
    assert not is_folder_of_images(str(store))
    assert is_folder_of_images(str(tmp_path))
    (tmp_path / "one.tif").touch()
    with pytest.raises(DataError, match="not several with commas"):
        check_inputs(f"{tmp_path / 'one.tif'},{tmp_path / 'two.tif'}", str(tmp_path))
