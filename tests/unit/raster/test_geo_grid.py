import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from changedet.raster.geo_grid import GeoGrid, Window

windows = st.builds(
    Window, st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 20), st.integers(1, 20)
)


def pixels(window: Window) -> set[tuple[int, int]]:
    return {
        (row, column)
        for row in range(window.top, window.bottom)
        for column in range(window.left, window.right)
    }


@given(windows, windows)
def test_the_intersection_holds_exactly_the_common_pixels(one: Window, other: Window):
    common = one.intersect(other)
    assert (set() if common is None else pixels(common)) == pixels(one) & pixels(other)


@given(windows, st.integers(-9, 9), st.integers(-9, 9))
def test_a_moved_window_holds_the_same_pixels_further_on(window: Window, down: int, right: int):
    moved = {(row + down, column + right) for row, column in pixels(window)}
    assert pixels(window.moved(down, right)) == moved


@given(windows, st.integers(1, 40))
def test_a_window_is_covered_once_by_what_it_is_cut_into(window: Window, size: int):
    parts = window.cut(size)
    assert all(part.intersect(window) == part for part in parts)
    assert all(0 < side <= size for part in parts for side in part.shape)
    assert set().union(*map(pixels, parts)) == pixels(window)
    assert sum(part.height * part.width for part in parts) == window.height * window.width


def test_a_grid_knows_its_bounds_and_shape():
    grid = GeoGrid("EPSG:32633", Affine(2.0, 0.0, 100.0, 0.0, -3.0, 500.0), 10, 20)
    assert grid.bounds == (100.0, 470.0, 140.0, 500.0)
    assert grid.shape == (10, 20)
    assert grid.window == Window(0, 0, 10, 20)


def test_the_crop_of_a_grid_starts_where_its_window_does():
    grid = GeoGrid("EPSG:32633", Affine(2.0, 0.0, 100.0, 0.0, -2.0, 500.0), 10, 20)
    crop = grid.crop(Window(3, 4, 5, 6))
    assert crop.bounds == (108.0, 484.0, 120.0, 494.0)
    assert crop.shape == (5, 6)
    assert crop.crs == grid.crs


def test_a_crop_that_reaches_over_the_edge_is_refused():
    grid = GeoGrid(None, Affine.identity(), 10, 20)
    with pytest.raises(ValueError, match="does not lie inside"):
        grid.crop(Window(5, 0, 6, 3))
