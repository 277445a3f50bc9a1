"""Iteratively reweighted multivariate alteration detection (IR-MAD, Nielsen 2007).

Canonical correlation analysis finds the combinations of bands by which the two dates agree most;
their differences (the MAD variates) hold what does not agree. Each turn weighs every pixel with its
probability of no change, so that the changed ones lose their say in what agreement is.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

_Matrix = NDArray[np.float64]

#: Nielsen's stopping rule: no canonical correlation moves by more than this.
_TOLERANCE = 1e-3
_MOST_TURNS = 50
#: The statistics are taken from at most about so many pixels, regularly spaced.
_SAMPLED_PX = 2**16
#: Directions with less variance, where a band has 1, are rounding errors or bands given twice.
_NO_VARIANCE = 1e-8
#: Smallest variance of a MAD variate: where two dates agree exactly it would be 0.
_LEAST_VARIANCE = 1e-8
#: Smaller differences of variates, whose deviation is 1, are rounding errors.
_ROUNDING = 1e-4


class _CanonicalPairs(NamedTuple):
    """K pairs of variates with unit variance: means (C,), directions (C, K), correlations (K,)."""

    mean_before: _Matrix
    mean_after: _Matrix
    before: _Matrix
    after: _Matrix
    correlation: _Matrix

    def chi_square(self, before: _Matrix, after: _Matrix) -> _Matrix:
        """Sum up the squared MAD variates of pixels (N, C), each in units of its variance, (N,)."""
        difference = (before - self.mean_before) @ self.before
        difference -= (after - self.mean_after) @ self.after
        difference[np.abs(difference) < _ROUNDING] = 0.0
        # Of the difference of two unit variates with this correlation (Nielsen 2007, eq. 12).
        variance = np.maximum(2.0 * (1.0 - self.correlation), _LEAST_VARIANCE)
        total: _Matrix = (np.square(difference) / variance).sum(axis=1)
        return total


def ir_mad_chi_square(
    before: NDArray[np.float32], after: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Measure how little each pixel follows the relation that most pixels of the two dates obey.

    Linear changes of the bands, such as another exposure or haze, make no difference.

    Args:
        before: Standardised values, (H, W, C).
        after: The same shape.

    Returns:
        The sum of the squared MAD variates over their variances, (H, W), at least 0. Where nothing
        changed it is proportional to a chi-square variable with as many degrees of freedom as there
        are pairs of variates (equal to one before the reweighting, which favours the pixels that
        agree best and so makes the variances small). 0 throughout if a date is constant, as
        nothing can be correlated then.
    """
    shape, bands = before.shape[:2], before.shape[2]
    first, second = (date.reshape(-1, bands).astype(np.float64) for date in (before, after))
    step = max(1, len(first) // _SAMPLED_PX)
    pairs = _fit(first[::step], second[::step])
    if pairs is None:
        return np.zeros(shape, np.float32)
    return pairs.chi_square(first, second).astype(np.float32).reshape(shape)


def _fit(before: _Matrix, after: _Matrix) -> _CanonicalPairs | None:
    """Alternate between the canonical pairs and the pixels' probability of no change."""
    weights = np.ones(len(before))
    pairs = None
    for _ in range(_MOST_TURNS):
        found = _canonical_pairs(before, after, weights)
        # The few pixels that a turn leaves may vary in fewer directions, or not at all.
        if found is None or (pairs and len(found.correlation) != len(pairs.correlation)):
            break
        moved = np.inf if pairs is None else np.abs(found.correlation - pairs.correlation).max()
        pairs = found
        if moved < _TOLERANCE:
            break
        weights = chdtrc(len(pairs.correlation), pairs.chi_square(before, after))
    return pairs


def _canonical_pairs(before: _Matrix, after: _Matrix, weights: _Matrix) -> _CanonicalPairs | None:
    """Solve the weighted canonical correlation analysis; None if a date does not vary."""
    total = weights.sum()
    if total < 1.0:
        return None
    share = weights / total
    mean_before, mean_after = share @ before, share @ after
    first, second = before - mean_before, after - mean_after
    weighted = first * share[:, None]
    whiten_before = _whitening(weighted.T @ first)
    whiten_after = _whitening((second * share[:, None]).T @ second)
    if not whiten_before.shape[1] or not whiten_after.shape[1]:
        return None
    left, correlation, right = np.linalg.svd(
        whiten_before.T @ (weighted.T @ second) @ whiten_after, full_matrices=False
    )
    return _CanonicalPairs(
        mean_before,
        mean_after,
        whiten_before @ left,
        whiten_after @ right.T,
        np.minimum(correlation, 1.0),
    )


def _whitening(covariance: _Matrix) -> _Matrix:
    """Give the directions (C, K) along which the variance is 1, without those that have none."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _NO_VARIANCE
    whitening: _Matrix = vectors[:, kept] / np.sqrt(values[kept])
    return whitening
