"""Precision-recall curve, best F1, average precision and area under the ROC curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from changedet.metrics.confusion import ratio
from changedet.metrics.histogram import GRID_THRESHOLDS, CountArray, FloatArray, ScoreHistogram


class PrecisionRecall(NamedTuple):
    """A precision-recall curve over thresholds in rising order; each array is (T,).

    Precision is NaN where nothing is detected, recall where nothing has changed, F1 where neither.
    """

    threshold: FloatArray
    precision: FloatArray
    recall: FloatArray
    f1: FloatArray


@dataclass(frozen=True)
class BestThreshold:
    """The threshold with the highest F1; all NaN if no pixel has changed.

    Attributes:
        f1: The highest F1.
        precision: Precision there.
        recall: Recall there.
        threshold: The lowest threshold that reaches it, a score.
    """

    f1: float
    precision: float
    recall: float
    threshold: float


def precision_recall(
    hist: ScoreHistogram, thresholds: Sequence[float] = GRID_THRESHOLDS
) -> PrecisionRecall:
    """Trace precision and recall of the pooled pixels over thresholds.

    Args:
        hist: Counts of the images.
        thresholds: Scores among the histogram's edges, in rising order.

    Raises:
        ConfigError: If a threshold is not an edge of the histogram.
    """
    columns = hist.columns_of(thresholds)
    tp = _reversed_sum(hist.changed.sum(axis=0).astype(np.float64))[columns]
    fp = _reversed_sum(hist.unchanged.sum(axis=0).astype(np.float64))[columns]
    positives = np.full_like(tp, hist.changed.sum())
    return PrecisionRecall(
        threshold=np.asarray(thresholds, dtype=np.float64),
        precision=ratio(tp, tp + fp),
        recall=ratio(tp, positives),
        f1=ratio(2.0 * tp, tp + fp + positives),
    )


def max_f1(hist: ScoreHistogram, thresholds: Sequence[float] | None = None) -> BestThreshold:
    """Find the highest F1 of the pooled pixels over thresholds.

    Among equals the lowest threshold wins, as in the public code. :func:`choose_threshold` of the
    protocol has a more careful rule for a threshold that will be used on other images.

    Args:
        hist: Counts of the images.
        thresholds: Scores among the histogram's edges, in rising order; none: k/1024, 0 excluded.

    Raises:
        ConfigError: If a threshold is not an edge of the histogram.
    """
    curve = precision_recall(hist, GRID_THRESHOLDS[1:] if thresholds is None else thresholds)
    if not hist.changed.any():
        return BestThreshold(math.nan, math.nan, math.nan, math.nan)
    best = int(np.argmax(curve.f1))
    return BestThreshold(
        f1=float(curve.f1[best]),
        precision=float(curve.precision[best]),
        recall=float(curve.recall[best]),
        threshold=float(curve.threshold[best]),
    )


def average_precision(hist: ScoreHistogram) -> float:
    """Average the precision over the changed pixels, in [0, 1]; NaN if no pixel has changed.

    Scikit-learn's sum of precision times recall step, from 1024 score bins (spec 5). Where a bin
    holds one score only its pixels are tied, which is exact; where it holds several, its changed
    and unchanged pixels are taken as evenly mixed.
    """
    changed = _on_grid(hist, hist.changed)
    unchanged = _on_grid(hist, hist.unchanged)
    tied = _tied_on_grid(hist)[changed > 0]
    # Bins without a changed pixel add nothing; leaving them out also leaves out 0/0.
    tp = _reversed_sum(changed)[changed > 0]
    fp = _reversed_sum(unchanged)[changed > 0]
    unchanged, changed = unchanged[changed > 0], changed[changed > 0]
    if not changed.size:
        return math.nan
    mixed = _mixed_precision(tp - changed, fp - unchanged, changed=changed, unchanged=unchanged)
    precision = np.where(tied, tp / (tp + fp), mixed)
    return float(np.average(precision, weights=changed))


def roc_auc(hist: ScoreHistogram) -> float:
    """Return the chance that a changed pixel outscores an unchanged one, ties counting half.

    The area under the ROC curve, in [0, 1], from 1024 score bins (spec 5); NaN if there are no
    changed or no unchanged pixels.
    """
    changed = _on_grid(hist, hist.changed)
    unchanged = _on_grid(hist, hist.unchanged)
    pairs = changed.sum() * unchanged.sum()
    if not pairs:
        return math.nan
    outscored = np.cumsum(unchanged) - unchanged / 2.0
    return float(np.sum(changed * outscored) / pairs)


def _mixed_precision(
    tp_above: FloatArray, fp_above: FloatArray, *, changed: FloatArray, unchanged: FloatArray
) -> FloatArray:
    """Average the precision at the changed pixels of a bin whose pixels come in random order.

    At the i-th of c changed pixels, i unchanged of u/(c+1) each have been met on average; the sum
    over i is taken as the integral from 1/2 to c + 1/2.
    """
    detected = tp_above + fp_above
    step = 1.0 + unchanged / (changed + 1.0)
    log = np.log1p(step * changed / (detected + step / 2.0))
    return (changed / step + (tp_above - detected / step) / step * log) / changed


def _on_grid(hist: ScoreHistogram, counts: CountArray) -> FloatArray:
    """Pool the images and bins between the multiples of 1/1024, (N, E) -> (1025,).

    Extra edges are pooled away, so that asking for a threshold changes no other figure.
    """
    pooled = np.add.reduceat(counts.sum(axis=0), hist.columns_of(GRID_THRESHOLDS))
    return pooled.astype(np.float64)


def _tied_on_grid(hist: ScoreHistogram) -> NDArray[np.bool_]:
    columns = hist.columns_of(GRID_THRESHOLDS)
    if hist.lowest is None or hist.highest is None:
        return np.ones(columns.shape, dtype=np.bool_)
    lowest = np.minimum.reduceat(hist.lowest, columns)
    return lowest >= np.maximum.reduceat(hist.highest, columns)


def _reversed_sum(values: FloatArray) -> FloatArray:
    return np.cumsum(values[::-1])[::-1]
