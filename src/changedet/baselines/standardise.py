"""Bring two dates to one scale, so that light, season and sensor differ less than the ground."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: A band that varies less than this, as a share of its mean, holds rounding errors only.
_CONSTANT = 1e-6


class StandardisedPair(NamedTuple):
    """Two dates, each band of each with mean 0 and standard deviation 1 over the image.

    ``before`` and ``after`` are float32, (H, W, C), and 0 where a band is constant. ``known``,
    (H, W), tells where all values of both dates are numbers; the others are 0.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    known: NDArray[np.bool_]


class BandStatistics(NamedTuple):
    """Mean and standard deviation of each band of one date, (C,), in the units of the values."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Which bands hold more than one value, (C,)."""
        return np.asarray(self.std > _CONSTANT * np.abs(self.mean))

    def standardise(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Give values, (..., C), mean 0 and standard deviation 1; constant bands become 0."""
        centred = values.astype(np.float64) - self.mean
        scaled = np.where(self.varies, centred / np.where(self.varies, self.std, 1.0), 0.0)
        return scaled.astype(np.float32)


class BandMoments:
    """Statistics of the bands of one date, gathered block by block.

    Args:
        bands: Number of bands.
    """

    def __init__(self, bands: int) -> None:
        self.count = 0
        self._mean = np.zeros(bands)
        self._squares = np.zeros(bands)

    def add(self, values: NDArray[Any]) -> None:
        """Count pixels in, (N, C), all of them finite."""
        if not len(values):
            return
        exact = values.astype(np.float64)
        mean = exact.mean(axis=0)
        squares = np.square(exact - mean).sum(axis=0)
        # Chan, Golub & LeVeque 1979: stable if the mean is much larger than the standard deviation.
        total = self.count + len(exact)
        step = mean - self._mean
        self._squares += squares + np.square(step) * (self.count * len(exact) / total)
        self._mean += step * (len(exact) / total)
        self.count = total

    def statistics(self) -> BandStatistics:
        """Give what has been counted so far; zeros if it was nothing."""
        return BandStatistics(self._mean.copy(), np.sqrt(self._squares / max(self.count, 1)))


def known_pixels(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell where all values of both dates, (H, W, C), are numbers, (H, W)."""
    return np.asarray(np.isfinite(before).all(axis=2) & np.isfinite(after).all(axis=2))


def standardise(before: NDArray[Any], after: NDArray[Any]) -> StandardisedPair:
    """Standardise each date by its own statistics.

    Args:
        before: Any real values, (H, W, C).
        after: The same shape.
    """
    known = known_pixels(before, after)
    return StandardisedPair(_standardised(before, known), _standardised(after, known), known)


def _standardised(image: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    moments = BandMoments(image.shape[2])
    moments.add(image[known])
    result = np.zeros(image.shape, np.float32)
    result[known] = moments.statistics().standardise(image[known])
    return result
