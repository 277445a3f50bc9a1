import json
import math

import numpy as np
import pytest

from changedet.errors import ConfigError, DataError
from changedet.metrics.confusion import FIGURES, confusion_at
from changedet.metrics.curve import average_precision, max_f1, roc_auc
from changedet.metrics.histogram import PAPER_THRESHOLDS
from changedet.metrics.protocol import (
    SELECTION_SET_NOTE,
    best_threshold_metrics,
    choose_threshold,
    fixed_threshold_metrics,
)
from changedet.storage.results import to_plain


def test_the_best_threshold_is_the_best_of_96(count, noisy):
    hist = count(*noisy())

    result = best_threshold_metrics(hist)

    figures = {t: confusion_at(hist, t).f1 for t in PAPER_THRESHOLDS[:91]}
    assert len(PAPER_THRESHOLDS) == 96
    assert result.max_f1 == pytest.approx(max(figures.values()))
    assert result.threshold == max(figures, key=figures.__getitem__)
    assert result.distance == 2 * result.threshold
    assert result.average_precision == average_precision(hist)
    assert result.roc_auc == roc_auc(hist)


def test_a_fixed_threshold_gives_the_figures_at_that_threshold(count, noisy):
    hist = count(*noisy(), extra_thresholds=[0.43])

    result = fixed_threshold_metrics(hist, 0.43)

    confusion = confusion_at(hist, 0.43)
    assert {name: getattr(result, name) for name in FIGURES} == {
        name: getattr(confusion, name) for name in FIGURES
    }
    assert (result.threshold, result.distance) == (0.43, 0.86)
    assert result.confusion == confusion
    assert result.note is None


def test_a_fixed_threshold_is_never_better_than_the_best_threshold_of_the_same_images(count, noisy):
    validation, test = count(*noisy(seed=1)), count(*noisy(seed=2))

    fixed = fixed_threshold_metrics(test, choose_threshold(validation))

    assert fixed.f1 <= max_f1(test).f1


def test_the_fixed_threshold_result_as_json_has_the_agreed_keys_and_intervals_as_lists(
    count, noisy
):
    result = to_plain(fixed_threshold_metrics(count(*noisy()), 0.5, note=SELECTION_SET_NOTE))

    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result) == [
        "threshold",
        "distance",
        *FIGURES,
        "intervals",
        "level",
        "average_precision",
        "roc_auc",
        "confusion",
        "images",
        "note",
    ]
    assert list(result["intervals"]) == list(FIGURES)
    low, high = result["intervals"]["f1"]
    assert low < result["f1"] < high
    assert result["note"] == "selection set, optimistic"
    assert sum(result["confusion"].values()) == 6 * 16 * 16


def test_the_best_threshold_result_as_json_has_the_agreed_keys(count, noisy):
    result = to_plain(best_threshold_metrics(count(*noisy())))

    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert {"max_f1", "precision", "recall", "threshold", "distance"} <= set(result)


@pytest.mark.parametrize("value", [0, 255])
def test_without_a_changed_pixel_both_protocols_report_null(count, value):
    hist = count(np.full((2, 2, 2), 0.2), np.full((2, 2, 2), value))

    best, fixed = (
        to_plain(best_threshold_metrics(hist)),
        to_plain(fixed_threshold_metrics(hist, 0.5)),
    )

    assert best["max_f1"] is None
    assert best["threshold"] is None
    assert fixed["f1"] is None
    assert fixed["intervals"]["f1"] == [None, None]
    assert fixed["threshold"] == 0.5


def test_the_chosen_threshold_has_the_best_f1(count, noisy):
    hist = count(*noisy())

    assert confusion_at(hist, choose_threshold(hist)).f1 == pytest.approx(max_f1(hist).f1)


def test_the_chosen_threshold_lies_in_the_middle_between_two_well_separated_classes(count):
    # Every threshold in (256, 768] / 1024 is perfect.
    hist = count([[0.25, 0.75]], [[0, 1]])

    assert choose_threshold(hist) * 1024 in (512, 513)


def test_of_two_plateaus_the_longer_one_is_chosen(count):
    # F1 is 2/3 up to 0.1 (all found, two false alarms) and in (0.5, 0.9] (one found, one missed).
    hist = count([[0.1, 0.5, 0.5, 0.9]], [[1, 0, 0, 1]])

    assert max_f1(hist).threshold == 1 / 1024
    assert choose_threshold(hist) == pytest.approx(0.7, abs=2e-3)
    assert confusion_at(hist, choose_threshold(hist)).f1 == max_f1(hist).f1


def test_threshold_zero_is_never_chosen(count):
    hist = count([[0.0, 0.0, 0.5]], [[1, 1, 1]])

    assert choose_threshold(hist) > 0.0


def test_a_perfect_score_of_one_is_reached_by_the_chosen_threshold(count):
    hist = count([[1.0, 1023.5 / 1024]], [[1, 0]])

    assert choose_threshold(hist) == 1.0


def test_no_threshold_can_be_chosen_without_a_changed_pixel(count):
    with pytest.raises(DataError, match="no pixel of the 1 images is labelled changed"):
        choose_threshold(count([[0.5]], [[0]]))


def test_no_image_is_an_error_and_not_a_figure(count):
    nothing = count([[0.5]], [[0]]).subset([])

    with pytest.raises(DataError, match="no image was counted"):
        best_threshold_metrics(nothing)
    with pytest.raises(DataError, match="no image was counted"):
        fixed_threshold_metrics(nothing, 0.5)


def test_a_threshold_that_was_not_counted_is_refused(count):
    with pytest.raises(ConfigError, match="was not counted"):
        fixed_threshold_metrics(count([[0.5]], [[0]]), 0.1111)


def test_a_single_image_has_figures_but_no_intervals(count, noisy):
    result = fixed_threshold_metrics(count(*noisy((1, 8, 8))), 0.5)

    assert 0 < result.f1 < 1
    assert math.isnan(result.intervals["f1"][0])
