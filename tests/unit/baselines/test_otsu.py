import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.filters import threshold_otsu

from changedet.baselines.otsu import otsu_scale, otsu_score

magnitudes = arrays(np.float64, (4, 5), elements=st.floats(0.0, 1e6, allow_subnormal=False))


def everywhere(magnitude: np.ndarray) -> np.ndarray:
    return np.ones(magnitude.shape, bool)


@pytest.mark.parametrize("seed", range(5))
def test_a_score_of_a_half_is_otsus_threshold(seed):
    rng = np.random.default_rng(seed)
    magnitude = np.concatenate([rng.normal(2, 0.5, 900), rng.normal(6, 1, 100)]).reshape(20, 50)
    magnitude = np.abs(magnitude)
    score = otsu_score(magnitude, everywhere(magnitude))
    threshold = threshold_otsu(magnitude)
    assert 2 < threshold < 6
    np.testing.assert_array_equal(score >= 0.5, magnitude >= threshold)


@given(magnitudes)
def test_scores_are_scores_and_keep_the_order(magnitude):
    score = otsu_score(magnitude, everywhere(magnitude))
    assert ((score >= 0) & (score <= 1)).all()
    in_order = np.argsort(magnitude, axis=None)
    assert (np.diff(score.flat[in_order]) >= 0).all()


@given(magnitudes, st.floats(1.0, 1e6))
def test_the_unit_of_the_magnitude_makes_no_difference(magnitude, factor):
    magnitude = np.where(magnitude < 1e-3, 0.0, magnitude)
    first = otsu_score(magnitude, everywhere(magnitude))
    second = otsu_score(factor * magnitude, everywhere(magnitude))
    assert second == pytest.approx(first, abs=1e-2)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e-6])
def test_where_all_pixels_differ_alike_none_stands_out(value):
    magnitude = np.full((4, 4), value)
    assert not otsu_score(magnitude, everywhere(magnitude)).any()


def test_rounding_errors_are_no_change():
    magnitude = np.random.default_rng(0).uniform(0, 1e-6, (8, 8))
    assert not otsu_score(magnitude, everywhere(magnitude)).any()


def test_unknown_pixels_score_0_and_do_not_move_the_threshold():
    magnitude = np.random.default_rng(0).uniform(1, 5, (8, 8))
    known = everywhere(magnitude)
    known[0] = False
    alone = otsu_score(magnitude[1:], known[1:])
    magnitude[0] = 1e9
    score = otsu_score(magnitude, known)
    assert not score[0].any()
    np.testing.assert_array_equal(score[1:], alone)
    assert not otsu_score(magnitude, np.zeros_like(known)).any()


@pytest.mark.parametrize("extreme", [1e3, 1e6, 1e30])
def test_a_few_extreme_pixels_do_not_move_the_threshold(extreme):
    rng = np.random.default_rng(0)
    magnitude = np.abs(np.concatenate([rng.normal(2, 0.5, 9000), rng.normal(6, 1, 1000)]))
    usual = otsu_scale(lambda: [magnitude]).threshold
    magnitude[:5] = extreme
    assert otsu_scale(lambda: [magnitude]).threshold == pytest.approx(usual, rel=0.05)


def test_the_threshold_is_skimages_where_nothing_is_extreme():
    magnitude = np.abs(np.random.default_rng(0).standard_gamma(2.0, 200_000))
    assert otsu_scale(lambda: np.split(magnitude, 4)).threshold == threshold_otsu(magnitude)


def test_a_small_change_of_an_unchanged_image_is_found():
    magnitude = np.zeros(100_000)
    magnitude[:20] = 3.0
    scale = otsu_scale(lambda: [magnitude])
    assert 0 < scale.threshold <= 3.0
    assert scale.share == 20 / 100_000


def test_the_share_above_the_threshold_is_known():
    magnitude = np.abs(np.random.default_rng(0).normal(5, 1, 10_000))
    scale = otsu_scale(lambda: np.split(magnitude, 5))
    assert scale.share == pytest.approx((magnitude >= scale.threshold).mean(), abs=0.02)
    assert scale.share > 0.4
