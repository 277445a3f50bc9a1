import numpy as np
import pyproj
import pytest
from affine import Affine

from changedet.raster.geo_grid import GeoGrid
from changedet.vector.footprints import do_meet, grown


def grid(code, *, left, top, pixel=1.0, size=(100, 100)):
    crs = None if code is None else pyproj.CRS.from_epsg(code).to_wkt()
    return GeoGrid(crs, Affine(pixel, 0, left, 0, -pixel, top), *size)


def around(lon, lat, code, *, half=50):
    """A grid of 1 m pixels whose centre is a place."""
    to_crs = pyproj.Transformer.from_crs("OGC:CRS84", f"EPSG:{code}", always_xy=True)
    x, y = to_crs.transform(lon, lat)
    return grid(code, left=x - half, top=y + half, size=(2 * half, 2 * half))


def test_grids_of_one_system_meet_if_they_share_more_than_an_edge():
    first = grid(32631, left=5e5, top=5e6)
    assert do_meet(first, grid(32631, left=5e5 + 99, top=5e6))
    assert not do_meet(first, grid(32631, left=5e5 + 100 - 1e-6, top=5e6))
    assert do_meet(first, grid(32631, left=5e5 + 40, top=5e6 - 40, size=(5, 5)))


def test_a_grown_grid_reaches_as_many_pixels_further():
    first = grid(32631, left=5e5, top=5e6, pixel=2.0)
    assert grown(first, 10).bounds == (5e5 - 20, 5e6 - 220, 5e5 + 220, 5e6 + 20)
    for distance, expected in ((19, True), (21, False)):
        other = grid(32631, left=5e5 + 200 + distance, top=5e6)
        assert do_meet(grown(first, 10), other) is expected
        below = grid(32631, left=5e5, top=5e6 - 200 - distance)
        assert do_meet(grown(first, 10), below) is expected


def test_a_system_that_is_spelled_otherwise_is_the_same():
    first = grid(32631, left=5e5, top=5e6)
    spelled = pyproj.CRS.from_epsg(32631).to_wkt("WKT1_GDAL")
    assert first.crs != spelled
    near = GeoGrid(spelled, Affine(1, 0, 5e5 + 100, 0, -1, 5e6), 100, 100)
    assert do_meet(first, near) is False
    assert do_meet(grown(first, 1), near)


@pytest.mark.parametrize("code", [32631, 4326, 3857, 3035])
def test_grids_of_two_systems_are_compared_on_the_ground(code):
    here = around(6.0, 45.0, 32632)
    if code == 4326:
        there = [grid(code, left=lon, top=45.0002, pixel=4e-6) for lon in (5.9998, 6.01)]
    else:
        there = [around(lon, 45.0, code) for lon in (6.0005, 6.01)]
    assert do_meet(here, there[0])
    assert do_meet(there[0], here)
    assert do_meet(here, there[1]) is False


def test_sheets_of_two_zones_that_lie_askew_side_by_side_do_not_meet():
    # At 45 degrees north and 3 degrees from their middle, zones are turned by 4 degrees against
    # each other: bounding boxes in degrees of these would overlap.
    west = around(5.9, 45.0, 32631, half=5000)
    place = pyproj.Transformer.from_crs(32631, 32632, always_xy=True)
    x, y = place.transform(west.bounds[2], west.bounds[3])
    east = grid(32632, left=x + 800, top=y, size=(10000, 10000))
    assert do_meet(west, east) is False
    assert do_meet(grown(west, 900), east)


def test_longitudes_that_differ_by_a_turn_are_the_same_place():
    pacific = around(180.0, -17.0, 32701)
    assert do_meet(pacific, grid(4326, left=-180.0, top=-16.999, pixel=1e-4))
    assert do_meet(pacific, grid(4326, left=179.995, top=-16.999, pixel=1e-4))
    assert do_meet(pacific, grid(4326, left=0.0, top=-16.999, pixel=1e-4)) is False


def test_a_grid_around_the_pole_holds_what_is_close_to_it():
    pole = grid(3413, left=-1e5, top=1e5, pixel=1000, size=(200, 200))
    close = grid(4326, left=33.0, top=89.9, pixel=1e-3)
    assert do_meet(pole, close)
    assert do_meet(pole, grid(4326, left=33.0, top=80.0, pixel=1e-3)) is False


def test_what_has_no_place_cannot_be_told():
    here = grid(32631, left=5e5, top=5e6)
    assert do_meet(here, grid(None, left=5e5, top=5e6)) is None
    assert do_meet(here, grid(3035, left=1e12, top=1e12)) is None
    assert np.isfinite(grown(here, 0).bounds).all()
