import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changedet.baselines.standardise import standardise


def test_every_band_of_every_date_has_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    before = rng.integers(0, 60_000, (9, 12, 4), dtype=np.uint16)
    after = rng.normal(-3.0, 0.01, (9, 12, 4))
    pair = standardise(before, after)
    for date in (pair.before, pair.after):
        assert date.mean(axis=(0, 1)) == pytest.approx(0.0, abs=1e-5)
        assert date.std(axis=(0, 1)) == pytest.approx(1.0, abs=1e-5)
    assert pair.known.all()


@given(gain=st.floats(0.1, 1e3), offset=st.floats(-1e3, 1e3), seed=st.integers(0, 100))
def test_gain_and_offset_of_a_date_make_no_difference(gain, offset, seed):
    image = np.random.default_rng(seed).random((6, 5, 2))
    pair = standardise(image, gain * image + offset)
    assert pair.after == pytest.approx(pair.before, abs=1e-4)


@pytest.mark.parametrize("value", [0, 7, 65_535, 0.1, 1e-30])
def test_a_constant_band_becomes_0(value):
    image = np.full((50, 60, 1), value, np.float32)
    assert not standardise(image, image).before.any()


def test_values_that_are_no_numbers_count_for_nothing():
    rng = np.random.default_rng(0)
    before, after = rng.random((2, 8, 8, 3))
    clean = standardise(before[1:], after[1:])
    before[0], after[0] = np.nan, np.inf
    pair = standardise(before, after)
    assert pair.known.sum() == 56
    assert not pair.known[0].any()
    assert not pair.before[0].any()
    np.testing.assert_array_equal(pair.after[1:], clean.after)


def test_a_pair_without_any_number_is_0():
    pair = standardise(np.full((2, 3, 1), np.nan), np.zeros((2, 3, 1)))
    assert not pair.known.any()
    assert not pair.after.any()
