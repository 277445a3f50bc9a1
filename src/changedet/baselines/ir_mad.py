"""Iteratively reweighted multivariate alteration detection (IR-MAD, Nielsen 2007).

Canonical correlation analysis finds the combinations of bands by which the two dates agree most;
their differences (the MAD variates) hold what does not agree. Each iteration weighs every pixel
with its probability of no change, so that the changed ones lose their say in what agreement is.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

_Matrix = NDArray[np.float64]

#: The method's own limit; it mostly converges in 10 to 30 iterations.
MAX_ITERATIONS = 50
#: Nielsen's stopping rule: no canonical correlation moves by more than this.
_TOLERANCE = 1e-3
#: The statistics of an image are taken from about this many pixels, regularly spaced.
_SAMPLED_PX = 2**16
#: Pixels that are looked at together: bounds the memory of a large sample.
CHUNK_PX = 2**17
#: Directions with less variance, where a band has 1, are rounding errors or bands given twice.
_NO_VARIANCE = 1e-8
#: Smallest variance of a MAD variate: where two dates agree exactly it would be 0.
_LEAST_VARIANCE = 1e-8
#: Smaller differences of variates, whose standard deviation is 1, are rounding errors.
_ROUNDING = 1e-4


class CanonicalPairs(NamedTuple):
    """K pairs of variates with unit variance: means (C,), directions (C, K), correlations (K,)."""

    mean_before: _Matrix
    mean_after: _Matrix
    before: _Matrix
    after: _Matrix
    correlation: _Matrix

    def mad_variates(self, before: NDArray[Any], after: NDArray[Any]) -> _Matrix:
        """Give the differences of the pairs for pixels (..., C), (..., K), best agreement first."""
        difference: _Matrix = (before - self.mean_before) @ self.before
        difference -= (after - self.mean_after) @ self.after
        return difference

    def chi_square(self, before: NDArray[Any], after: NDArray[Any]) -> _Matrix:
        """Sum up the squared MAD variates of pixels (..., C) over their variances, (...)."""
        difference = self.mad_variates(before, after)
        difference[np.abs(difference) < _ROUNDING] = 0.0
        # Of the difference of two unit variates with this correlation (Nielsen 2007, eq. 12).
        variance = np.maximum(2.0 * (1.0 - self.correlation), _LEAST_VARIANCE)
        total: _Matrix = (np.square(difference) / variance).sum(axis=-1)
        return total


class IrMadFit(NamedTuple):
    """What the iterations came to.

    Attributes:
        pairs: The canonical pairs; None if a date is constant, for then nothing is correlated.
        iterations: How many were made.
        has_converged: Whether the last one moved no correlation by more than the tolerance.
    """

    pairs: CanonicalPairs | None
    iterations: int
    has_converged: bool


def ir_mad_chi_square(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    *,
    max_iterations: int = MAX_ITERATIONS,
    sampled_px: int = _SAMPLED_PX,
) -> NDArray[np.float32]:
    """Measure how little each pixel follows the relation that most pixels of the two dates obey.

    Linear changes of the bands, such as another exposure or haze, make no difference.

    Args:
        before: Standardised values, (H, W, C).
        after: The same shape.
        max_iterations: 1 gives plain MAD (Nielsen 1998).
        sampled_px: The statistics are taken from about this many pixels, regularly spaced.

    Returns:
        The sum of the squared MAD variates over their variances, (H, W), at least 0. Where nothing
        changed it is proportional to a chi-square variable with as many degrees of freedom as there
        are pairs of variates (equal to one before the reweighting, which favours the pixels that
        agree best and so makes the variances small). 0 throughout if a date is constant, as
        nothing can be correlated then.
    """
    bands = before.shape[2]
    first, second = (date.reshape(-1, bands) for date in (before, after))
    step = max(1, len(first) // sampled_px)
    pairs = fit_ir_mad(first[::step], second[::step], max_iterations=max_iterations).pairs
    if pairs is None:
        return np.zeros(before.shape[:2], np.float32)
    return pairs.chi_square(before, after).astype(np.float32)


def fit_ir_mad(
    before: NDArray[Any], after: NDArray[Any], *, max_iterations: int = MAX_ITERATIONS
) -> IrMadFit:
    """Alternate between the canonical pairs and the pixels' probability of no change.

    Bands that are constant, given twice or combinations of others add nothing: directions in which
    a date does not vary are left out, so that there may be fewer pairs than bands.

    Args:
        before: Standardised pixels, (N, C).
        after: The same pixels at the second date.
        max_iterations: At least 1, which gives plain MAD.
    """
    pairs = None
    for iteration in range(max_iterations):
        found = _canonical_pairs(before, after, pairs)
        # The few pixels that an iteration leaves may vary in fewer directions, or not at all.
        if found is None or (pairs and len(found.correlation) != len(pairs.correlation)):
            return IrMadFit(pairs, iteration, has_converged=False)
        moved = np.inf if pairs is None else np.abs(found.correlation - pairs.correlation).max()
        pairs = found
        if moved < _TOLERANCE:
            return IrMadFit(pairs, iteration + 1, has_converged=True)
    return IrMadFit(pairs, max_iterations, has_converged=False)


def _canonical_pairs(
    before: NDArray[Any], after: NDArray[Any], weighing: CanonicalPairs | None
) -> CanonicalPairs | None:
    """Solve the canonical correlation analysis of pixels weighted by earlier pairs.

    None if a date does not vary among the pixels that have weight.
    """
    moments = _weighted_moments(before, after, weighing)
    if moments is None:
        return None
    mean, covariance = moments
    bands = before.shape[1]
    whiten_before = _whitening(covariance[:bands, :bands])
    whiten_after = _whitening(covariance[bands:, bands:])
    if not whiten_before.shape[1] or not whiten_after.shape[1]:
        return None
    left, correlation, right = np.linalg.svd(
        whiten_before.T @ covariance[:bands, bands:] @ whiten_after, full_matrices=False
    )
    return CanonicalPairs(
        mean[:bands],
        mean[bands:],
        whiten_before @ left,
        whiten_after @ right.T,
        np.minimum(correlation, 1.0),
    )


def _weighted_moments(
    before: NDArray[Any], after: NDArray[Any], weighing: CanonicalPairs | None
) -> tuple[_Matrix, _Matrix] | None:
    """Mean (2C,) and covariance (2C, 2C) of both dates' bands; None if no pixel has weight."""
    size = 2 * before.shape[1]
    total, mean, scatter = 0.0, np.zeros(size), np.zeros((size, size))
    for first, second in _chunks(before, after):
        weights = np.ones(len(first))
        if weighing is not None:
            weights = chdtrc(len(weighing.correlation), weighing.chi_square(first, second))
        weight = float(weights.sum())
        if weight == 0.0:
            continue
        both = np.concatenate([first, second], axis=1)
        share = weights / weight
        chunk_mean = share @ both
        both -= chunk_mean
        step = chunk_mean - mean
        joint = total + weight
        scatter += weight * ((both * share[:, None]).T @ both)
        scatter += np.outer(step, step) * (total * weight / joint)
        mean += step * (weight / joint)
        total = joint
    return None if total < 1.0 else (mean, scatter / total)


def _chunks(before: NDArray[Any], after: NDArray[Any]) -> Iterator[tuple[_Matrix, _Matrix]]:
    for start in range(0, len(before), CHUNK_PX):
        part = slice(start, start + CHUNK_PX)
        yield before[part].astype(np.float64), after[part].astype(np.float64)


def _whitening(covariance: _Matrix) -> _Matrix:
    """Give the directions (C, K) along which the variance is 1, without those that have none."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _NO_VARIANCE
    whitening: _Matrix = vectors[:, kept] / np.sqrt(values[kept])
    return whitening
