import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from changedet.errors import ConfigError, DataError
from changedet.metrics.calibration import (
    RELIABILITY_BINS,
    TEMPERATURES,
    at_temperature,
    fit_temperature,
    measure_calibration,
    recalibrated,
)
from changedet.metrics.confusion import confusion_at
from changedet.metrics.curve import average_precision
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.protocol import choose_threshold
from changedet.storage.results import to_plain


def sure_scores(*, temperature, seed=0, pixels=200_000, centre=-2.0, spread=1.5):
    """Draw labels from true probabilities, and scores whose logits are too large by a factor."""
    rng = np.random.default_rng(seed)
    true = rng.normal(centre, spread, (2, 100, pixels // 200))
    label = (rng.random(true.shape) < expit(true)).astype(np.uint8)
    return expit(true * temperature).astype(np.float32), label


def plain_error(score, label):
    """The definition, pixel by pixel."""
    score, label = score.ravel().astype(np.float64), label.ravel()
    number = np.minimum((score * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    return sum(
        abs(score[number == one].sum() - label[number == one].sum()) / score.size
        for one in range(RELIABILITY_BINS)
    )


def test_the_error_is_that_of_the_definition(count, noisy):
    score, label = noisy((6, 64, 64))
    found = measure_calibration(count(score, label))

    assert found.expected_calibration_error == pytest.approx(plain_error(score, label), abs=1e-3)
    assert found.mean_score == pytest.approx(float(score.mean()), abs=1e-3)
    assert found.changed_share == pytest.approx(float(label.mean()))
    assert sum(entry.pixels for entry in found.bins) == label.size
    assert found.bins[7].low == pytest.approx(7 / 15)


def test_probabilities_have_no_error_and_sure_scores_have(count):
    right = measure_calibration(count(*sure_scores(temperature=1.0)))
    wrong = measure_calibration(count(*sure_scores(temperature=4.0)))

    assert right.expected_calibration_error < 0.005
    assert wrong.expected_calibration_error > 0.03


def test_a_constant_score_is_off_by_its_distance_from_the_share(count):
    label = np.arange(100).reshape(10, 10) < 20
    found = measure_calibration(count(np.full((10, 10), 0.7), label))

    assert found.expected_calibration_error == pytest.approx(0.5, abs=1e-6)
    assert (found.mean_score, found.changed_share) == (pytest.approx(0.7), 0.2)


def test_without_a_pixel_nothing_is_known_of_the_scores(count):
    found = to_plain(measure_calibration(count([[0.5]], [[255]])))

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["expected_calibration_error"] is None
    assert {entry["mean_score"] for entry in found["bins"]} == {None}


@pytest.mark.parametrize("temperature", [0.4, 1.0, 1.7, 4.0])
def test_the_temperature_of_scores_is_found(count, temperature):
    # At the highest one, most pixels lie in the first of 1024 bins.
    assert fit_temperature([count(*sure_scores(temperature=temperature))]) == pytest.approx(
        temperature, rel=0.02
    )


def test_the_fit_minimises_the_likelihood_of_the_pixels(count):
    score, label = sure_scores(temperature=2.5, pixels=20_000)
    logits = logit(score.astype(np.float64).clip(1e-7, 1 - 1e-7)).ravel()

    def loss(temperature):
        return np.logaddexp(0.0, -np.where(label.ravel() == 1, 1, -1) * logits / temperature).mean()

    best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded").x
    assert fit_temperature([count(score, label)]) == pytest.approx(best, rel=5e-3)


def test_each_set_counts_alike_however_large_it_is(count):
    small = count(*sure_scores(temperature=1.0, pixels=20_000))
    large = count(*sure_scores(temperature=4.0, pixels=400_000, seed=1))
    twice = small.merge(small)

    both = fit_temperature([small, large])

    assert both == pytest.approx(fit_temperature([twice, large]), rel=1e-6)
    assert fit_temperature([small]) < both < fit_temperature([large])
    assert both < fit_temperature([small.merge(large)]) - 0.2


def test_a_set_without_a_pixel_or_without_change_does_not_stop_the_fit(count):
    some = count(*sure_scores(temperature=2.0))
    nothing = count([[0.5]], [[255]])

    assert fit_temperature([some, nothing]) == fit_temperature([some])
    assert fit_temperature([some, count([[1e-4, 1e-5]], [[0, 0]])]) < fit_temperature([some])


def test_scores_that_say_the_opposite_or_never_err_reach_the_ends(count):
    assert fit_temperature([count([[0.9, 0.1]], [[0, 1]])]) == TEMPERATURES[1]
    assert fit_temperature([count([[0.4, 0.6]], [[0, 1]])]) == TEMPERATURES[0]


@pytest.mark.parametrize("value", [0, 1, 255])
def test_one_class_has_no_temperature(count, value):
    with pytest.raises(DataError, match="have changed and pixels that have not"):
        fit_temperature([count([[0.5, 0.2]], [[value, value]])])


def test_no_set_has_no_temperature():
    with pytest.raises(DataError, match="a temperature needs pixels"):
        fit_temperature([])


def test_the_temperature_makes_scores_probabilities(count):
    hist = count(*sure_scores(temperature=4.0))

    better = recalibrated(hist, fit_temperature([hist]))

    before, after = measure_calibration(hist), measure_calibration(better)
    assert after.expected_calibration_error < 0.1 * before.expected_calibration_error
    assert after.mean_score == pytest.approx(after.changed_share, abs=2e-3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_counts_at_a_temperature_are_those_of_scores_at_it(count, temperature):
    score, label = sure_scores(temperature=2.0, pixels=20_000)
    moved = expit(logit(score.astype(np.float64)) / temperature).astype(np.float32)
    found, expected = recalibrated(count(score, label), temperature), count(moved, label)

    assert found.changed.sum(axis=1).tolist() == expected.changed.sum(axis=1).tolist()
    assert found.unchanged.sum(axis=1).tolist() == expected.unchanged.sum(axis=1).tolist()
    assert confusion_at(found, 0.5) == confusion_at(expected, 0.5)
    assert confusion_at(found, 0.25).f1 == pytest.approx(confusion_at(expected, 0.25).f1, abs=2e-3)
    assert average_precision(found) == pytest.approx(average_precision(expected), abs=2e-3)


def test_a_temperature_of_one_moves_no_pixel(count):
    score, label = sure_scores(temperature=3.0, pixels=20_000)
    score[0, 0, :2], label[0, 0, :2] = [0.0, 1.0], [0, 1]
    hist = count(score, label)

    same = recalibrated(hist, 1.0)

    assert np.array_equal(same.changed, hist.changed)
    assert np.array_equal(same.unchanged, hist.unchanged)


def test_a_threshold_at_a_temperature_detects_the_same_pixels(count):
    score, label = sure_scores(temperature=4.0, pixels=20_000)
    threshold = choose_threshold(count(score, label))

    moved = at_temperature(threshold, 4.0)

    tempered = expit(logit(score.astype(np.float64)) / 4.0)
    assert np.array_equal(tempered >= moved, score >= np.float32(threshold))
    assert at_temperature(0.0, 4.0) == 0.0
    assert at_temperature(1.0, 4.0) == 1.0
    assert at_temperature(0.5, 4.0) == 0.5


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_is_a_positive_number(count, temperature):
    with pytest.raises(ConfigError, match="positive number"):
        at_temperature(0.4, temperature)
    with pytest.raises(ConfigError, match="positive number"):
        recalibrated(count([[0.5]], [[1]]), temperature)


def test_histograms_of_fewer_columns_can_be_fitted(count):
    edges = (np.arange(1025) / 1024).astype(np.float32)
    score, label = sure_scores(temperature=2.0, spread=1.0, centre=0.0)
    changed, unchanged = (
        np.histogram(score[label == value], bins=[*edges, 2.0])[0][None] for value in (1, 0)
    )

    found = fit_temperature([ScoreHistogram(edges, unchanged=unchanged, changed=changed)])

    assert found == pytest.approx(2.0, rel=0.02)
