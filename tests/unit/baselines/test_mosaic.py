import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changedet.baselines.mosaic import compute_in_tiles


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    tile_px=st.integers(1, 17),
    overlap_share=st.sampled_from([0.0, 0.25, 0.5]),
)
def test_a_map_of_single_pixels_does_not_show_the_tiles(height, width, tile_px, overlap_share):
    rng = np.random.default_rng(0)
    before, after = rng.random((2, height, width, 2))

    def difference(before, after):
        assert max(before.shape[:2]) <= tile_px
        return np.abs(after - before).sum(axis=2).astype(np.float32)

    whole = np.abs(after - before).sum(axis=2)
    found = compute_in_tiles(
        difference, before, after, tile_px=tile_px, overlap_px=int(overlap_share * tile_px)
    )
    assert found == pytest.approx(whole, abs=1e-5)


def test_without_overlap_every_pixel_comes_from_one_tile():
    values = iter(range(1, 10))
    image = np.zeros((5, 7, 1))
    found = compute_in_tiles(
        lambda before, _: np.full(before.shape[:2], next(values), np.float32),
        image,
        image,
        tile_px=4,
        overlap_px=0,
    )
    assert found.tolist() == [[1] * 4 + [2] * 3] * 4 + [[3] * 4 + [4] * 3]
