import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from changedet.metrics.confusion import FIGURES, Confusion, confusion_at, per_image

SKLEARN = {
    "f1": sklearn_metrics.f1_score,
    "iou": sklearn_metrics.jaccard_score,
    "precision": sklearn_metrics.precision_score,
    "recall": sklearn_metrics.recall_score,
    "overall_accuracy": sklearn_metrics.accuracy_score,
    "kappa": sklearn_metrics.cohen_kappa_score,
}


@pytest.mark.parametrize("threshold", [0.25, 0.4375, 0.5, 0.61])
def test_figures_at_a_threshold_are_those_of_scikit_learn(count, noisy, threshold):
    score, label = noisy()
    label[0, :4] = 255

    confusion = confusion_at(count(score, label, extra_thresholds=[threshold]), threshold)

    counted = label != 255
    truth, found = label[counted], score[counted] >= np.float32(threshold)
    for name, figure in SKLEARN.items():
        assert getattr(confusion, name) == pytest.approx(figure(truth, found), abs=1e-12), name


def test_counts_are_pooled_over_the_images(count, noisy):
    hist = count(*noisy())

    pooled = confusion_at(hist, 0.5)
    each = per_image(hist, 0.5)

    assert len(each) == 6
    assert pooled == Confusion(*(sum(column) for column in zip(*each, strict=True)))
    assert pooled.f1 != pytest.approx(np.mean([c.f1 for c in each]), abs=1e-6)


def test_hits_and_faults_are_told_apart(count):
    score = [[0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.9]]
    label = [[1, 1, 0, 1, 0, 0, 255]]

    assert confusion_at(count(score, label), 0.5) == Confusion(tp=2, fp=1, fn=1, tn=2)


def test_without_any_change_or_detection_the_figures_of_the_change_class_are_undefined(count):
    confusion = confusion_at(count([[0.1, 0.2]], [[0, 0]]), 0.5)

    undefined = [name for name in FIGURES if math.isnan(getattr(confusion, name))]

    assert undefined == ["f1", "iou", "precision", "recall", "kappa"]
    assert confusion.overall_accuracy == 1.0


def test_false_alarms_without_any_change_give_zero_f1_and_undefined_recall(count):
    confusion = confusion_at(count([[0.9, 0.2]], [[0, 0]]), 0.5)

    assert confusion.f1 == confusion.iou == confusion.precision == 0.0
    assert math.isnan(confusion.recall)


def test_all_changed_and_all_found_is_perfect_with_undefined_kappa(count):
    confusion = confusion_at(count([[1.0, 0.5]], [[1, 1]]), 0.5)

    assert confusion.f1 == confusion.iou == confusion.precision == confusion.recall == 1.0
    assert math.isnan(confusion.kappa)


def test_an_ignored_image_leaves_everything_undefined(count):
    confusion = confusion_at(count([[0.7]], [[255]]), 0.5)

    assert confusion == Confusion(0, 0, 0, 0)
    assert all(math.isnan(getattr(confusion, name)) for name in FIGURES)


def test_kappa_of_huge_counts_does_not_overflow():
    confusion = Confusion(tp=10**10, fp=10**9, fn=10**9, tn=10**11)
    small = Confusion(tp=10, fp=1, fn=1, tn=100)

    assert confusion.kappa == pytest.approx(small.kappa)


def test_without_change_all_but_the_accuracy_is_undefined():
    confusion = Confusion(tp=0, fp=0, fn=0, tn=4)

    assert confusion.overall_accuracy == 1.0
    undefined = [name for name in FIGURES if math.isnan(getattr(confusion, name))]
    assert undefined == ["f1", "iou", "precision", "recall", "kappa"]
