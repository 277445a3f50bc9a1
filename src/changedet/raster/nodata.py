"""What a network sees where a scene holds no image; training, judging and prediction share it."""

import numpy as np
from numpy.typing import NDArray

from changedet.raster.pair import PairPixels
from changedet.raster.pixels import PixelValues
from changedet.types import Normalisation


def fill_gaps(pixels: PairPixels, stats: Normalisation) -> PairPixels:
    """Put the mean of the training images where either date holds no image.

    The normalisation turns that into zeros in both dates, so that the network sees no difference.
    Means are rounded for integer pixels.

    Args:
        pixels: Both dates, (h, w, C); they are written to.
        stats: Statistics of the model, of C channels.

    Returns:
        The same arrays.
    """
    if not pixels.valid.all():
        for image, mean in ((pixels.before, stats.mean_before), (pixels.after, stats.mean_after)):
            _fill(image, ~pixels.valid, mean[::-1] if stats.bands == "bgr" else mean)
    return pixels


def _fill(image: PixelValues, missing: NDArray[np.bool_], mean: tuple[float, ...]) -> None:
    filling = np.asarray(mean, np.float64)
    if np.issubdtype(image.dtype, np.integer):
        filling = filling.round()
    image[missing] = filling.astype(image.dtype)
