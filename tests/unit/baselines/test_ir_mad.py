import numpy as np
import pytest
from scipy.stats import chi2

from changedet.baselines import ir_mad
from changedet.baselines.ir_mad import fit_ir_mad, ir_mad_chi_square
from changedet.baselines.standardise import standardise

MIXING = np.array([[1.0, 0.3, -0.2], [0.1, 0.8, 0.4], [-0.3, 0.2, 1.2]])
SQUARE = np.s_[10:30, 20:50]


def make_pair(*, changed: bool = True, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three bands of noise, the same mixed with a little noise, and a square of other noise."""
    rng = np.random.default_rng(seed)
    before = rng.normal(0, 1, (80, 90, 3))
    after = before @ MIXING + rng.normal(0, 0.1, before.shape)
    if changed:
        after[SQUARE] = rng.normal(1, 1, after[SQUARE].shape)
    return before, after


def chi_square(before: np.ndarray, after: np.ndarray, **options: int) -> np.ndarray:
    pair = standardise(before, after)
    return ir_mad_chi_square(pair.before, pair.after, **options)


def test_without_change_the_first_iteration_follows_the_chi_square_distribution():
    found = chi_square(*make_pair(changed=False), max_iterations=1)
    assert np.median(found) == pytest.approx(chi2.median(3), rel=0.1)
    assert np.quantile(found, 0.95) == pytest.approx(chi2.ppf(0.95, 3), rel=0.1)


def test_amid_change_the_unchanged_pixels_keep_the_shape_of_that_distribution():
    found = chi_square(*make_pair())
    unchanged = np.ones(found.shape, bool)
    unchanged[SQUARE] = False
    ratio = np.quantile(found[unchanged], 0.95) / np.median(found[unchanged])
    assert ratio == pytest.approx(chi2.ppf(0.95, 3) / chi2.median(3), rel=0.1)
    assert np.median(found[SQUARE]) > 20 * np.quantile(found[unchanged], 0.95)


def test_reweighting_keeps_changed_pixels_from_deciding_what_agrees():
    pair = make_pair()
    reweighted = chi_square(*pair)
    once = chi_square(*pair, max_iterations=1)
    assert np.median(reweighted[SQUARE]) > 3 * np.median(once[SQUARE])


def test_linear_mixtures_of_the_bands_make_no_difference():
    before, after = make_pair()
    plain = chi_square(before, after)
    mixed = chi_square(before @ MIXING + 5, 3 * after @ MIXING.T - 1)
    assert mixed == pytest.approx(plain, rel=2e-2, abs=2e-2)


def test_swapping_the_dates_makes_no_difference():
    before, after = make_pair()
    assert chi_square(after, before) == pytest.approx(chi_square(before, after), rel=1e-3)


def test_one_iteration_on_one_band_is_the_textbooks_formula():
    before, after = (date[..., :1] for date in make_pair())
    x, y = ((date - date.mean()) / date.std() for date in (before, after))
    expected = (x - y) ** 2 / (2 * (1 - np.corrcoef(x.ravel(), y.ravel())[0, 1]))
    found = chi_square(before, after, max_iterations=1)
    assert found == pytest.approx(expected[..., 0], rel=1e-3, abs=1e-4)


def test_a_band_that_is_given_twice_or_holds_nothing_adds_nothing():
    before, after = make_pair()
    plain = chi_square(before, after)
    again = [np.concatenate([date, date[..., :1], 0 * date], axis=2) for date in (before, after)]
    assert chi_square(*again) == pytest.approx(plain, rel=1e-3, abs=1e-3)


def test_dates_that_agree_exactly_hold_no_change():
    before, _ = make_pair()
    assert not chi_square(before, 2 * before + 3).any()


def test_nothing_is_correlated_with_a_constant_date():
    before, _ = make_pair()
    assert not chi_square(before, np.ones_like(before)).any()


def test_large_images_are_fitted_to_a_sample_of_their_pixels():
    whole = chi_square(*make_pair())
    sampled = chi_square(*make_pair(), sampled_px=2000)
    assert sampled.shape == whole.shape
    assert np.corrcoef(sampled.ravel(), whole.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("kept", ["none", "one value"])
def test_an_iteration_that_leaves_too_little_keeps_what_the_one_before_found(monkeypatch, kept):
    before, after = make_pair()
    before[0] = 0.0
    pair = standardise(before, after)
    weights = np.zeros(pair.known.size)
    if kept == "one value":
        # All of the first row is of one value before, so there only two dates' worth is left.
        weights[: before.shape[1]] = 1.0
        pair.before[0, :, 0] = np.linspace(-1, 1, before.shape[1])
    monkeypatch.setattr(ir_mad, "chdtrc", lambda freedom, statistic: weights)
    found = ir_mad_chi_square(pair.before, pair.after)
    once = ir_mad_chi_square(pair.before, pair.after, max_iterations=1)
    np.testing.assert_array_equal(found, once)
    assert found.any()


def pixels(*, changed: bool = True) -> tuple[np.ndarray, np.ndarray]:
    pair = standardise(*make_pair(changed=changed))
    return pair.before.reshape(-1, 3), pair.after.reshape(-1, 3)


def test_a_fit_says_whether_it_converged():
    free = fit_ir_mad(*pixels())
    assert free.has_converged
    assert 2 < free.iterations < 50
    stopped = fit_ir_mad(*pixels(), max_iterations=2)
    assert (stopped.iterations, stopped.has_converged) == (2, False)
    again = fit_ir_mad(*pixels(), max_iterations=free.iterations)
    np.testing.assert_array_equal(again.pairs.correlation, free.pairs.correlation)


def test_variates_of_the_first_iteration_have_the_variance_that_their_correlation_tells():
    before, after = pixels()
    pairs = fit_ir_mad(before, after, max_iterations=1).pairs
    variates = pairs.mad_variates(before, after)
    assert np.cov(variates.T, bias=True) == pytest.approx(
        np.diag(2 * (1 - pairs.correlation)), abs=1e-6
    )
    assert variates.mean(axis=0) == pytest.approx(0.0, abs=1e-6)


def test_samples_of_several_chunks_have_the_textbooks_correlations():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(2 * ir_mad.CHUNK_PX + 5, 2)).astype(np.float32)
    after = (before + rng.normal(size=before.shape) * (0.2, 0.7)).astype(np.float32)
    joint = np.cov(np.concatenate([before, after], axis=1, dtype=np.float64).T)
    first, cross, second = joint[:2, :2], joint[:2, 2:], joint[2:, 2:]
    squares = np.linalg.eigvals(np.linalg.solve(first, cross) @ np.linalg.solve(second, cross.T))
    pairs = fit_ir_mad(before, after, max_iterations=1).pairs
    assert pairs.correlation**2 == pytest.approx(np.sort(squares)[::-1], abs=1e-9)
