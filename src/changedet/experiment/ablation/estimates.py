"""Figures of an ablation with their uncertainty: over images, over seeds, over validations.

Pure arithmetic. Counts of a run are (N, 3): hits, false alarms and misses of N images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, t

from changedet.metrics.bootstrap import quantile_interval
from changedet.metrics.json_values import JsonValue, to_json_value

Counts: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]

LEVEL = 0.95
_RESAMPLES = 2000
_TAIL = (1.0 - LEVEL) / 2.0
#: Fewest validations over which two figures can be said to rise together.
_FEWEST_VALIDATIONS = 4


@dataclass(frozen=True)
class Estimate:
    """A figure and how far it may move with other images and other seeds.

    Attributes:
        mean: Mean over the seeds; NaN if it is undefined.
        std: Standard deviation over the seeds; None with one seed.
        low: Lower end of the interval; NaN if there is none.
        high: Upper end.
        seeds: Number of seeds, the smaller number where two rows are compared.
    """

    mean: float
    std: float | None
    low: float
    high: float
    seeds: int

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the figures as plain JSON types, undefined ones as null."""
        return {name: to_json_value(value) for name, value in asdict(self).items()}


def pooled_f1(counts: Counts) -> float:
    """F1 of the pooled counts, in [0, 1]; NaN where nothing has changed and nothing was found."""
    return float(_f1(counts.sum(axis=0).astype(np.float64)))


def estimate_f1(runs: Sequence[Counts]) -> Estimate:
    """Estimate the F1 of a row from its runs, one a seed, on the same images.

    The interval adds up two independent sources in quadrature: the bootstrap over images of the
    mean over seeds, and, from two seeds on, Student's interval of that mean over seeds.

    Args:
        runs: Counts of each seed's run, all (N, 3).
    """
    f1 = np.array([pooled_f1(counts) for counts in runs])
    draws = _draws(len(runs[0]))
    spread = np.mean([_f1(draws @ counts) for counts in runs], axis=0)
    std = float(f1.std(ddof=1)) if len(f1) > 1 else None
    over_seeds = 0.0 if std is None else _student(len(f1) - 1) * std / math.sqrt(len(f1))
    low, high = _joined(float(f1.mean()), spread, over_seeds)
    # Few seeds make the interval wide, but no F1 lies outside of [0, 1]; NaN stays NaN.
    low, high = (float(np.clip(end, 0.0, 1.0)) for end in (low, high))
    return Estimate(float(f1.mean()), std, low, high, len(f1))


def estimate_difference(runs: Sequence[Counts], against: Sequence[Counts]) -> Estimate:
    """Estimate how much the F1 of one row lies above another's, on the same images.

    As :func:`estimate_f1`, the images drawn alike for both rows (a paired bootstrap), and the seeds
    of the two rows taken as independent (Welch), since a seed means something else to another
    network. With one seed in either row the interval covers the images alone.

    Args:
        runs: Counts of the row's runs, all (N, 3).
        against: Counts of the other row's runs, all (N, 3).
    """
    draws = _draws(len(runs[0]))
    spread = np.mean([_f1(draws @ counts) for counts in runs], axis=0)
    spread = spread - np.mean([_f1(draws @ counts) for counts in against], axis=0)
    ours, theirs = (np.array([pooled_f1(c) for c in side]) for side in (runs, against))
    mean = float(ours.mean() - theirs.mean())
    std, over_seeds = _welch(ours, theirs)
    low, high = _joined(mean, spread, over_seeds)
    return Estimate(mean, std, low, high, min(len(ours), len(theirs)))


