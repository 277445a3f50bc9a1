"""Figures of an ablation with their uncertainty: over images, over seeds, over validations.

Pure arithmetic. A run is given as sums of each of N images, (N, K), and a figure is computed from
the sums over images, drawn with replacement: :data:`F1`, :data:`FALSE_POSITIVE_OBJECTS`,
:data:`CONTRAST`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, t

from changedet.metrics.bootstrap import quantile_interval
from changedet.storage.results import Figure as Number

Counts: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]
#: Sums of each image, (N, K), whole numbers or not.
Sums: TypeAlias = NDArray[np.int64] | NDArray[np.float64]

LEVEL = 0.95
_RESAMPLES = 2000
#: Variances up to this share of the squared means are rounding errors.
_ROUNDING = 1e-9
_TAIL = (1.0 - LEVEL) / 2.0
#: Fewest validations over which two figures can be said to rise together.
_FEWEST_VALIDATIONS = 4


@dataclass(frozen=True)
class Figure:
    """A figure of images pooled.

    Attributes:
        compute: From sums over images, (..., K), to the figure, (...); NaN where it is undefined.
        lowest: It cannot lie below.
        highest: It cannot lie above.
    """

    compute: Callable[[FloatArray], FloatArray]
    lowest: float = -math.inf
    highest: float = math.inf

    def pooled(self, sums: Sums) -> float:
        """Compute it for all images together, from their sums, (N, K)."""
        return float(self.compute(sums.sum(axis=0).astype(np.float64)))


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

    mean: Number
    std: float | None
    low: Number
    high: Number
    seeds: int


def _f1(sums: FloatArray) -> FloatArray:
    hits, false_alarms, misses = np.moveaxis(sums, -1, 0)
    return _ratio(2.0 * hits, 2.0 * hits + false_alarms + misses)


def _per_image(sums: FloatArray) -> FloatArray:
    number, images = np.moveaxis(sums, -1, 0)
    return _ratio(number, images)


def _contrast(sums: FloatArray) -> FloatArray:
    changed, score, square, unchanged, other_score, other_square = np.moveaxis(sums, -1, 0)
    mean, other_mean = _ratio(score, changed), _ratio(other_score, unchanged)
    variances = _ratio(square, changed) - mean**2, _ratio(other_square, unchanged) - other_mean**2
    # Where all scores are equal rounding leaves something, above or below 0.
    variance = (variances[0] + variances[1]) / 2.0
    is_rounding = variance <= _ROUNDING * (mean**2 + other_mean**2)
    deviation = np.sqrt(np.where(is_rounding, 0.0, variance))
    return _ratio(mean - other_mean, deviation)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Divide, element by element; NaN where the divisor is not above 0."""
    part, whole = np.asarray(part), np.asarray(whole)
    result: FloatArray = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return result


#: F1 of hits, false alarms and misses, (..., 3), undefined where all of them are 0.
F1 = Figure(_f1, lowest=0.0, highest=1.0)
#: False-positive objects per image, from their number and that of the images, (..., 2).
FALSE_POSITIVE_OBJECTS = Figure(_per_image, lowest=0.0)
#: How far the scores of changed and unchanged pixels lie apart, in standard deviations:
#: difference of the means over the root of the mean variance (the sensitivity index d' of signal
#: detection), from number, sum and sum of squares of the scores of the changed and then of the
#: unchanged pixels, (..., 6). Above 0 where changed pixels score higher; another unit of the scores
#: makes no difference. Undefined where a class has no pixel, or no score differs from another.
CONTRAST = Figure(_contrast)


