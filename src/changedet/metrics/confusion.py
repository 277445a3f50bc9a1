"""The confusion matrix of the change class at one threshold, and its figures."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import numpy as np

from changedet.metrics.histogram import CountArray, FloatArray, ScoreHistogram

#: The figures of a confusion matrix, in the order in which they are reported (spec 5).
FIGURES = ("f1", "iou", "precision", "recall", "overall_accuracy", "kappa")

_Count = TypeVar("_Count", int, FloatArray)


class Confusion(NamedTuple):
    """Pixel counts of the change class: hits, false alarms, misses, correct rejections.

    A figure whose denominator is zero is undefined and NaN, never 0 or 1: precision
    without a detected pixel, recall without a changed pixel, F1 and IoU without either, kappa
    where label and detection are the same single class throughout.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]."""
        return self._figure("f1")

    @property
    def iou(self) -> float:
        """Intersection over union of detected and labelled change, in [0, 1]."""
        return self._figure("iou")

    @property
    def precision(self) -> float:
        """Share of the detected pixels that have changed, in [0, 1]."""
        return self._figure("precision")

    @property
    def recall(self) -> float:
        """Share of the changed pixels that are detected, in [0, 1]."""
        return self._figure("recall")

    @property
    def overall_accuracy(self) -> float:
        """Share of all pixels that are right, in [0, 1]."""
        return self._figure("overall_accuracy")

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond chance, in [-1, 1]."""
        return self._figure("kappa")

    def _figure(self, name: str) -> float:
        part, whole = fractions(tp=self.tp, fp=self.fp, fn=self.fn, tn=self.tn)[name]
        return part / whole if whole else math.nan


def confusion_at(hist: ScoreHistogram, threshold: float) -> Confusion:
    """Pool the pixels of all images; changed where score >= threshold (spec 5).

    Raises:
        ConfigError: If the threshold is not an edge of the histogram.
    """
    return Confusion(*counts_at(hist, threshold).sum(axis=0).tolist())


def per_image(hist: ScoreHistogram, threshold: float) -> list[Confusion]:
    """Return the confusion of every image, in the order in which they were counted.

    Raises:
        ConfigError: If the threshold is not an edge of the histogram.
    """
    return [Confusion(*row) for row in counts_at(hist, threshold).tolist()]


def counts_at(hist: ScoreHistogram, threshold: float) -> CountArray:
    """Return tp, fp, fn and tn of every image, (N, 4).

    Raises:
        ConfigError: If the threshold is not an edge of the histogram.
    """
    column = int(hist.columns_of([threshold])[0])
    tp = hist.changed[:, column:].sum(axis=1)
    fp = hist.unchanged[:, column:].sum(axis=1)
    fn = hist.changed[:, :column].sum(axis=1)
    tn = hist.unchanged[:, :column].sum(axis=1)
    return np.stack([tp, fp, fn, tn], axis=1)


def fractions(
    *, tp: _Count, fp: _Count, fn: _Count, tn: _Count
) -> dict[str, tuple[_Count, _Count]]:
    """Write every figure of FIGURES as numerator and denominator, of whole numbers or of arrays."""
    # Kappa: (observed - chance) / (1 - chance), multiplied out for two classes.
    chance = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    return {
        "f1": (2 * tp, 2 * tp + fp + fn),
        "iou": (tp, tp + fp + fn),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "overall_accuracy": (tp + tn, tp + fp + fn + tn),
        "kappa": (2 * (tp * tn - fp * fn), chance),
    }


def ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Divide element by element; NaN where the denominator is zero."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
