import warnings
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

from changedet.errors import DataError
from changedet.raster import place as place_module
from changedet.raster.cog import write_mask_cog, write_score_cog
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.lonlat import lonlat_box, lonlat_transformer
from changedet.raster.place import keep_place, sidecar_of, try_place
from changedet.raster.score_store import ScoreFile
from unusual_crs import (
    DATUM_PARAMETERS,
    FROM_PARIS,
    MARS,
    NEEDS_A_GRID_FILE,
    ROTATED_POLE,
    SITE,
    UNKNOWN,
    WITH_HEIGHTS,
)

PLACE = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 2_500_000.0)
DEGREES = Affine(1e-4, 0.0, 11.0, 0.0, -1e-4, 45.0)


def wkt(crs: str) -> str:
    return str(CRS.from_user_input(crs).to_wkt())


@pytest.mark.parametrize(
    ("crs", "transform", "takes_sidecar"),
    [
        ("EPSG:32650", PLACE, False),
        ("EPSG:7415", PLACE, False),
        ("EPSG:4326", DEGREES, False),
        (MARS, PLACE, False),
        (None, PLACE, False),
        (None, Affine.identity(), False),
        (None, Affine.translation(3, 5), False),
        (None, PLACE @ Affine.rotation(20), False),
        ("EPSG:32650", PLACE @ Affine.shear(5, 0), False),
        ("EPSG:32650", PLACE @ Affine.scale(1, -1), False),
        (WITH_HEIGHTS, PLACE, True),
        (ROTATED_POLE, DEGREES, True),
        (SITE, PLACE, True),
        ("EPSG:5773", PLACE, True),
        (DATUM_PARAMETERS, PLACE, True),
        (FROM_PARIS, PLACE, True),
        (NEEDS_A_GRID_FILE, PLACE, True),
        (WITH_HEIGHTS, PLACE @ Affine.rotation(20), True),
    ],
)
def test_results_have_the_place_of_their_grid_whatever_the_crs(
    tmp_path: Path, crs: str | None, transform: Affine, *, takes_sidecar: bool
):
    grid = GeoGrid(None if crs is None else wkt(crs), transform, 40, 30)
    assert try_place(grid, name="before.tif") == takes_sidecar
    with ScoreFile.create(tmp_path / "scores.raw", grid) as scores:
        scores.write_rows(0, np.full((40, 30), 0.25, np.float32))
        write_score_cog(scores, tmp_path / "score.tif", tags={})
        write_mask_cog(scores, tmp_path / "mask.tif", threshold=0.5, tags={})
    for name in ("score.tif", "mask.tif"):
        assert sidecar_of(tmp_path / name).exists() == takes_sidecar
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(tmp_path / name) as written:
                assert written.shape == (40, 30)
                assert written.transform.almost_equals(transform)
                if crs is None:
                    assert not written.crs
                else:
                    found = pyproj.CRS.from_wkt(written.crs.to_wkt())
                    assert found.equals(pyproj.CRS.from_wkt(wkt(crs)), ignore_axis_order=True)


def test_a_sidecar_of_an_earlier_file_does_not_move_the_new_one(tmp_path: Path):
    earlier = GeoGrid(wkt(WITH_HEIGHTS), PLACE @ Affine.translation(500, 0), 20, 20)
    later = GeoGrid(wkt("EPSG:32650"), PLACE, 20, 20)
    for grid in (earlier, later):
        with ScoreFile.create(tmp_path / "scores.raw", grid) as scores:
            write_score_cog(scores, tmp_path / "score.tif", tags={})
    assert not sidecar_of(tmp_path / "score.tif").exists()
    with rasterio.open(tmp_path / "score.tif") as written:
        assert written.transform == PLACE


def test_a_place_that_cannot_be_kept_is_an_error_before_the_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        place_module, "_write_sidecar", lambda product, grid: sidecar_of(product).touch()
    )
    with pytest.raises(DataError, match=r"before\.tif: its coordinate reference system \(WGS 84"):
        try_place(GeoGrid(wkt(WITH_HEIGHTS), PLACE, 40, 30), name="before.tif")


@pytest.mark.parametrize(
    "other",
    [
        GeoGrid(wkt("EPSG:32650"), PLACE, 17, 16),
        GeoGrid(wkt("EPSG:32650"), PLACE @ Affine.translation(0.1, 0), 16, 16),
    ],
)
def test_a_sidecar_makes_good_a_position_but_no_size(tmp_path: Path, other: GeoGrid):
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 16, "width": 16}
    with rasterio.open(path, "w", crs="EPSG:32650", transform=PLACE, **profile) as file:
        file.write(np.zeros((1, 16, 16), np.uint8))
    if other.shape != (16, 16):
        with pytest.raises(rasterio.errors.RasterioError, match="does not keep its size"):
            keep_place(path, other)
        return
    assert keep_place(path, other)
    with rasterio.open(path) as file:
        assert file.transform == other.transform


@pytest.mark.parametrize("crs", [MARS, "IAU_2015:30100", SITE, UNKNOWN, NEEDS_A_GRID_FILE])
def test_no_way_leads_from_some_systems_to_degrees_on_earth(crs: str):
    assert lonlat_transformer(wkt(crs)) is None
    assert lonlat_box(GeoGrid(wkt(crs), PLACE, 40, 30)) is None


@pytest.mark.parametrize("crs", ["EPSG:5773", "EPSG:4978"])
def test_heights_alone_and_geocentric_coordinates_are_no_place_of_an_image(crs: str):
    assert lonlat_transformer(wkt(crs)) is None


def test_degrees_are_known_with_heights_and_poles_of_any_kind():
    for crs in (WITH_HEIGHTS, "EPSG:7415", ROTATED_POLE, DATUM_PARAMETERS):
        assert lonlat_transformer(wkt(crs)) is not None
    box = lonlat_box(GeoGrid(wkt(WITH_HEIGHTS), PLACE, 40, 30))
    assert box == pytest.approx((117.0, 22.606, 117.0006, 22.6069), abs=1e-3)


def test_metres_with_a_crs_of_degrees_are_no_place():
    assert lonlat_box(GeoGrid(wkt("EPSG:4326"), PLACE, 40, 30)) is None
