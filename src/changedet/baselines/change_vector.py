"""Change vector analysis (Malila 1980): the length of the vector that joins the two spectra."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def change_vector_magnitude(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float32]:
    """Measure the Euclidean length of the difference of the bands.

    Args:
        before: (H, W, C).
        after: The same shape.

    Returns:
        Lengths, (H, W), in the units of the values.
    """
    difference = after.astype(np.float32) - before.astype(np.float32)
    length: NDArray[np.float32] = np.sqrt(np.square(difference).sum(axis=2))
    return length