def estimate_figure(runs: Sequence[Sums], figure: Figure = F1) -> Estimate:
    """Estimate a figure of a row from its runs, one per seed, on the same images.

    The interval adds up two independent sources in quadrature: the bootstrap over images of the
    mean over seeds, and, from two seeds on, Student's interval of that mean over seeds.

    Args:
        runs: Sums of each seed's run, all (N, K).
        figure: What to compute from them.
    """
    values = np.array([figure.pooled(sums) for sums in runs])
    draws = _draws(len(runs[0]))
    spread = np.mean([figure.compute(draws @ sums) for sums in runs], axis=0)
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    over_seeds = 0.0 if std is None else _student(len(values) - 1) * std / math.sqrt(len(values))
    low, high = _joined(float(values.mean()), spread, over_seeds)
    # Few seeds make the interval wide, but no figure lies outside its range; NaN stays NaN.
    low, high = (float(np.clip(end, figure.lowest, figure.highest)) for end in (low, high))
    return Estimate(float(values.mean()), std, low, high, len(values))


def estimate_difference(
    runs: Sequence[Sums], against: Sequence[Sums], figure: Figure = F1
) -> Estimate:
    """Estimate how much a figure of one row lies above another's, on the same images.

    As :func:`estimate_figure`, the images drawn alike for both rows (a paired bootstrap), and the
    seeds of the two rows taken as independent (Welch), since a seed means something else to another
    network. With one seed in either row, the interval only covers the choice of images.

    Args:
        runs: Sums of the row's runs, all (N, K).
        against: Sums of the other row's runs, all (N, K).
        figure: What to compute from them.
    """
    draws = _draws(len(runs[0]))
    spread = np.mean([figure.compute(draws @ sums) for sums in runs], axis=0)
    spread = spread - np.mean([figure.compute(draws @ sums) for sums in against], axis=0)
    ours, theirs = (np.array([figure.pooled(sums) for sums in side]) for side in (runs, against))
    mean = float(ours.mean() - theirs.mean())
    std, over_seeds = _welch(ours, theirs)
    low, high = _joined(mean, spread, over_seeds)
    return Estimate(mean, std, low, high, min(len(ours), len(theirs)))


def estimate_correlation(validations: Sequence[tuple[FloatArray, FloatArray]]) -> Estimate:
    """Estimate the rank correlation of two figures within runs.

    Mean over the runs of Spearman's coefficient over the validations of a run. The interval adds up
    two independent sources in quadrature: how far so few validations determine the coefficients
    (Fisher's transformation), and, from two runs on, Student's interval of their mean over runs.

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
    mean, runs = float(rhos.mean()), len(rhos)
    std = float(rhos.std(ddof=1)) if runs > 1 else None
    over_runs = 0.0 if std is None else _student(runs - 1) * std / math.sqrt(runs)
    low, high = _fisher_interval(rhos, np.array([validations for _, validations in usable]))
    below = math.hypot(max(0.0, mean - low), over_runs)
    above = math.hypot(max(0.0, high - mean), over_runs)
    return Estimate(mean, std, max(-1.0, mean - below), min(1.0, mean + above), runs)


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


@lru_cache(maxsize=2)
def _draws(images: int) -> FloatArray:
    """Draw the images with replacement, the same draws each time: (R, N) times drawn."""
    weights = np.full(images, 1.0 / images)
    drawn = np.random.default_rng(0).multinomial(images, weights, size=_RESAMPLES)
    draws: FloatArray = drawn.astype(np.float64)
    # They are shared.
    draws.setflags(write=False)
    return draws


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


def _fisher_interval(rhos: FloatArray, validations: NDArray[np.int64]) -> tuple[float, float]:
    """Interval of the mean of rank correlations over so many validations each."""
    # Fieller, Hartley & Pearson 1957: the variance of a transformed rank correlation.
    variances = 1.06 / (validations - 3)
    half = 1.959964 * math.sqrt(float(variances.sum())) / len(rhos)
    # The transformation is infinite at 1, which four values in one order reach by chance once in 24
    # times: no coefficient counts as closer to it than one in so many validations.
    furthest = 1.0 - 1.0 / validations
    middle = float(np.arctanh(np.clip(rhos, -furthest, furthest)).mean())
    return math.tanh(middle - half), math.tanh(middle + half)
