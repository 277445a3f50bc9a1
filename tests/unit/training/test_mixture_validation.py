"""A threshold for each kind of change, F1 for each data set."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from changedet.errors import DataError
from changedet.metrics.calibration import fit_temperature, recalibrated
from changedet.metrics.confusion import confusion_at
from changedet.metrics.counter import ScoreCounter
from changedet.metrics.protocol import choose_shared_threshold, choose_threshold
from changedet.training.mixture_validation import judge_sets


def counted(scores, labels):
    counter = ScoreCounter()
    score = np.array([scores], np.float32)
    counter.update(torch.from_numpy(score[None]), torch.tensor([[labels]], dtype=torch.uint8))
    return counter.compute()


# Separated at 0.3, at 0.7, and not at all.
LOW = counted([0.1, 0.2, 0.4, 0.5], [0, 0, 1, 1])
HIGH = counted([0.1, 0.6, 0.8, 0.9], [0, 0, 1, 1])
EMPTY = counted([0.1, 0.9], [0, 0])


def member(name, kind):
    return SimpleNamespace(name=name, kind=kind)


def settings(*kinds, select_by="mean"):
    model = SimpleNamespace(options=lambda: {"kinds": kinds})
    return SimpleNamespace(
        model=model,
        training=SimpleNamespace(select_by=select_by),
        data=SimpleNamespace(val_split="val"),
    )


def test_each_kind_has_the_threshold_of_its_own_sets():
    found = judge_sets(
        {"a": LOW, "b": HIGH},
        [member("a", "any"), member("b", "building")],
        settings("any", "building", "cropland"),
    )
    by_name = {kind.name: kind.threshold for kind in found.kinds}
    for kind, histogram in zip(found.kinds, (LOW, HIGH), strict=False):
        assert kind.temperature == pytest.approx(fit_temperature([histogram]))
        calibrated = recalibrated(histogram, kind.temperature)
        assert kind.threshold == choose_threshold(calibrated)
    assert by_name["cropland"] is None
    assert [one.f1 for one in found.sets] == [1.0, 1.0]
    assert found.f_score == 1.0
    assert found.threshold == by_name["any"]


def test_sets_of_one_kind_share_a_threshold_and_the_worst_may_choose():
    sets = {"a": LOW, "b": HIGH}
    members = [member("a", "any"), member("b", "any")]
    mean = judge_sets(sets, members, settings("any"))
    worst = judge_sets(sets, members, settings("any", select_by="worst"))
    kind = mean.kinds[0]
    assert kind.temperature == pytest.approx(fit_temperature([LOW, HIGH]))
    calibrated = [recalibrated(hist, kind.temperature) for hist in (LOW, HIGH)]
    f1 = [confusion_at(hist, kind.threshold).f1 for hist in calibrated]
    assert [one.f1 for one in mean.sets] == f1
    assert [one.best_f1 for one in mean.sets] == [1.0, 1.0]
    assert mean.f_score == pytest.approx(sum(f1) / 2)
    assert worst.f_score == min(f1) < mean.f_score
    every = np.arange(1, 1024) / 1024
    best = max(sum(confusion_at(hist, float(t)).f1 for hist in calibrated) / 2 for t in every)
    assert mean.f_score == pytest.approx(best)


def test_each_set_counts_the_same_however_many_pixels_it_has():
    many = counted([0.1, 0.2, 0.4, 0.5] * 50, [0, 0, 1, 1] * 50)
    assert choose_shared_threshold([many, HIGH]) == choose_shared_threshold([LOW, HIGH])


def test_a_set_without_changes_is_left_out_of_the_mean():
    found = judge_sets(
        {"a": LOW, "b": EMPTY}, [member("a", "any"), member("b", "any")], settings("any")
    )
    assert found.f_score == 1.0
    assert math.isnan(found.sets[1].f1)


def test_no_changes_at_all_are_told():
    with pytest.raises(DataError, match="no validation pair of any set has a changed pixel"):
        judge_sets({"a": EMPTY}, [member("a", "any")], settings("any"))
    with pytest.raises(DataError, match="no pixel of any data set"):
        choose_shared_threshold([EMPTY])
