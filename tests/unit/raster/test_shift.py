import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from changedet.raster.shift import TileShift, combine_shifts, measure_shift

FINE = 4
offsets = st.floats(-5, 5)


def fields(side, *, seed, bands=3):
    """Make a landscape on a fine grid: fields with sharp edges and some texture, 0..255."""
    rng = np.random.default_rng(seed)
    length = side * FINE
    points = rng.integers(0, length, (max(8, side * side // 300), 2))
    seeds = np.zeros((length, length), np.int64)
    seeds[points[:, 0], points[:, 1]] = np.arange(1, len(points) + 1)
    nearest = ndimage.distance_transform_edt(
        seeds == 0, return_distances=False, return_indices=True
    )
    field = seeds[nearest[0], nearest[1]]
    levels = rng.uniform(40, 200, (len(points) + 1, bands))
    texture = ndimage.gaussian_filter(rng.normal(size=(length, length)), FINE)
    return levels[field] + (texture / texture.std() * 6)[..., None]


def seen(fine, *, side, at):
    """Average the fine grid to pixels, as a sensor does whose corner lies at ``at`` fine pixels."""
    part = fine[at[0] : at[0] + side * FINE, at[1] : at[1] + side * FINE]
    return part.reshape(side, FINE, side, FINE, -1).mean((1, 3))


def two_views(side, *, shift, seed=0, bands=3):
    """Give two dates whose content differs by ``shift`` pixels, exact and not interpolated."""
    reach = 2 + int(max(abs(part) for part in shift))
    fine = fields(side + 2 * reach, seed=seed, bands=bands)
    at = reach * FINE
    moved = [at - round(part * FINE) for part in shift]
    return seen(fine, side=side, at=(at, at)), seen(fine, side=side, at=moved)


def everywhere(image):
    return np.ones(image.shape[:2], bool)


def assert_shift(found, shift, *, within):
    assert found is not None
    assert abs(found.down_px - shift[0]) < within
    assert abs(found.right_px - shift[1]) < within


def as_bytes(image):
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shift", [(0, 0), (0.25, -0.5), (-1.75, 2.25), (0.75, 0.5), (5.5, -3.25)])
def test_a_known_shift_is_found_to_a_twentieth_of_a_pixel(shift):
    before, after = two_views(128, shift=shift)
    found = measure_shift(as_bytes(before), as_bytes(after), everywhere(before))
    assert_shift(found, shift, within=0.05)
    assert found.quality > 2


def test_the_error_has_no_sign():
    errors = []
    for seed in range(8):
        before, after = two_views(128, shift=(0.25, -0.75), seed=seed)
        found = measure_shift(as_bytes(before), as_bytes(after), everywhere(before))
        errors.append((found.down_px - 0.25, found.right_px + 0.75))
    assert np.abs(np.mean(errors, axis=0)).max() < 0.02


def test_swapping_the_dates_turns_the_shift_round():
    before, after = two_views(128, shift=(1.25, -2.5))
    there = measure_shift(before, after, everywhere(before))
    back = measure_shift(after, before, everywhere(before))
    assert_shift(back, (-there.down_px, -there.right_px), within=0.021)


def test_another_season_light_and_noise_hardly_matter():
    # Some fields turn dark that were bright, the light is weaker, the sensor noisy.
    rng = np.random.default_rng(5)
    before, after = two_views(192, shift=(1.5, -0.75), seed=3)
    after = np.where(after > 120, 200 - after, 60 + 0.6 * after)
    before, after = (image + rng.normal(0, 5, image.shape) for image in (before, after))
    found = measure_shift(as_bytes(before), as_bytes(after), everywhere(before))
    assert_shift(found, (1.5, -0.75), within=0.1)


def test_inverted_contrast_gives_the_same_shift():
    before, after = two_views(128, shift=(-0.5, 1.25))
    found = measure_shift(as_bytes(before), as_bytes(255 - after), everywhere(before))
    assert_shift(found, (-0.5, 1.25), within=0.05)


def test_changed_ground_pulls_the_shift_nowhere():
    # A third of what the window shows is new; a tile may be off by a part of a pixel, the mean not.
    errors = []
    for seed in range(8):
        before, after = two_views(192, shift=(0.75, 1.5), seed=seed)
        other, _ = two_views(192, shift=(0, 0), seed=90 + seed)
        after[30:100, 50:120] = other[30:100, 50:120]
        found = measure_shift(as_bytes(before), as_bytes(after), everywhere(before))
        assert_shift(found, (0.75, 1.5), within=0.3)
        errors.append((found.down_px - 0.75, found.right_px - 1.5))
    assert np.abs(np.mean(errors, axis=0)).max() < 0.1


def test_a_better_match_out_of_reach_declines_the_one_within():
    # Most of the tile has moved too far to be looked for; a corner stayed where it was.
    before, after = two_views(128, shift=(50, 0))
    other, same = two_views(128, shift=(0, 0), seed=8)
    before[:, :44], after[:, :44] = other[:, :44], same[:, :44]
    assert measure_shift(before, after, everywhere(before)) is None


def test_bands_of_any_type_and_scale_count_alike():
    before, after = two_views(128, shift=(1.25, 0.5), bands=4)
    strange = np.random.default_rng(0).normal(size=(2, 128, 128))
    scales = np.array([1e-3, 1, 1e4, 0])
    before, after = (1e4 + image * scales for image in (before, after))
    found = measure_shift(before.astype(np.float32), after.astype(np.float32), everywhere(before))
    assert_shift(found, (1.25, 0.5), within=0.1)
    # A band that has nothing in common does not drown those that have, even if it is much larger.
    before[..., 3], after[..., 3] = 1e6 * strange
    assert_shift(measure_shift(before, after, everywhere(before)), (1.25, 0.5), within=0.1)


def test_missing_pixels_do_not_hold_the_dates_together():
    before, after = two_views(192, shift=(2.5, -1.75))
    valid = everywhere(before)
    valid[:70, :90] = False
    valid[150:160] = False
    before[~valid] = after[~valid] = 0
    found = measure_shift(as_bytes(before), as_bytes(after), valid)
    assert_shift(found, (2.5, -1.75), within=0.05)


def test_a_shift_of_many_pixels_is_found_as_exactly():
    shift = (-30.25, 21.5)
    before, after = two_views(192, shift=shift)
    assert_shift(measure_shift(before, after, everywhere(before)), shift, within=0.05)


def test_a_shift_out_of_reach_is_not_made_up():
    before, after = two_views(128, shift=(60, 0))
    assert measure_shift(before, after, everywhere(before)) is None


def flat(side):
    return np.full((side, side, 3), 90, np.uint8)


def noise(side, *, seed):
    return np.random.default_rng(seed).normal(100, 20, (side, side, 3))


def edge(side):
    image = flat(side)
    image[:, side // 3 :] = 160
    return image


def rows_of_plants(side):
    return np.where(np.arange(side)[:, None, None] // 3 % 2, 150, 90) + np.zeros((side, side, 3))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (flat(96), flat(96)),
        (flat(96), noise(96, seed=0)),
        (noise(96, seed=0), noise(96, seed=1)),
        (edge(96), edge(96)),
        (rows_of_plants(96), rows_of_plants(96)),
        (np.zeros((96, 96, 0)), np.zeros((96, 96, 0))),
    ],
    ids=["flat", "flat and noise", "only noise", "single edge", "rows", "no bands"],
)
def test_a_tile_without_a_distinct_match_is_declined(before, after):
    assert measure_shift(before, after, everywhere(before)) is None


def test_different_places_are_declined():
    found = []
    for seed in range(12):
        before, _ = two_views(96, shift=(0, 0), seed=seed)
        after, _ = two_views(96, shift=(0, 0), seed=100 + seed)
        found.append(measure_shift(before, after, everywhere(before)))
    assert sum(one is not None for one in found) <= 1


def test_tiles_that_are_small_or_mostly_empty_are_declined():
    before, after = two_views(96, shift=(0.5, 0.5))
    valid = everywhere(before)
    assert measure_shift(before, after, valid) is not None
    valid[:, 40:] = False
    assert measure_shift(before, after, valid) is None
    assert measure_shift(before, after, np.zeros_like(valid)) is None
    small = np.s_[:31, :96]
    assert measure_shift(before[small], after[small], everywhere(before[small])) is None


def test_dates_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        measure_shift(flat(64), flat(96), np.ones((64, 64), bool))
    with pytest.raises(ValueError, match="do not fit"):
        measure_shift(flat(64), flat(64), np.ones((64, 63), bool))


def tile_shifts(places):
    return [TileShift(down, right, 3.0) for down, right in places]


def test_the_estimate_is_the_median_with_its_spread():
    rng = np.random.default_rng(0)
    places = rng.normal((1.5, -2.0), 0.4, (2000, 2))
    estimate = combine_shifts(tile_shifts(places), tried=2500)
    assert abs(estimate.down_px - 1.5) < 0.05
    assert abs(estimate.right_px + 2.0) < 0.05
    assert 0.36 < estimate.spread_px < 0.44
    assert estimate.tiles_used > 1950
    assert estimate.tiles_tried == 2500
    assert estimate.length_px == pytest.approx(np.hypot(estimate.down_px, estimate.right_px))


@given(
    centre=st.tuples(offsets, offsets),
    near=st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)), min_size=7, max_size=12),
    far=st.lists(st.tuples(st.floats(20, 99), st.floats(-99, 99)), max_size=3),
)
def test_wrong_tiles_do_not_move_the_estimate(centre, near, far):
    places = [(centre[0] + down, centre[1] + right) for down, right in near]
    estimate = combine_shifts(tile_shifts([*far, *places]), tried=20)
    assert estimate is not None
    assert abs(estimate.down_px - centre[0]) <= 0.2 + 1e-9
    assert abs(estimate.right_px - centre[1]) <= 0.2 + 1e-9
    assert estimate.tiles_used <= len(near)
    assert estimate.spread_px <= 0.6


