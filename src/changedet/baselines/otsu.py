"""A change score whose middle is Otsu's threshold of the image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

#: Magnitudes up to this, of standardised values, are rounding errors.
_ROUNDING = 1e-5
#: A map that varies less than this, as a share of its maximum, has no two classes.
_NO_CONTRAST = 1e-6


def otsu_score(magnitude: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Map magnitudes m to scores m / (m + t), where t is Otsu's threshold of the image.

    The score keeps the order of the magnitudes and is at least 0.5 exactly where they reach the
    threshold (Otsu 1979, from 256 equal bins), which takes no label.

    Args:
        magnitude: How much each pixel differs, (H, W), at least 0.
        known: Where there is something to compare, (H, W); other pixels score 0.

    Returns:
        Scores, (H, W), in [0, 1); 0 throughout if all magnitudes are equal, for then none of them
        stands out.
    """
    magnitude = np.where(known & (magnitude > _ROUNDING), magnitude, 0.0).astype(np.float64)
    values = magnitude[known]
    low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
    if high - low <= _NO_CONTRAST * high:
        return np.zeros(magnitude.shape, np.float32)
    # On [0, 1] the 256 bins are different numbers whatever the magnitudes are.
    relative = float(threshold_otsu((values - low) / (high - low)))  # type: ignore[no-untyped-call]
    threshold = low + (high - low) * relative
    score: NDArray[np.float32] = (magnitude / (magnitude + threshold)).astype(np.float32)
    return score
