"""Shrink or enlarge a batch for a network, and bring its scores back to the images' pixels."""

import numpy as np
from numpy.typing import NDArray

from changedet.inference.arrays import Maps, Size, resize, take
from changedet.raster.grid import round_up


def zoom_images(images: Maps, zoom: float, *, multiple: int) -> Maps:
    """Resample images as a user would, and continue them to the size that a network needs.

    What is shrunk is smoothed first, so that nothing is aliased; at the lower and the right edge
    images are continued by their reflection.

    Args:
        images: (B, C, H, W).
        zoom: Height and width of the result in those of the images, above 0.
        multiple: What height and width of the result are multiples of.

    Returns:
        (B, C, h, w).
    """
    size = _zoomed((images.shape[-2], images.shape[-1]), zoom)
    shown = resize(images, size, antialias=zoom < 1.0)
    for axis, length in zip((-2, -1), size, strict=True):
        whole = round_up(length, multiple)
        if whole > length:
            shown = take(shown, _reflected(length, whole), axis)
    return shown


def unzoom_scores(scores: Maps, zoom: float, *, size: Size) -> Maps:
    """Bring the scores of :func:`zoom_images`' result back to the images' pixels.

    Args:
        scores: (B, h, w).
        zoom: As for the images.
        size: Height and width of the images.

    Returns:
        (B, H, W).
    """
    height, width = _zoomed(size, zoom)
    inside = scores[:, None, :height, :width]
    return resize(inside, size, antialias=zoom > 1.0)[:, 0]


def _zoomed(size: Size, zoom: float) -> Size:
    height, width = (max(1, round(length * zoom)) for length in size)
    return height, width


def _reflected(length: int, wanted: int) -> NDArray[np.intp]:
    """Number the pixels of a row that is continued by its reflection, as often as needed."""
    if length == 1:
        return np.zeros(wanted, np.intp)
    place = np.arange(wanted) % (2 * (length - 1))
    return np.where(place < length, place, 2 * (length - 1) - place)
