import math

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from changedet.predict.footprint import Footprint, footprint
from changedet.raster.geo_grid import GeoGrid


def outline(crs: str, *, pixel: float, left: float, top: float, size: int = 100) -> Footprint:
    found = footprint(GeoGrid(crs, Affine(pixel, 0, left, 0, -pixel, top), size, size))
    assert found is not None
    return found


def shape_of(found: Footprint) -> shapely.Geometry:
    return shapely.geometry.shape(found.geometry)


def test_a_grid_in_degrees_is_its_own_rectangle():
    found = outline("EPSG:4326", pixel=0.01, left=10, top=50)
    assert found.bbox == [10, 49, 11, 50]
    assert shape_of(found).equals(shapely.box(10, 49, 11, 50))
    assert shape_of(found).exterior.is_ccw, "RFC 7946 wants exteriors counterclockwise"
    assert found.geometry["coordinates"][0][0] == found.geometry["coordinates"][0][-1]


def test_a_small_projected_grid_has_its_four_corners():
    found = outline("EPSG:32632", pixel=0.5, left=600_000, top=5_000_000)
    to_lonlat = Transformer.from_crs(32632, 4326, always_xy=True)
    corners = [(600_000 + x, 5_000_000 - y) for x in (0, 50) for y in (0, 50)]
    wanted = {tuple(np.round(to_lonlat.transform(*corner), 8)) for corner in corners}
    assert {tuple(point) for point in found.geometry["coordinates"][0]} == wanted


def test_the_curved_edge_of_a_large_projected_grid_is_followed():
    # In Lambert conformal conic a straight edge bulges in longitude and latitude.
    found = outline("EPSG:3034", pixel=20_000, left=3_000_000, top=4_000_000)
    to_lonlat = Transformer.from_crs(3034, 4326, always_xy=True)
    for x, y in ((4_000_000, 3_990_000), (3_010_000, 3_000_000), (4_990_000, 2_500_000)):
        assert shape_of(found).contains(shapely.Point(to_lonlat.transform(x, y)))
    assert not shape_of(found).contains(shapely.Point(to_lonlat.transform(4_000_000, 4_010_000)))


@pytest.mark.parametrize(
    ("crs", "left", "top", "pixel"),
    [("EPSG:4326", 179.5, 50, 0.01), ("EPSG:32660", 700_000, 5_000_000, 2000)],
)
def test_across_the_antimeridian_there_are_two_parts_and_a_box_across(
    crs: str, left: float, top: float, pixel: float
):
    found = outline(crs, pixel=pixel, left=left, top=top)
    assert found.geometry["type"] == "MultiPolygon"
    western, eastern = sorted(shape_of(found).geoms, key=lambda part: part.bounds[0])
    assert eastern.bounds[2] == 180
    assert western.bounds[0] == -180
    west, south, east, north = found.bbox
    assert west == eastern.bounds[0] > 170
    assert east == western.bounds[2] < -170
    assert -90 < south < north < 90
    assert shape_of(found).is_valid


def test_longitudes_beyond_180_degrees_are_brought_back():
    found = outline("EPSG:4326", pixel=0.01, left=190, top=50)
    assert found.bbox == [-170, 49, -169, 50]


@pytest.mark.parametrize("left", [-180, 0])
def test_the_whole_globe_is_one_box(left: float):
    found = footprint(GeoGrid("EPSG:4326", Affine(1, 0, left, 0, -1, 90), 180, 360))
    assert found is not None
    assert found.bbox == [-180, -90, 180, 90]
    assert math.isclose(shape_of(found).area, 360 * 180)


@pytest.mark.parametrize(("crs", "sign"), [("EPSG:3413", 1), ("EPSG:3031", -1)])
def test_a_grid_around_a_pole_reaches_up_to_it(crs: str, sign: int):
    found = outline(crs, pixel=20_000, left=-1_000_000, top=1_000_000)
    assert shape_of(found).is_valid
    for lon in (-179, -91, 0, 46, 135):
        assert shape_of(found).contains(shapely.Point(lon, sign * 89.9))
        assert not shape_of(found).contains(shapely.Point(lon, sign * 70))
    assert (found.bbox[0], found.bbox[2]) == (-180, 180)
    assert sign * 90 in found.bbox


def test_pixel_coordinates_have_no_place_on_earth():
    assert footprint(GeoGrid(None, Affine.identity(), 10, 10)) is None


def test_a_grid_beyond_the_edge_of_the_earth_has_no_outline():
    grid = GeoGrid("+proj=ortho", Affine(1e5, 0, -1e7, 0, -1e5, 1e7), 200, 200)
    assert footprint(grid) is None


def test_a_grid_without_extent_in_degrees_has_no_outline():
    # Less than the coordinates' last digit.
    assert footprint(GeoGrid("EPSG:4326", Affine(1e-12, 0, 1, 0, -1e-12, 1), 10, 10)) is None


@given(
    st.floats(-360, 360),
    st.floats(-60, 80),
    st.floats(0.1, 100),
    st.floats(0.1, 10),
)
def test_points_of_the_grid_lie_in_its_outline(left: float, top: float, width: float, high: float):
    found = footprint(GeoGrid("EPSG:4326", Affine(width / 10, 0, left, 0, -high / 10, top), 10, 10))
    assert found is not None
    shape = shape_of(found)
    assert shape.is_valid
    assert -180 <= shape.bounds[0] <= shape.bounds[2] <= 180
    assert math.isclose(shape.area, width * high, rel_tol=1e-3)
    west, south, east, north = found.bbox
    for share in (0.1, 0.5, 0.9):
        lon = (left + share * width + 180) % 360 - 180
        lat = top - share * high
        assert shape.buffer(1e-6).contains(shapely.Point(lon, lat))
        in_box = west - 1e-6 <= lon <= east + 1e-6
        if west > east:
            in_box = lon >= west - 1e-6 or lon <= east + 1e-6
        assert in_box
        assert south <= lat <= north
