"""What a network sees where data is missing, in training, evaluation and prediction alike."""

import numpy as np

from changedet.raster.pair import PairPixels
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
            filling = np.asarray(mean[::-1] if stats.bands == "bgr" else mean, np.float64)
            if np.issubdtype(image.dtype, np.integer):
                filling = filling.round()
            image[~pixels.valid] = filling.astype(image.dtype)
    return pixels
