"""The two ways to report a model: at the best threshold of the reported images, at a fixed one.

Spec 5. The first is the protocol of the DASNet papers and optimistic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from changedet.errors import DataError
from changedet.metrics.bootstrap import bootstrap_intervals
from changedet.metrics.confusion import FIGURES, Confusion, confusion_at
from changedet.metrics.curve import average_precision, max_f1, precision_recall, roc_auc
from changedet.metrics.histogram import (
    GRID_THRESHOLDS,
    PAPER_THRESHOLDS,
    FloatArray,
    ScoreHistogram,
)
from changedet.storage.results import ByName, Figure
from changedet.types import MAX_DISTANCE

#: The note for figures on the very images that chose the threshold (spec 5).
SELECTION_SET_NOTE = "selection set, optimistic"
#: For figures on the very images the model was trained on.
TRAINING_SET_NOTE = "training set, optimistic"


@dataclass(frozen=True)
class BestThresholdMetrics:
    """The best of 96 thresholds on the very images that are reported, as in the DASNet papers.

    NaN (JSON: null) throughout if no pixel has changed.

    Attributes:
        max_f1: Highest F1 over the 96 thresholds.
        precision: Precision at that threshold.
        recall: Recall at that threshold.
        threshold: That threshold as a score; the lowest among equals.
        distance: The same as a distance.
        average_precision: Area under the precision-recall curve.
        roc_auc: Area under the ROC curve.
        images: Number of images.
    """

    max_f1: Figure
    precision: Figure
    recall: Figure
    threshold: Figure
    distance: Figure
    average_precision: Figure
    roc_auc: Figure
    images: int


@dataclass(frozen=True)
class FixedThresholdMetrics:
    """Figures at a threshold that was chosen before, on other images.

    Attributes:
        threshold: The threshold as a score.
        distance: The same as a distance.
        f1: F1 of the change class; this and the five below may be NaN, see :class:`Confusion`.
        iou: Intersection over union of the change class.
        precision: Precision of the change class.
        recall: Recall of the change class.
        overall_accuracy: Share of pixels that are right.
        kappa: Cohen's kappa.
        intervals: Bootstrap interval over images, (low, high), for each of the six figures.
        level: Share of the bootstrap inside an interval.
        average_precision: Area under the precision-recall curve.
        roc_auc: Area under the ROC curve.
        confusion: The pixel counts.
        images: Number of images.
        note: What a reader must know, such as :data:`SELECTION_SET_NOTE`.
    """

    threshold: float
    distance: float
    f1: Figure
    iou: Figure
    precision: Figure
    recall: Figure
    overall_accuracy: Figure
    kappa: Figure
    intervals: Mapping[str, tuple[Figure, Figure]]
    level: float
    average_precision: Figure
    roc_auc: Figure
    confusion: Annotated[Confusion, ByName()]
    images: int
    note: str | None = None


def best_threshold_metrics(hist: ScoreHistogram) -> BestThresholdMetrics:
    """Report max-F as the DASNet papers do: threshold and figures from the same images (spec 5).

    Raises:
        DataError: If no image was counted.
    """
    _require_images(hist)
    best = max_f1(hist, PAPER_THRESHOLDS)
    return BestThresholdMetrics(
        max_f1=best.f1,
        precision=best.precision,
        recall=best.recall,
        threshold=best.threshold,
        distance=best.threshold * MAX_DISTANCE,
        average_precision=average_precision(hist),
        roc_auc=roc_auc(hist),
        images=hist.images,
    )


def fixed_threshold_metrics(
    hist: ScoreHistogram,
    threshold: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    note: str | None = None,
) -> FixedThresholdMetrics:
    """Report the figures at a threshold that these images did not choose (spec 5).

    Args:
        hist: Counts of the images to report.
        threshold: The stored threshold, a score among the histogram's edges.
        resamples: Draws of the bootstrap.
        seed: Seed of the bootstrap.
        level: Share of the bootstrap inside an interval.
        note: :data:`SELECTION_SET_NOTE` where these images did choose it.

    Raises:
        DataError: If no image was counted.
        ConfigError: If the threshold is not an edge of the histogram.
    """
    _require_images(hist)
    confusion = confusion_at(hist, threshold)
    figures = {name: getattr(confusion, name) for name in FIGURES}
    return FixedThresholdMetrics(
        threshold=threshold,
        distance=threshold * MAX_DISTANCE,
        **figures,
        intervals=bootstrap_intervals(hist, threshold, resamples=resamples, seed=seed, level=level),
        level=level,
        average_precision=average_precision(hist),
        roc_auc=roc_auc(hist),
        confusion=confusion,
        images=hist.images,
        note=note,
    )


def choose_threshold(hist: ScoreHistogram) -> float:
    """Choose the threshold to store with a model: the best F1 over k/1024, 0 excluded.

    Where several thresholds reach the best F1, the middle of the longest run of them is taken (of
    equally long runs the lowest): it lies farthest from both sides on which F1 falls, hence other
    images, whose scores lie a little higher or lower, lose least.

    Raises:
        DataError: If no pixel has changed, so that no threshold is better than another.
    """
    if not hist.changed.any():
        raise DataError(
            f"no pixel of the {hist.images} images is labelled changed, so no threshold can be "
            "chosen; use images with changes or set a threshold"
        )
    candidates = GRID_THRESHOLDS[1:]
    return candidates[_middle_of_best(precision_recall(hist, candidates).f1)]


def choose_shared_threshold(histograms: Sequence[ScoreHistogram]) -> float:
    """Choose one threshold for several data sets: the best mean of their F1 over k/1024.

    Each set counts the same, however many images it has, and those without a changed pixel do not
    count. Of equally good thresholds one is taken as by :func:`choose_threshold`.

    Raises:
        DataError: If no set has a changed pixel.
    """
    telling = [hist for hist in histograms if hist.changed.any()]
    if not telling:
        raise DataError(
            "no pixel of any data set is labelled changed, so no threshold can be chosen; use "
            "images with changes or set a threshold"
        )
    candidates = GRID_THRESHOLDS[1:]
    curves = [precision_recall(hist, candidates).f1 for hist in telling]
    return candidates[_middle_of_best(np.mean(curves, axis=0))]


def _middle_of_best(f1: FloatArray) -> int:
    is_best = np.concatenate([[False], f1 == f1.max(), [False]])
    turns = np.flatnonzero(np.diff(is_best.astype(np.int8)))
    starts, ends = turns[::2], turns[1::2]
    longest = int(np.argmax(ends - starts))
    return int(starts[longest] + ends[longest] - 1) // 2


def _require_images(hist: ScoreHistogram) -> None:
    if not hist.images:
        raise DataError("no image was counted; is the list of pairs empty?")