def estimate_correlation(validations: Sequence[tuple[FloatArray, FloatArray]]) -> Estimate:
    """Estimate the rank correlation of two figures within runs.

    Mean over the runs of Spearman's coefficient over the validations of a run; Student's interval
    over the runs, or, with one run, the one of Fisher's transformation.

    Args:
        validations: For each run the two figures, (V,) each. Runs with fewer than four validations
            or with a figure that never moves do not count.
    """
    usable = [
        (rho, len(first))
        for first, second in validations
        if len(first) >= _FEWEST_VALIDATIONS
        and not math.isnan(rho := rank_correlation(first, second))
    ]
    if not usable:
        return Estimate(math.nan, None, math.nan, math.nan, 0)
    rhos = np.array([rho for rho, _ in usable])
    mean = float(rhos.mean())
    if len(rhos) > 1:
        std = float(rhos.std(ddof=1))
        half = _student(len(rhos) - 1) * std / math.sqrt(len(rhos))
        return Estimate(mean, std, max(-1.0, mean - half), min(1.0, mean + half), len(rhos))
    low, high = _fisher_interval(mean, usable[0][1])
    return Estimate(mean, None, low, high, 1)


def rank_correlation(first: FloatArray, second: FloatArray) -> float:
    """Spearman's rank correlation, in [-1, 1]; NaN where a figure never moves."""
    if len(first) < 2 or np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return math.nan
    # Rounding may carry a perfect correlation past 1.
    rho = np.corrcoef(rankdata(first), rankdata(second))[0, 1]
    return float(np.clip(rho, -1.0, 1.0))


def loss_spread(terms: Mapping[str, Sequence[float]]) -> float:
    """Say how far the loss terms of a run lie apart.

    The median, over the rows of the log, of the largest minus the smallest term, divided by their
    mean. 0: they are equal throughout.

    Args:
        terms: Values of each term, row by row, all equally many.

    Returns:
        At least 0; NaN with fewer than two terms or without a row.
    """
    values = np.array(list(terms.values()), dtype=np.float64)
    if len(values) < 2 or values.size == 0:
        return math.nan
    mean = values.mean(axis=0)
    apart = np.ptp(values, axis=0)
    return float(np.median(np.divide(apart, mean, out=np.zeros_like(mean), where=mean > 0.0)))


def _draws(images: int) -> FloatArray:
    """Draw the images with replacement, the same draws each time: (R, N) times drawn."""
    weights = np.full(images, 1.0 / images)
    return np.random.default_rng(0).multinomial(images, weights, size=_RESAMPLES).astype(np.float64)


def _f1(counts: FloatArray) -> FloatArray:
    """F1 of (..., 3) pooled counts."""
    hits, false_alarms, misses = np.moveaxis(counts, -1, 0)
    whole = np.asarray(2.0 * hits + false_alarms + misses)
    f1: FloatArray = np.divide(2.0 * hits, whole, out=np.full_like(whole, np.nan), where=whole > 0)
    return f1


def _welch(ours: FloatArray, theirs: FloatArray) -> tuple[float | None, float]:
    """Standard deviation and half Student's interval of the difference of two means over seeds."""
    if min(len(ours), len(theirs)) < 2:
        return None, 0.0
    variances = [float(side.var(ddof=1)) / len(side) for side in (ours, theirs)]
    std = math.sqrt(float(ours.var(ddof=1)) + float(theirs.var(ddof=1)))
    total = sum(variances)
    if total == 0.0:
        return std, 0.0
    freedom = total**2 / sum(
        v**2 / (len(side) - 1) for v, side in zip(variances, (ours, theirs), strict=True)
    )
    return std, _student(freedom) * math.sqrt(total)


def _student(freedom: float) -> float:
    return float(t.ppf(1.0 - _TAIL, freedom))


def _joined(mean: float, spread: FloatArray, over_seeds: float) -> tuple[float, float]:
    """Add the bootstrap's and the seeds' distances from the mean in quadrature, side by side."""
    low, high = quantile_interval(spread, LEVEL)
    if math.isnan(low) or math.isnan(mean):
        return math.nan, math.nan
    below = math.hypot(max(0.0, mean - low), over_seeds)
    above = math.hypot(max(0.0, high - mean), over_seeds)
    return mean - below, mean + above


def _fisher_interval(rho: float, validations: int) -> tuple[float, float]:
    # Fieller, Hartley & Pearson 1957: the variance of the transformed rank correlation.
    half = 1.959964 * math.sqrt(1.06 / (validations - 3))
    middle = math.atanh(min(max(rho, -0.999999), 0.999999))
    return math.tanh(middle - half), math.tanh(middle + half)
