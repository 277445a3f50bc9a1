from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changedet.raster.grid import blend_weights, round_up, starts, tiles


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int]:
    length = draw(st.integers(1, 300))
    size = draw(st.integers(1, 80))
    return length, size, draw(st.integers(0, size - 1))


@given(axes())
def test_tiles_of_an_axis_cover_it_in_order_and_are_all_full_sized(axis: tuple[int, int, int]):
    length, size, overlap = axis
    places = starts(length, size, overlap)
    assert places[0] == 0
    assert places == sorted(set(places))
    covered = np.zeros(max(length, size), dtype=int)
    for start in places:
        assert start == 0 or start + size <= length
        covered[start : start + size] += 1
    assert covered.min() > 0
    for first, second in pairwise(places):
        assert first + size - second >= overlap


@given(axes())
def test_weights_are_positive_and_add_up_to_one_at_every_pixel(axis: tuple[int, int, int]):
    length, size, overlap = axis
    places = starts(length, size, overlap)
    weights = blend_weights(length, size=size, overlap=overlap)
    assert weights.shape == (len(places), size)
    total = np.zeros(max(length, size))
    for start, weight in zip(places, weights, strict=True):
        total[start : start + size] += weight
    np.testing.assert_allclose(total, 1.0, rtol=0, atol=1e-12)
    assert weights.min() > 0 or overlap == 0


@given(axes())
def test_without_overlap_every_pixel_belongs_to_exactly_one_tile(axis: tuple[int, int, int]):
    length, size, _ = axis
    weights = blend_weights(length, size=size, overlap=0)
    assert set(np.unique(weights)) <= {0.0, 1.0}


def test_a_single_tile_has_weights_of_exactly_one():
    assert (blend_weights(60, size=64, overlap=16) == 1.0).all()
    assert (blend_weights(64, size=64, overlap=16) == 1.0).all()


def test_weights_fade_smoothly_from_one_tile_to_the_next():
    first, second = blend_weights(112, size=64, overlap=16)
    assert (np.diff(first[48:]) < 0).all()
    assert (np.diff(second[:16]) > 0).all()
    # A jump of the weights would show as a seam: 16 pixels of overlap allow steps of about 1/16.
    assert np.abs(np.diff(first)).max() < 2.5 / 16
    assert first[-1] < 0.01


@pytest.mark.parametrize(
    ("shape", "size", "overlap", "corners"),
    [
        ((64, 64), (64, 64), 16, [(0, 0)]),
        ((40, 100), (40, 64), 16, [(0, 0), (0, 36)]),
        ((100, 50), (64, 56), 63, [(top, 0) for top in range(37)]),
        ((128, 128), (64, 64), 0, [(0, 0), (0, 64), (64, 0), (64, 64)]),
        ((30, 20), (64, 64), 16, [(0, 0)]),
    ],
)
def test_tiles_lie_row_by_row(shape, size, overlap, corners):
    placed = list(tiles(shape, size=size, overlap=overlap))
    assert [(tile.top, tile.left) for tile in placed] == corners
    rows = starts(shape[0], size[0], min(overlap, size[0] - 1))
    assert [rows[tile.row] for tile in placed] == [top for top, _ in corners]


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_an_overlap_without_a_step_between_tiles_is_refused(overlap: int):
    with pytest.raises(ValueError, match=rf"overlap must be in \[0, 8\), got {overlap}"):
        starts(20, 8, overlap)


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_rounding_up_gives_the_next_multiple(length: int, multiple: int):
    rounded = round_up(length, multiple)
    assert rounded % multiple == 0
    assert length <= rounded < length + multiple
