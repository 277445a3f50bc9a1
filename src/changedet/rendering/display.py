"""Images of any number of bands and any type made showable."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of values that are not 8 bits.
_SHOWN_PERCENTILES = (2.0, 98.0)


def as_rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Make an image of any bands and type showable.

    The first three bands are red, green and blue; fewer than three are grey. Values that are not
    8 bits are stretched from their 2nd to their 98th percentile, all bands alike.

    Args:
        image: uint8 or any number type, (H, W, C).

    Returns:
        Colours, (H, W, 3).
    """
    bands: NDArray[Any] = (
        image[:, :, :3] if image.shape[2] >= 3 else np.repeat(image[:, :, :1], 3, axis=2)
    )
    if bands.dtype == np.uint8:
        return bands
    # Pixels without an image hold 0 in all bands.
    shown = bands[bands.any(axis=2)]
    low, high = np.percentile(shown, _SHOWN_PERCENTILES) if shown.size else (0.0, 1.0)
    stretched = (bands.astype(np.float64) - low) * (255.0 / (high - low or 1.0))
    colours: NDArray[np.uint8] = np.rint(stretched.clip(0.0, 255.0)).astype(np.uint8)
    return colours
