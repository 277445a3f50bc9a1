"""Uncertainty of an ablation's figures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from changedet.ablation.estimates import (
    CONTRAST,
    F1,
    FALSE_POSITIVE_OBJECTS,
    estimate_correlation,
    estimate_difference,
    estimate_figure,
    loss_spread,
    rank_correlation,
)
from changedet.storage.results import to_plain


def counts(f1s: list[float], pixels: int = 10_000) -> np.ndarray:
    """Images with as many misses as false alarms, hence of just these F1."""
    hits = np.rint(np.array(f1s) * pixels).astype(np.int64)
    return np.stack([hits, pixels - hits, pixels - hits], axis=1)


IMAGES = [0.5, 0.6, 0.7, 0.8, 0.55, 0.65, 0.75, 0.85]


def test_f1_is_that_of_the_pooled_pixels_and_lies_in_its_interval():
    estimate = estimate_figure([counts(IMAGES)])
    assert estimate.mean == pytest.approx(np.mean(IMAGES))
    assert estimate.low < estimate.mean < estimate.high
    assert estimate.std is None
    assert estimate.seeds == 1


def test_one_image_twice_as_large_counts_twice():
    rows = np.concatenate([counts([0.4], 20_000), counts([0.7])])
    assert F1.pooled(rows) == pytest.approx((2 * 0.4 + 0.7) / 3)


def test_a_spread_over_seeds_widens_the_interval():
    level = counts(IMAGES)
    apart = [counts([f1 + shift for f1 in IMAGES]) for shift in (-0.02, 0.02)]
    same, wide = estimate_figure([level, level]), estimate_figure(apart)
    assert same.mean == pytest.approx(wide.mean)
    assert same.std == 0.0
    assert wide.std == pytest.approx(0.04 / math.sqrt(2))
    # Student's quantile for one degree of freedom is 12.7.
    assert wide.high - wide.mean > 12.7 * 0.02 > same.high - same.mean


def test_no_interval_of_an_f1_leaves_0_to_1():
    estimate = estimate_figure([counts([0.1] * 8), counts([0.9] * 8)])
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_the_same_gain_on_every_image_is_certain_although_images_differ_much():
    ours, theirs = counts([f1 + 0.02 for f1 in IMAGES]), counts(IMAGES)
    paired = estimate_difference([ours], [theirs])
    assert paired.mean == pytest.approx(0.02)
    assert paired.low == pytest.approx(0.02)
    assert paired.high == pytest.approx(0.02)
    assert estimate_figure([ours]).low < estimate_figure([theirs]).high


def test_turning_a_difference_round_turns_its_interval_round():
    ours, theirs = [counts(IMAGES)], [counts(IMAGES[::-1]), counts([0.6] * 8)]
    there, back = estimate_difference(ours, theirs), estimate_difference(theirs, ours)
    assert back.mean == pytest.approx(-there.mean)
    assert back.low == pytest.approx(-there.high)
    assert back.high == pytest.approx(-there.low)


def test_seeds_enter_a_difference_as_welch_says():
    ours = [counts([f1] * 8) for f1 in (0.70, 0.72, 0.74)]
    theirs = [counts([f1] * 8) for f1 in (0.60, 0.60, 0.60)]
    measured = estimate_difference(ours, theirs)
    # The other side does not vary, so two degrees of freedom are left: t = 4.303.
    half = 4.302653 * 0.02 / math.sqrt(3)
    assert measured.mean == pytest.approx(0.12)
    assert measured.low == pytest.approx(0.12 - half, abs=1e-6)
    assert measured.high == pytest.approx(0.12 + half, abs=1e-6)
    assert measured.std == pytest.approx(0.02)


def test_with_one_seed_on_either_side_the_seeds_widen_nothing():
    spread = [counts([0.5] * 8), counts([0.9] * 8)]
    measured = estimate_difference(spread, [counts([0.6] * 8)])
    assert measured.seeds == 1
    assert measured.std is None
    assert measured.low == pytest.approx(measured.high)


def test_without_any_change_there_is_neither_figure_nor_interval():
    nothing = np.zeros((3, 3), dtype=np.int64)
    estimate = estimate_figure([nothing])
    assert math.isnan(estimate.mean)
    assert math.isnan(estimate.low)
    assert to_plain(estimate)["mean"] is None
    assert math.isnan(estimate_difference([nothing], [nothing]).low)


def moments(changed: np.ndarray, unchanged: np.ndarray) -> list[float]:
    return [
        figure
        for scores in (changed, unchanged)
        for figure in (len(scores), scores.sum(), (scores**2).sum())
    ]


def test_contrast_is_the_sensitivity_index_of_all_pixels_whatever_the_unit():
    rng = np.random.default_rng(0)
    images = [(rng.normal(0.7, 0.1, 400), rng.normal(0.2, 0.05, 900)) for _ in range(5)]
    sums = np.array([moments(*image) for image in images])
    changed, unchanged = (np.concatenate(side) for side in zip(*images, strict=True))
    deviation = math.sqrt((changed.var() + unchanged.var()) / 2)
    estimate = estimate_figure([sums], CONTRAST)
    assert estimate.mean == pytest.approx((changed.mean() - unchanged.mean()) / deviation)
    assert estimate.low < estimate.mean < estimate.high
    scaled = np.array([moments(0.1 * first + 0.3, 0.1 * second + 0.3) for first, second in images])
    assert CONTRAST.pooled(scaled) == pytest.approx(estimate.mean)
    assert CONTRAST.pooled(sums[:, [3, 4, 5, 0, 1, 2]]) == pytest.approx(-estimate.mean)


@pytest.mark.parametrize(
    "sums",
    [
        [0.0, 0.0, 0.0, 9.0, 3.0, 2.0],
        [4.0, 2.0, 1.0, 4.0, 2.0, 1.0],
        # Each class at one score: 0.1 and 0.7, which are no binary fractions.
        [3.0, 0.1 * 3, 0.1**2 * 3, 7.0, 0.7 * 7, 0.7**2 * 7],
    ],
    ids=["class", "equal", "constant"],
)
def test_contrast_is_undefined_without_a_class_or_where_no_score_of_a_class_differs(sums):
    assert math.isnan(CONTRAST.pooled(np.array([sums])))


def test_false_positive_objects_are_counted_by_image_and_never_fall_below_0():
    several = np.array([[4, 1], [0, 1], [2, 1], [2, 1]])
    assert FALSE_POSITIVE_OBJECTS.pooled(several) == 2.0
    none = np.array([[0, 1], [1, 1], [0, 1], [0, 1]])
    estimate = estimate_figure([several, none], FALSE_POSITIVE_OBJECTS)
    assert estimate.mean == pytest.approx(1.125)
    assert estimate.low == 0.0
    assert estimate.high > 3.0


FIGURES = st.lists(st.integers(0, 9), min_size=3, max_size=12)


@given(FIGURES, st.randoms(use_true_random=False))
def test_rank_correlation_is_spearmans(first, random):
    second = [random.randint(0, 9) for _ in first]
    ours = rank_correlation(np.array(first, float), np.array(second, float))
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


def rising(length: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(length, dtype=float), np.arange(length, dtype=float) ** 2


def test_correlation_is_the_mean_over_runs_with_an_interval_from_them():
    up, down = rising(6), (rising(6)[0], -rising(6)[1])
    mixed = estimate_correlation([up, down])
    assert mixed.mean == pytest.approx(0.0)
    assert (mixed.low, mixed.high) == (-1.0, 1.0)
    sure = estimate_correlation([up, up, up])
    assert (sure.mean, sure.high, sure.seeds) == (1.0, 1.0, 3)
    assert estimate_correlation([up]).low < sure.low < 1.0


def test_runs_that_agree_by_chance_do_not_make_few_validations_certain():
    weak = (np.arange(4.0), np.array([1.0, 2.0, 0.0, 3.0]))
    one, two, many = (estimate_correlation([weak] * runs) for runs in (1, 2, 40))
    assert one.mean == two.mean == many.mean == pytest.approx(0.4)
    assert one.low < two.low < 0.0 < many.low
    assert two.std == 0.0


def test_four_validations_in_one_order_are_no_proof_but_eight_are():
    assert estimate_correlation([rising(4)]).low < 0.0
    assert estimate_correlation([rising(8)]).low > 0.0


def test_the_interval_of_one_run_shrinks_with_its_validations():
    few, many = (estimate_correlation([rising(length)]) for length in (5, 30))
    assert few.low < many.low < 1.0
    noisy = np.array([1.0, 3, 2, 5, 4, 7, 6, 8])
    measured = estimate_correlation([(np.arange(8.0), noisy)])
    assert -1.0 < measured.low < measured.mean < measured.high < 1.0


def test_runs_with_too_few_validations_or_a_constant_figure_do_not_count():
    constant = (np.arange(6.0), np.ones(6))
    none = estimate_correlation([rising(3), constant])
    assert none.seeds == 0
    assert math.isnan(none.mean)
    assert estimate_correlation([rising(3), rising(5)]).seeds == 1


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=8), st.floats(0.1, 10.0))
def test_equal_loss_terms_have_no_spread_and_the_unit_does_not_matter(values, unit):
    assert loss_spread({"a": values, "b": values, "c": values}) == 0.0
    other = [2.0 * value for value in values]
    spread = loss_spread({"a": values, "b": other})
    assert spread == pytest.approx(2.0 / 3.0)
    scaled = loss_spread({"a": [v * unit for v in values], "b": [v * unit for v in other]})
    assert scaled == pytest.approx(spread)


def test_a_single_term_or_an_empty_log_has_no_spread_and_zeros_are_equal():
    assert math.isnan(loss_spread({"fused": [1.0]}))
    assert math.isnan(loss_spread({"position": [], "fused": []}))
    assert loss_spread({"position": [0.0], "fused": [0.0]}) == 0.0
