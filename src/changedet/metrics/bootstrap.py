"""Bootstrap intervals over images: how far a figure may move with another draw of images."""

from __future__ import annotations

import math

import numpy as np

from changedet.errors import ConfigError
from changedet.metrics.confusion import FIGURES, counts_at, fractions, ratio
from changedet.metrics.histogram import FloatArray, ScoreHistogram


def bootstrap_intervals(
    hist: ScoreHistogram,
    threshold: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Bound each figure at a threshold by the quantiles of its bootstrap over images.

    Images, not pixels, are drawn with replacement, since the pixels of one image depend on each
    other; the counts of a draw are pooled as for the figure itself (spec 5).

    Args:
        hist: Counts of the images.
        threshold: A score among the histogram's edges.
        resamples: Number of draws.
        seed: Seed of the draws; the same seed gives the same intervals.
        level: Share of the draws inside the interval, in (0, 1).

    Returns:
        Low and high end for each of f1, iou, precision, recall, overall_accuracy and kappa. NaN
        where fewer than two images were counted or the figure is undefined in every draw.

    Raises:
        ConfigError: If the threshold is not an edge of the histogram, ``resamples`` is not
            positive or ``level`` is outside (0, 1).
    """
    if resamples < 1 or not 0.0 < level < 1.0:
        raise ConfigError(
            f"resamples must be positive and level in (0, 1), got {resamples} and {level}"
        )
    counts = counts_at(hist, threshold).astype(np.float64)
    images = hist.images
    if images < 2:
        return dict.fromkeys(FIGURES, (math.nan, math.nan))
    draws = np.random.default_rng(seed).multinomial(
        images, np.full(images, 1.0 / images), size=resamples
    )
    pooled = draws.astype(np.float64) @ counts
    tp, fp, fn, tn = pooled.T
    return {
        name: quantile_interval(ratio(part, whole), level)
        for name, (part, whole) in fractions(tp=tp, fp=fp, fn=fn, tn=tn).items()
    }


def quantile_interval(values: FloatArray, level: float) -> tuple[float, float]:
    """Give the ends between which the middle share of a figure's draws lies.

    Args:
        values: The figure in each draw, (R,); NaN where it is undefined, which counts for nothing.
        level: Share of the draws inside the interval, in (0, 1).

    Returns:
        Low and high end, NaN if the figure is undefined in every draw.
    """
    tail = (1.0 - level) / 2.0
    defined = values[~np.isnan(values)]
    if not defined.size:
        return math.nan, math.nan
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return float(low), float(high)
