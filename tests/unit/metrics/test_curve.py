import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from changedet.errors import ConfigError
from changedet.metrics.curve import average_precision, max_f1, precision_recall, roc_auc
from changedet.metrics.histogram import PAPER_THRESHOLDS, ScoreHistogram
from changedet.storage.results import to_plain


def beta_scores(shapes, *, share, seed=0, pixels=40_000):
    """Draw labels and scores; shapes are the beta shapes of unchanged and changed pixels."""
    rng = np.random.default_rng(seed)
    label = (rng.random((1, 200, pixels // 200)) < share).astype(np.uint8)
    unchanged, changed = shapes
    score = np.where(label, rng.beta(*changed, label.shape), rng.beta(*unchanged, label.shape))
    return score.astype(np.float32), label


@pytest.mark.parametrize("share", [0.5, 0.147, 0.02])
@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 8), (8, 2)),
        ((2, 4), (4, 2)),
        ((1, 50), (2, 10)),
        # Everything within a few bins, as an untrained cosine model scores.
        ((5, 200), (5, 100)),
    ],
)
def test_average_precision_and_roc_area_are_within_a_thousandth_of_scikit_learn(
    count, shapes, share
):
    score, label = beta_scores(shapes, share=share)
    hist = count(score, label)

    expected = average_precision_score(label.ravel(), score.ravel())
    assert average_precision(hist) == pytest.approx(expected, abs=1e-3)
    assert roc_auc(hist) == pytest.approx(roc_auc_score(label.ravel(), score.ravel()), abs=1e-3)


@pytest.mark.parametrize("levels", [2, 20, 255, 1024])
def test_tied_scores_are_exact(count, levels):
    score, label = beta_scores(((2, 4), (4, 2)), share=0.2)
    score = (np.rint(score * levels) / levels).astype(np.float32)
    hist = count(score, label)

    expected = average_precision_score(label.ravel(), score.ravel())
    assert average_precision(hist) == pytest.approx(expected, abs=1e-12)
    assert roc_auc(hist) == pytest.approx(roc_auc_score(label.ravel(), score.ravel()), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 0.95))
def test_areas_lie_between_zero_and_one_and_follow_scikit_learn_on_few_pixels(seed, share):
    rng = np.random.default_rng(seed)
    label = rng.random(30) < share
    label[:2] = [True, False]
    score = rng.choice(1024, size=30, replace=False)
    edges = (np.arange(1025) / 1024).astype(np.float32)
    hist = ScoreHistogram(
        edges,
        unchanged=np.bincount(score[~label], minlength=1025)[None],
        changed=np.bincount(score[label], minlength=1025)[None],
    )

    assert average_precision(hist) == pytest.approx(average_precision_score(label, score))
    assert roc_auc(hist) == pytest.approx(roc_auc_score(label, score))


def test_the_areas_do_not_depend_on_the_extra_thresholds(count, noisy):
    score, label = noisy()
    plain, extra = count(score, label), count(score, label, extra_thresholds=[0.3333, 0.5001])

    assert average_precision(plain) == average_precision(extra)
    assert roc_auc(plain) == roc_auc(extra)


def test_a_perfect_and_a_reversed_score_give_the_ends(count):
    label = np.array([[0, 0, 1, 1]])
    perfect, reversed_ = count(label * 0.5 + 0.2, label), count(0.7 - label * 0.5, label)

    assert (average_precision(perfect), roc_auc(perfect)) == (1.0, 1.0)
    assert roc_auc(reversed_) == 0.0
    assert average_precision(reversed_) == pytest.approx(0.5)


def test_constant_scores_say_nothing(count):
    hist = count(np.full((4, 4), 0.3), np.arange(16).reshape(4, 4) % 4 == 0)

    assert roc_auc(hist) == 0.5
    assert average_precision(hist) == pytest.approx(0.25)
    assert max_f1(hist).f1 == pytest.approx(0.4)


@pytest.mark.parametrize("value", [0, 255])
def test_without_a_changed_pixel_everything_is_undefined(count, value):
    hist = count([[0.2, 0.8]], [[value, value]])

    assert math.isnan(average_precision(hist))
    assert math.isnan(roc_auc(hist))
    assert all(math.isnan(v) for v in (max_f1(hist).f1, max_f1(hist).threshold))
    assert set(to_plain(max_f1(hist)).values()) == {None}


def test_with_changed_pixels_only_the_roc_area_is_undefined(count):
    hist = count([[0.2, 0.8]], [[1, 1]])

    assert math.isnan(roc_auc(hist))
    assert average_precision(hist) == 1.0
    assert max_f1(hist).f1 == 1.0


def test_the_curve_runs_from_everything_found_to_nothing_found(count, noisy):
    curve = precision_recall(count(*noisy()), PAPER_THRESHOLDS)

    assert curve.recall[0] == 1.0
    assert curve.recall[-1] == 0.0
    assert math.isnan(curve.precision[-1])
    assert (np.diff(curve.recall) <= 0).all()


def test_the_best_f1_is_that_of_trying_every_threshold(count, noisy):
    score, label = noisy()

    best = max_f1(count(score, label))

    tried = [f1_score(label.ravel(), score.ravel() >= k / 1024) for k in range(300, 700)]
    assert best.f1 == pytest.approx(max(tried), abs=1e-12)
    assert best.threshold == (300 + int(np.argmax(tried))) / 1024


def test_among_equals_the_lowest_threshold_wins(count):
    hist = count([[0.25, 0.75]], [[0, 1]])

    assert max_f1(hist, [0.5, 0.625, 0.75]).threshold == 0.5


def test_precision_and_recall_belong_to_the_best_threshold(count):
    best = max_f1(count([[0.2, 0.6, 0.7, 0.8]], [[0, 1, 0, 1]]), [0.25, 0.75])

    assert to_plain(best) == {
        "f1": pytest.approx(0.8),
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "threshold": 0.25,
    }
    assert json.dumps(to_plain(best), allow_nan=False)


def test_a_threshold_that_was_not_counted_is_refused(count):
    with pytest.raises(ConfigError, match="was not counted"):
        max_f1(count([[0.5]], [[1]]), [0.111])
