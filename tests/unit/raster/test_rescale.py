import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changedet.errors import DataError
from changedet.raster.geo_grid import Window
from changedet.raster.pixels import Pixels
from changedet.raster.rescale import measure_limits, sample_windows, stretch


@given(
    st.floats(-1e5, 1e5), st.floats(1e-2, 1e5), st.lists(st.floats(-3e5, 3e5, width=32), min_size=1)
)
def test_limits_become_the_ends_and_order_is_kept(low: float, size: float, values: list[float]):
    limits = (low, low + size)
    given_values = np.sort(np.array([*values, *limits], np.float32))
    levels = stretch(given_values, limits)
    assert levels.dtype == np.uint8
    assert (np.diff(levels.astype(int)) >= 0).all()
    assert (levels[given_values < low - 0.01 * size - 0.1] == 0).all()
    assert (levels[given_values > low + 1.01 * size + 0.1] == 255).all()


def test_levels_between_the_limits_are_linear_and_rounded():
    values = np.array([-5, 0, 1, 5.1, 10, 11], np.float32)
    np.testing.assert_array_equal(stretch(values, (0.0, 10.0)), [0, 0, 26, 130, 255, 255])


def scene(
    shape: tuple[int, int], *, valid: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    values = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(1, *shape)
    return values, np.ones(shape, bool) if valid is None else valid


def measure(values: np.ndarray, valid: np.ndarray, reads: list[Window]) -> tuple[float, float]:
    def read(window: Window) -> Pixels:
        reads.append(window)
        place = np.s_[window.top : window.bottom, window.left : window.right]
        return Pixels(values[:, *place], valid[place])

    return measure_limits(read, Window(0, 0, *valid.shape), location="a.tif")


def test_a_large_scene_is_sampled_evenly_not_read():
    reads: list[Window] = []
    values, valid = scene((4000, 3000))
    low, high = measure(values, valid, reads)
    assert len(reads) == 36
    expected = np.percentile(values, (2, 98))
    np.testing.assert_allclose((low, high), expected, atol=0.02 * float(np.ptp(expected)))


def test_scarce_data_are_looked_for_more_closely():
    valid = np.zeros((6000, 6000), bool)
    valid[800:1100, 800:1100] = True
    values = np.zeros((1, 6000, 6000), np.float32)
    values[:, valid] = np.linspace(5, 6, int(valid.sum()))
    reads: list[Window] = []
    low, high = measure(values, valid, reads)
    assert len(reads) > 36
    assert 5 <= low < high <= 6


def test_a_constant_picture_still_has_a_range():
    values, valid = np.full((1, 20, 20), 7, np.float32), np.ones((20, 20), bool)
    low, high = measure(values, valid, [])
    assert low == 7 < high


def test_nothing_but_missing_pixels_is_an_error():
    values, valid = scene((20, 20))
    with pytest.raises(DataError, match=r"a\.tif: no pixel .*gdal_edit.py -a_nodata"):
        measure(values, np.zeros_like(valid), [])


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 8))
def test_sample_windows_lie_inside_and_reach_the_corners(height: int, width: int, spread: int):
    whole = Window(3, 5, height, width)
    windows = list(sample_windows(whole, spread=spread))
    assert len(set(windows)) == len(windows) <= spread**2
    assert all(window.intersect(whole) == window for window in windows)
    assert (windows[0].top, windows[0].left) == (3, 5)
    if spread > 1:
        assert (windows[-1].bottom, windows[-1].right) == (whole.bottom, whole.right)
