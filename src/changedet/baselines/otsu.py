"""A change score whose middle is Otsu's threshold."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

#: Magnitudes up to this, of standardised values, are rounding errors.
_ROUNDING = 1e-5
#: A map that varies less than this, as a share of its maximum, has no two classes.
_NO_CONTRAST = 1e-6
_BINS = 256
#: Magnitudes above so many times what this share of the pixels stays below count as that much: a
#: few extreme pixels would otherwise put all others into the first bin. Over the pairs of CLCD and
#: LEVIR-CD, the largest magnitude is at most 3.5 times it.
_USUAL_SHARE = 0.999
_EXTREME = 4.0
#: Bits of a float32 that do not tell its bin: what is left are the exponent and 4 binary digits.
_DROPPED_BITS = 19


@dataclass(frozen=True)
class OtsuScale:
    """Maps magnitudes m to scores m / (m + t), where t is Otsu's threshold.

    The score keeps the order of the magnitudes and is at least 0.5 exactly where they reach the
    threshold (Otsu 1979, from 256 equal bins), which takes no label.

    Attributes:
        threshold: Otsu's threshold in the unit of the magnitudes; None if all of them are equal,
            for then none stands out and all scores are 0.
        share: Share of the pixels that reach the threshold, in [0, 1].
    """

    threshold: float | None
    share: float = 0.0

    def score(self, magnitude: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Turn magnitudes into scores.

        Args:
            magnitude: How much each pixel differs, (H, W), at least 0.
            known: Where there is something to compare, (H, W); other pixels score 0.

        Returns:
            Scores, (H, W), in [0, 1).
        """
        if self.threshold is None:
            return np.zeros(magnitude.shape, np.float32)
        magnitude = np.where(known, _without_rounding(magnitude), 0.0)
        score: NDArray[np.float32] = (magnitude / (magnitude + self.threshold)).astype(np.float32)
        return score


def otsu_scale(passes: Callable[[], Iterable[NDArray[Any]]]) -> OtsuScale:
    """Find Otsu's threshold of magnitudes that come block by block.

    Args:
        passes: Gives all magnitudes, any shape, at least 0, in blocks; called twice, first for
            their range and then for their histogram.
    """
    low, high = np.inf, 0.0
    sizes = np.zeros(1 << (32 - _DROPPED_BITS), np.int64)
    for block in passes():
        if block.size:
            values = _without_rounding(block)
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            sizes += np.bincount(_size_bins(values), minlength=len(sizes))
    if low == np.inf or high - low <= _NO_CONTRAST * high:
        return OtsuScale(None)
    high = min(high, _EXTREME * _upper_limit(sizes))
    counts = np.zeros(_BINS, np.int64)
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    for block in passes():
        # On [0, 1] the bins are different numbers whatever the magnitudes are.
        relative = (_without_rounding(block) - low) / (high - low)
        counts += np.histogram(relative.clip(max=1.0), bins=_BINS, range=(0.0, 1.0))[0]
    middles = (edges[:-1] + edges[1:]) / 2
    relative_threshold = float(threshold_otsu(hist=(counts, middles)))  # type: ignore[no-untyped-call]
    share = float(counts[middles > relative_threshold].sum() / counts.sum())
    return OtsuScale(low + (high - low) * relative_threshold, share)


def _size_bins(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number magnitudes by their size, in steps of a sixteenth of a power of two."""
    with np.errstate(over="ignore"):
        bits = values.astype(np.float32).reshape(-1).view(np.uint32)
    return (bits >> np.uint32(_DROPPED_BITS)).astype(np.int64)


def _upper_limit(sizes: NDArray[np.int64]) -> float:
    """Give what the usual share of the magnitudes stays below, rounded up."""
    number = int(np.searchsorted(np.cumsum(sizes), _USUAL_SHARE * sizes.sum()))
    edge = np.array((number + 1) << _DROPPED_BITS, np.uint32).view(np.float32)
    # Where next to all are 0, what few there are is the change.
    return float(edge) if number else np.inf


def otsu_score(magnitude: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Map the magnitudes of one image to scores by its own threshold, see :class:`OtsuScale`.

    Args:
        magnitude: How much each pixel differs, (H, W), at least 0.
        known: Where there is something to compare, (H, W); other pixels score 0.

    Returns:
        Scores, (H, W), in [0, 1); 0 throughout if all magnitudes are equal.
    """
    return otsu_scale(lambda: [magnitude[known]]).score(magnitude, known)


def _without_rounding(magnitude: NDArray[Any]) -> NDArray[np.float64]:
    return np.where(magnitude > _ROUNDING, magnitude, 0.0).astype(np.float64)
