import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from changedet.predict.registration import (
    Correction,
    are_dates_identical,
    check_correction,
    estimate_shift,
    spread_windows,
)
from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.pair import PairPixels
from changedet.raster.shift_estimate import ShiftEstimate


def landscape(shape, *, seed=0):
    """Make a band-limited texture, so that a spline moves it by any fraction without error."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(size=(*shape, 3)), (1.5, 1.5, 0))
    return texture / texture.std() * 30 + 120


def moved(image, shift):
    return ndimage.shift(image, (*shift, 0), order=5, mode="reflect")


class Scene:
    """Two dates in memory, which remember what was read."""

    def __init__(self, before, after, valid=None):
        self.before = np.clip(before, 0, 255).astype(np.uint8)
        self.after = np.clip(after, 0, 255).astype(np.uint8)
        self.valid = np.ones(before.shape[:2], bool) if valid is None else valid
        self.grid = GeoGrid(None, Affine.identity(), *before.shape[:2])
        self.windows = []

    def read(self, window):
        assert window.intersect(self.grid.window) == window
        self.windows.append(window)
        part = np.s_[window.top : window.bottom, window.left : window.right]
        valid = self.valid[part]
        return PairPixels(
            self.before[part] * valid[..., None], self.after[part] * valid[..., None], valid
        )


def scene(shape=(320, 400), *, shift, valid=None):
    before = landscape(shape)
    return Scene(before, moved(before, shift), valid)


def assert_shift(estimate, shift):
    assert estimate is not None
    assert abs(estimate.down_px - shift[0]) < 0.05
    assert abs(estimate.right_px - shift[1]) < 0.05


def test_the_shift_of_a_scene_is_found_to_a_twentieth_of_a_pixel():
    pair = scene(shift=(1.3, -0.45))
    estimate = estimate_shift(pair.read, pair.grid, tiles=9, tile_px=96)
    assert_shift(estimate, (1.3, -0.45))
    assert estimate.tiles_used == estimate.tiles_tried == len(pair.windows) == 9
    assert estimate.spread_px < 0.1


def test_the_same_scene_gives_the_same_tiles_and_estimate():
    first, second = scene(shift=(0.5, 2.2)), scene(shift=(0.5, 2.2))
    estimates = [estimate_shift(one.read, one.grid, tiles=4, tile_px=96) for one in (first, second)]
    assert first.windows == second.windows
    assert estimates[0] == estimates[1]


def test_places_without_data_are_replaced_by_others():
    valid = np.zeros((320, 400), bool)
    valid[:, 200:] = True
    pair = scene(shift=(-0.7, 0.4), valid=valid)
    estimate = estimate_shift(pair.read, pair.grid, tiles=6, tile_px=64)
    assert_shift(estimate, (-0.7, 0.4))
    assert estimate.tiles_tried == 6
    assert len(pair.windows) > 6


def test_a_scene_without_common_data_is_given_up():
    pair = scene(shift=(0, 0), valid=np.zeros((320, 400), bool))
    assert estimate_shift(pair.read, pair.grid, tiles=5, tile_px=64) is None
    assert 5 < len(pair.windows) <= 20


def test_tiles_that_changed_altogether_are_outvoted():
    pair = scene(shift=(1.2, 0.8))
    pair.after[:, :150] = np.clip(landscape((320, 150), seed=7), 0, 255)
    estimate = estimate_shift(pair.read, pair.grid, tiles=12, tile_px=64)
    assert_shift(estimate, (1.2, 0.8))
    assert estimate.tiles_used < estimate.tiles_tried == 12


def test_water_gives_no_estimate():
    calm = np.full((320, 400, 3), 60.0)
    pair = Scene(calm, calm)
    assert estimate_shift(pair.read, pair.grid, tiles=5, tile_px=64) is None


@pytest.mark.parametrize("shape", [(128, 128), (80, 600), (200, 150)])
def test_small_and_narrow_scenes_use_smaller_tiles(shape):
    pair = scene(shape, shift=(-0.6, 1.1))
    assert_shift(estimate_shift(pair.read, pair.grid, tiles=9), (-0.6, 1.1))
    assert len(set(pair.windows)) >= 3


@pytest.mark.parametrize("shape", [(64, 64), (20, 300), (1, 1)])
def test_scenes_that_hold_no_three_tiles_give_no_estimate(shape):
    pair = scene(shape, shift=(0, 0))
    assert estimate_shift(pair.read, pair.grid) is None


@pytest.mark.parametrize("options", [{"tiles": 0}, {"tile_px": 31}])
def test_senseless_options_are_refused(options):
    pair = scene((64, 64), shift=(0, 0))
    with pytest.raises(ValueError, match="must be at least"):
        estimate_shift(pair.read, pair.grid, **options)


@given(
    st.tuples(st.integers(1, 40_000), st.integers(1, 40_000)),
    st.integers(32, 600),
    st.integers(1, 60),
)
def test_windows_lie_inside_the_scene_and_are_all_different(shape, tile_px, places):
    windows = list(spread_windows(shape, tile_px=tile_px, places=places))
    scene_window = Window(0, 0, *shape)
    assert all(window.intersect(scene_window) == window for window in windows)
    assert len(set(windows)) == len(windows)
    assert 1 <= len(windows) <= places
    assert len({window.shape for window in windows}) == 1
    assert max(windows[0].shape) <= tile_px


def test_windows_reach_every_part_of_a_large_scene():
    windows = list(spread_windows((10_000, 10_000), tile_px=512, places=25))
    middles = {(int((w.top + 256) / 10_000 * 3), int((w.left + 256) / 10_000 * 3)) for w in windows}
    assert len(windows) == 25
    assert len(middles) == 9


def measured(down, right, *, spread=0.1, used=9):
    return ShiftEstimate(down, right, spread_px=spread, tiles_used=used, tiles_tried=25)


@pytest.mark.parametrize(
    ("shift", "remaining", "expected"),
    [
        (measured(3, 4), measured(0.1, 0), Correction((3, 4), measured(0.1, 0))),
        (None, None, Correction(refusal="unknown")),
        (measured(0.03, 0.02), None, Correction(refusal="small")),
        (measured(0.4, 0, spread=2.0), None, Correction(refusal="uncertain")),
        (measured(3, 4), None, Correction(refusal="worse")),
        (measured(3, 4), measured(-3, 4), Correction(remaining=measured(-3, 4), refusal="worse")),
    ],
)
def test_a_shift_is_taken_back_only_if_less_is_left(shift, remaining, expected):
    asked = []

    def measure(taken):
        asked.append(taken)
        return remaining

    assert check_correction(shift, measure) == expected
    assert asked == ([(3, 4)] if shift == measured(3, 4) else [])


def test_a_small_shift_is_taken_back_only_where_that_costs_nothing():
    small = measured(0.1, 0.1)
    found = [
        check_correction(small, lambda taken: measured(0, 0), smallest_px=smallest_px)
        for smallest_px in (0.25, 0.0)
    ]
    assert found == [Correction(refusal="small"), Correction((0.1, 0.1), measured(0, 0))]


def test_identical_dates_are_told_from_those_that_differ_anywhere_in_the_windows():
    same = scene(shift=(0, 0))
    same.after = same.before.copy()
    assert are_dates_identical(same.read, same.grid)
    same.after[160, 200] ^= 1
    assert not are_dates_identical(same.read, same.grid)
    empty = scene(shift=(0, 0), valid=np.zeros((320, 400), bool))
    assert not are_dates_identical(empty.read, empty.grid)
