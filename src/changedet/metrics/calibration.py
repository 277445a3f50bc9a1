"""Whether scores are probabilities of change: calibration error and temperature. No torch.

After Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from changedet.errors import ConfigError, DataError
from changedet.metrics.histogram import CountArray, FloatArray, ScoreHistogram
from changedet.storage.results import Figure

#: Equal bins of scores in which mean score and share of change are compared, as in the paper.
RELIABILITY_BINS: Final = 15
#: Smallest and largest temperature that is fitted.
TEMPERATURES: Final = (0.05, 20.0)
# Logit beyond which a float32 score is 0 or 1.
_LARGEST_LOGIT: Final = 16.0
_UNDEFINED: Final = math.nan


@dataclass(frozen=True)
class ReliabilityBin:
    """Pixels whose scores lie in one bin.

    Attributes:
        low: Lower end of the bin.
        high: Upper end.
        pixels: Pixels in it, unchanged and changed.
        mean_score: Their mean score; NaN (JSON: null) without a pixel, as is the next one.
        changed_share: Share of them that has changed.
    """

    low: float
    high: float
    pixels: int
    mean_score: Figure
    changed_share: Figure


@dataclass(frozen=True)
class Calibration:
    """How far scores are from probabilities of change, over all pixels of all images.

    Attributes:
        expected_calibration_error: Mean distance of mean score and share of change over the bins,
            each weighted by its pixels, in [0, 1]; NaN (JSON: null) without a pixel.
        mean_score: Mean of all scores: the share of change that the scores predict.
        changed_share: Share of the pixels that has changed.
        bins: The bins, from low to high.
    """

    expected_calibration_error: Figure
    mean_score: Figure
    changed_share: Figure
    bins: tuple[ReliabilityBin, ...]


def measure_calibration(hist: ScoreHistogram) -> Calibration:
    """Compare scores with what they would say as probabilities of change.

    A pixel lies in the bin of the middle of its histogram column, which is at most 1/1024 wide.

    Args:
        hist: Counts of the images.
    """
    changed = hist.changed.sum(axis=0).astype(np.float64)
    pixels = changed + hist.unchanged.sum(axis=0)
    scores = _column_scores(hist)
    bin_of = np.minimum((scores * RELIABILITY_BINS).astype(np.intp), RELIABILITY_BINS - 1)
    in_bins, score_sums, changed_in_bins = (
        np.bincount(bin_of, weights=weights, minlength=RELIABILITY_BINS)
        for weights in (pixels, pixels * scores, changed)
    )
    gap = float(np.abs(score_sums - changed_in_bins).sum())
    total = float(pixels.sum())
    return Calibration(
        expected_calibration_error=_share(gap, total),
        mean_score=_share(float(score_sums.sum()), total),
        changed_share=_share(float(changed.sum()), total),
        bins=tuple(
            ReliabilityBin(
                low=number / RELIABILITY_BINS,
                high=(number + 1) / RELIABILITY_BINS,
                pixels=int(in_bins[number]),
                mean_score=_share(score_sums[number], in_bins[number]),
                changed_share=_share(changed_in_bins[number], in_bins[number]),
            )
            for number in range(RELIABILITY_BINS)
        ),
    )


def fit_temperature(histograms: Sequence[ScoreHistogram]) -> float:
    """Find the temperature at which scores are the best estimates of the probability of change.

    It minimises the negative log-likelihood of the labels, averaged over the pixels of each set
    and then over the sets, so that a large set counts no more than a small one. Dividing logits by
    a temperature changes no order: what a threshold can reach stays what it is.

    Args:
        histograms: Counts of each set, of the scores as the network gives them (temperature 1).
            Sets without a pixel do not count.

    Returns:
        The temperature, within :data:`TEMPERATURES`.

    Raises:
        DataError: If there are no changed or no unchanged pixels, so that there is nothing to fit.
    """
    counted = [hist for hist in histograms if hist.changed.any() or hist.unchanged.any()]
    if not any(hist.changed.any() for hist in counted) or not any(
        hist.unchanged.any() for hist in counted
    ):
        raise DataError(
            "a temperature needs pixels that have changed and pixels that have not; use images "
            "with both"
        )
    sets = []
    for hist in counted:
        changed = hist.changed.sum(axis=0).astype(np.float64)
        pixels = changed + hist.unchanged.sum(axis=0)
        total = pixels.sum()
        logits = _column_logits(hist).clip(-_LARGEST_LOGIT, _LARGEST_LOGIT)
        sets.append((logits, pixels / total, changed / total))

    def slope(log_inverse: float) -> float:
        """Slope of the log-likelihood, which is concave in the inverse temperature."""
        inverse = math.exp(log_inverse)
        return float(
            sum(
                np.sum(logits * (changed - pixels * expit(inverse * logits)))
                for logits, pixels, changed in sets
            )
        )

    coldest, hottest = TEMPERATURES
    low, high = -math.log(hottest), -math.log(coldest)
    if slope(low) <= 0:
        return hottest
    if slope(high) >= 0:
        return coldest
    return float(math.exp(-brentq(slope, low, high, xtol=1e-9)))


def at_temperature(score: float, temperature: float) -> float:
    """Give a score, such as a threshold, as it is after its logit was divided by a temperature.

    Args:
        score: In [0, 1], at temperature 1.
        temperature: A positive number.

    Raises:
        ConfigError: If the temperature is no positive number.
    """
    return float(_tempered(np.array([score], np.float64), temperature)[0])


def recalibrated(hist: ScoreHistogram, temperature: float) -> ScoreHistogram:
    """Give the counts as they would be had the scores been given at a temperature.

    The columns are those of ``hist``, so figures are exact to the width of a column; use
    :func:`at_temperature` on a threshold that was chosen at temperature 1 to keep exactly what it
    detects. Where scores are means of several views of a pixel, taken before or after the
    temperature, this gives the latter.

    Args:
        hist: Counts of scores at temperature 1.
        temperature: A positive number.

    Raises:
        ConfigError: If the temperature is no positive number.
    """
    moved = _tempered(_column_scores(hist), temperature).astype(np.float32)
    columns = np.searchsorted(hist.edges, moved, side="right") - 1
    filled = np.flatnonzero(hist.changed.sum(axis=0) + hist.unchanged.sum(axis=0))
    lowest = np.full(hist.edges.shape, 2.0, np.float32)
    highest = np.full(hist.edges.shape, -1.0, np.float32)
    np.minimum.at(lowest, columns[filled], moved[filled])
    np.maximum.at(highest, columns[filled], moved[filled])
    return replace(
        hist,
        unchanged=_moved(hist.unchanged, columns),
        changed=_moved(hist.changed, columns),
        lowest=lowest,
        highest=highest,
    )


def _moved(counts: CountArray, columns: NDArray[np.intp]) -> CountArray:
    moved = np.zeros_like(counts)
    np.add.at(moved.T, columns, counts.T)
    return moved


def _tempered(scores: FloatArray, temperature: float) -> FloatArray:
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"a temperature must be a positive number, got {temperature}")
    # The ends stay where they are: expit(±inf).
    with np.errstate(divide="ignore"):
        tempered: FloatArray = expit(logit(scores) / temperature)
    return tempered


def _column_scores(hist: ScoreHistogram) -> FloatArray:
    """Give the score that stands for each column, (E,)."""
    scores: FloatArray = expit(_column_logits(hist))
    return scores


def _column_logits(hist: ScoreHistogram) -> FloatArray:
    """Give the logit that stands for each column, (E,): between those of its extreme scores."""
    low = hist.edges.astype(np.float64)
    high = np.append(low[1:], 1.0)
    if hist.lowest is not None and hist.highest is not None:
        known = hist.lowest <= hist.highest
        low = np.where(known, hist.lowest, low)
        high = np.where(known, hist.highest, high)
    with np.errstate(divide="ignore"):
        ends = logit(np.clip([low, high], 0.0, 1.0))
    middle = ends.clip(-_LARGEST_LOGIT, _LARGEST_LOGIT).mean(axis=0)
    # Scores that are exactly 0 or 1 stay so at any temperature.
    logits: FloatArray = np.where(ends[0] == ends[1], ends[0], middle)
    return logits


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else _UNDEFINED
