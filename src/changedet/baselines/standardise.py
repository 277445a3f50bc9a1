"""Bring two dates to one scale, so that light, season and sensor differ less than the ground."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: A band that varies less than this, as a share of its mean, holds rounding errors only.
_CONSTANT = 1e-6


class StandardisedPair(NamedTuple):
    """Two dates, each band of each with mean 0 and deviation 1 over the image.

    ``before`` and ``after`` are float32, (H, W, C), and 0 where a band is constant. ``known``,
    (H, W), tells where all values of both dates are numbers; the others are 0.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    known: NDArray[np.bool_]


def standardise(before: NDArray[Any], after: NDArray[Any]) -> StandardisedPair:
    """Standardise each date by its own statistics.

    Args:
        before: Any real values, (H, W, C).
        after: The same shape.
    """
    known = np.isfinite(before).all(axis=2) & np.isfinite(after).all(axis=2)
    return StandardisedPair(_standardised(before, known), _standardised(after, known), known)


def _standardised(image: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    result = np.zeros(image.shape, np.float32)
    if not known.any():
        return result
    values = image[known].astype(np.float64)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    varies = deviation > _CONSTANT * np.abs(mean)
    result[known] = np.where(varies, (values - mean) / np.where(varies, deviation, 1.0), 0.0)
    return result
