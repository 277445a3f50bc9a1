import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from changedet.data.rasters.blocks import Candidate, cut, deal, inset
from changedet.raster.geo_grid import Window

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
lengths = st.integers(1, 300)


def paint(shape, windows):
    """How often each pixel is covered."""
    times = np.zeros(shape, dtype=int)
    for window in windows:
        times[window.top : window.bottom, window.left : window.right] += 1
    return times


@given(lengths, lengths, st.integers(16, 128))
def test_blocks_cover_every_pixel_once_and_are_of_similar_size(height, width, block_px):
    blocks = cut((height, width), block_px)

    assert (paint((height, width), blocks) == 1).all()
    for length, sizes in ((height, {b.height for b in blocks}), (width, {b.width for b in blocks})):
        assert max(sizes) <= block_px
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= min(length, block_px // 2)


candidates = st.lists(
    st.builds(
        lambda counted, core, changed: Candidate(counted, core * counted // 100, changed),
        st.integers(1, 10_000),
        st.integers(0, 100),
        st.sampled_from([0, 0, 1, 5, 40]),
    ).map(lambda c: c._replace(core_changed=min(c.core_changed, c.core_counted))),
    min_size=3,
    max_size=60,
)


@given(candidates, st.integers(0, 99))
def test_dealing_is_decided_by_the_seed_and_gives_each_split_change_if_it_can(blocks, seed):
    dealt = deal(blocks, SHARES, seed=seed)

    assert dealt == deal(blocks, SHARES, seed=seed)
    assert len(dealt) == len(blocks)
    with_change = {split for split, block in zip(dealt, blocks, strict=True) if block.core_changed}
    positives = sum(block.core_changed > 0 for block in blocks)
    assert len(with_change) >= min(positives, 3)
    if positives:
        assert "train" in with_change
    for split, block in zip(dealt, blocks, strict=True):
        assert split == "train" or block.core_counted


@given(st.integers(40, 200), st.integers(0, 9))
def test_the_splits_get_their_shares_of_the_pixels_and_of_the_change(number, seed):
    rng = np.random.default_rng(number)
    blocks = [Candidate(1000, 900, int(changed)) for changed in rng.integers(0, 3, number) * 100]
    dealt = np.array(deal(blocks, SHARES, seed=seed))

    changed = np.array([block.core_changed for block in blocks], dtype=float)
    for split, share in SHARES.items():
        assert abs((dealt == split).mean() - share) < 2 / number + 0.01
        assert abs(changed[dealt == split].sum() / changed.sum() - share) < 0.1


def test_another_seed_deals_otherwise():
    blocks = [Candidate(100, 90, 10)] * 40
    assert deal(blocks, SHARES, seed=0) != deal(blocks, SHARES, seed=1)


@given(lengths, lengths, st.integers(16, 100), st.integers(0, 12), st.integers(0, 5))
def test_no_validation_or_test_pixel_is_within_the_gap_of_another_split(
    height, width, block_px, gap_px, seed
):
    raw = cut((height, width), block_px)
    rng = np.random.default_rng(seed)
    split_of = np.zeros((height, width), dtype=int)
    for number, block in zip(rng.integers(1, 4, len(raw)), raw, strict=True):
        used = block if number == 1 else inset(block, gap_px)
        if used is not None:
            split_of[used.top : used.bottom, used.left : used.right] = number

    for number in (1, 2, 3):
        near = maximum_filter(split_of == number, size=2 * gap_px + 1, mode="constant")
        others = split_of[near & (split_of != number)]
        assert not others.any()


def test_an_inset_that_leaves_nothing_is_none():
    assert inset(Window(0, 0, 8, 20), 4) is None
    assert inset(Window(10, 20, 9, 30), 4) == Window(14, 24, 1, 22)
