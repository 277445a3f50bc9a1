"""Image differencing (Singh 1989): the mean absolute difference of the bands."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_absolute_difference(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float32]:
    """Average the absolute differences of the bands.

    Args:
        before: (H, W, C).
        after: The same shape.

    Returns:
        Differences, (H, W), in the units of the values.
    """
    difference = np.abs(before.astype(np.float32) - after.astype(np.float32))
    mean: NDArray[np.float32] = difference.mean(axis=2)
    return mean