@given(st.lists(st.tuples(offsets, offsets), min_size=3, max_size=9), st.randoms())
def test_the_order_of_the_tiles_does_not_matter(places, random):
    estimate = combine_shifts(tile_shifts(places), tried=9)
    random.shuffle(places)
    assert combine_shifts(tile_shifts(places), tried=9) == estimate


@pytest.mark.parametrize(
    "places",
    [
        [],
        [(1, 1), (1, 1)],
        [(1, 1), (1, 1), (50, -20)],
        [(-30, 5), (12, 44), (0, -8), (25, 25), (-9, -40)],
    ],
    ids=["none", "two", "two and a wrong one", "all apart"],
)
def test_too_few_tiles_or_tiles_that_disagree_give_no_estimate(places):
    assert combine_shifts(tile_shifts(places), tried=25) is None


@pytest.mark.parametrize(
    ("agreeing", "apart", "tried", "is_known"),
    [
        (3, 0, 25, False),
        (4, 0, 25, False),
        (5, 0, 25, True),
        (3, 0, 9, True),
        (7, 5, 25, True),
        (6, 8, 25, False),
    ],
)
def test_a_fifth_of_the_tiles_and_half_of_the_measured_ones_must_agree(
    agreeing: int, apart: int, tried: int, *, is_known: bool
):
    near = [(2.0 + index / 50, -1.0) for index in range(agreeing)]
    far = [((-1) ** index * (30 + 9 * index), 20 + 7 * index) for index in range(apart)]
    estimate = combine_shifts(tile_shifts([*near, *far]), tried=tried)
    assert (estimate is not None) == is_known
    assert estimate is None or estimate.tiles_used == agreeing
