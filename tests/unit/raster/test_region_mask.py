from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from changedet.errors import DataError
from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.region_mask import RegionMask

GRID = GeoGrid("EPSG:32633", Affine(2.0, 0, 1000.0, 0, -2.0, 5000.0), 50, 60)


def polygon(*corners: tuple[float, float]) -> dict[str, Any]:
    """Make a polygon from corners in pixels, (column, row)."""
    ring = [GRID.transform @ corner for corner in corners]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


@given(st.lists(st.tuples(st.floats(-20, 80), st.floats(-20, 70)), min_size=3, max_size=3))
def test_pixels_are_inside_if_their_centre_is(corners: list[tuple[float, float]]):
    shape = shapely.Polygon(corners)
    if shape.area < 1 or not shape.intersects(shapely.box(1, 1, 59, 49)):
        return
    mask = RegionMask(polygon(*corners), GRID)
    got = mask.read(GRID.window)
    columns, rows = np.meshgrid(np.arange(60) + 0.5, np.arange(50) + 0.5)
    points = shapely.points(columns, rows)
    certain = shapely.distance(shape.boundary, points) > 1e-6
    np.testing.assert_array_equal(got[certain], shapely.contains(shape, points)[certain])
    part = np.zeros_like(got)
    window = mask.window
    part[window.top : window.bottom, window.left : window.right] = mask.read(window)
    # A centre on the outline may count or not, by rounding.
    np.testing.assert_array_equal(part[certain], got[certain])


def test_the_window_is_cut_off_at_the_edge_of_the_grid():
    mask = RegionMask(polygon((-5, 10.2), (20.5, 10.2), (20.5, 90), (-5, 90)), GRID)
    assert mask.window == Window(10, 0, 40, 21)


def test_holes_and_several_parts_count():
    outer = polygon((0, 0), (10, 0), (10, 10), (0, 10))["coordinates"][0]
    hole = polygon((2, 2), (8, 2), (8, 8), (2, 8))["coordinates"][0]
    other = polygon((20, 20), (22, 20), (22, 22), (20, 22))["coordinates"]
    mask = RegionMask({"type": "MultiPolygon", "coordinates": [[outer, hole], other]}, GRID)
    assert mask.read(mask.window).sum() == 100 - 36 + 4


def test_an_area_outside_is_refused_with_both_places():
    with pytest.raises(DataError, match=r"x 1200..1220, y 4800..4820.* outside .*x 1000..1120"):
        RegionMask(polygon((100, 90), (110, 90), (110, 100), (100, 100)), GRID)


def test_an_empty_area_is_refused():
    with pytest.raises(DataError, match="empty"):
        RegionMask({"type": "Polygon", "coordinates": []}, GRID)
