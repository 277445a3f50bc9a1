import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from changedet.baselines.sample import PixelSample


def numbered(start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of two bands that hold their own number, and its negative at the second date."""
    numbers = np.arange(start, start + count)
    return np.stack([numbers, numbers], axis=1), -np.stack([numbers, numbers], axis=1)


def sampled(sizes: list[int], *, size: int) -> PixelSample:
    sample, start = PixelSample(size), 0
    for count in sizes:
        sample.add(*numbered(start, count))
        start += count
    return sample


@given(st.lists(st.integers(0, 200), min_size=1, max_size=60), st.integers(1, 50))
def test_a_sample_holds_distinct_pixels_of_both_dates_up_to_twice_its_size(sizes, size):
    pixels = sampled(sizes, size=size).pixels()
    assert pixels.population == sum(sizes)
    assert len(pixels.before) < 2 * size
    assert len(set(pixels.before[:, 0])) == len(pixels.before)
    np.testing.assert_array_equal(pixels.after, -pixels.before)
    if sum(sizes) < 2 * size:
        assert len(pixels.before) == sum(sizes)
        assert pixels.share == (1.0 if sum(sizes) else 0.0)


def test_the_same_blocks_give_the_same_sample():
    first, second = (sampled([300] * 20, size=100).pixels() for _ in range(2))
    np.testing.assert_array_equal(first.before, second.before)
    assert 60 < len(first.before) < 200
    assert first.share == len(first.before) / 6000


def test_all_parts_of_a_scene_are_in_the_sample_alike():
    pixels = sampled([512] * 400, size=2000).pixels()
    assert 1500 <= len(pixels.before) < 4000
    counts, _ = np.histogram(pixels.before[:, 0], bins=8, range=(0, 400 * 512))
    assert counts.min() > 0.8 * counts.mean()


def test_no_column_of_the_windows_is_preferred():
    width = 64
    pixels = sampled([width * 32] * 500, size=8000).pixels()
    columns = np.bincount(pixels.before[:, 0] % width, minlength=width)
    assert columns.max() < 2 * columns.mean()
