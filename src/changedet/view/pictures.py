"""Tiles and thumbnails: parts of a layer as PNG and WebP."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import Image

from changedet.raster.geo_grid import Window
from changedet.view.item import TILE_PX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from changedet.view.item import Item
    from changedet.view.layers import Layer, LayerReader, Part

# Of a lossy photo: below it, edges of roofs begin to blur.
_QUALITY: Final = 85
# A date is looked at so coarsely to settle its stretch.
_SAMPLE_PX: Final = 512
_SHOWN_PERCENTILES: Final = (2.0, 98.0)


class Stretch(NamedTuple):
    """Values that are shown black and white; 8 bit is shown as it is: 0 and 255."""

    low: float
    high: float


class Address(NamedTuple):
    """A tile: ``zoom`` 0 shows everything, x counts to the right and y downwards."""

    zoom: int
    x: int
    y: int


def tile_window(item: Item, address: Address) -> tuple[Window, int] | None:
    """Find what a tile shows.

    Returns:
        Pixels of the result, whole steps of them, and pixels along each axis of which the tile
        shows one; None if nothing of the result lies in it.
    """
    step = 2 ** (item.max_zoom - address.zoom)
    span = TILE_PX * step
    whole = Window(address.y * span, address.x * span, span, span)
    window = whole.intersect(item.grid.window)
    return None if window is None else whole_steps(window, step)


def whole_steps(window: Window, step: int) -> tuple[Window, int] | None:
    """Cut off what is less than a step at the right and at the bottom."""
    height, width = (side // step * step for side in window.shape)
    if min(height, width) == 0:
        return None
    return Window(window.top, window.left, height, width), step


def measure_stretch(reader: LayerReader, window: Window) -> Stretch:
    """Settle how the values of a date are shown: from their 2nd to their 98th percentile.

    Args:
        reader: Of the date.
        window: All of the result.

    Raises:
        ImageError: If it cannot be read.
    """
    step = max(1, max(window.shape) // _SAMPLE_PX)
    cut = whole_steps(window, min(step, *window.shape))
    part = reader.read(*cut) if cut is not None else reader.read(window, 1)
    if part.values.dtype == np.uint8:
        return Stretch(0.0, 255.0)
    shown = part.values[:3, part.valid].astype(np.float64)
    if shown.size == 0:
        return Stretch(0.0, 1.0)
    low, high = np.percentile(shown, _SHOWN_PERCENTILES)
    return Stretch(float(low), float(high))


def photo(part: Part, stretch: Stretch) -> NDArray[np.uint8]:
    """Show a date: the first three bands as red, green and blue, fewer as grey.

    Returns:
        Colours and opacity, (h, w, 4).
    """
    values = part.values[:3] if len(part.values) >= 3 else part.values[:1]
    if values.dtype != np.uint8:
        scale = 255.0 / ((stretch.high - stretch.low) or 1.0)
        shown = (values.astype(np.float32) - np.float32(stretch.low)) * np.float32(scale)
        values = np.rint(shown.clip(0.0, 255.0)).astype(np.uint8)
    colours = np.empty((*part.valid.shape, 4), np.uint8)
    colours[:, :, :3] = values.transpose(1, 2, 0)
    colours[:, :, 3] = part.valid * np.uint8(255)
    return colours


def score_pixels(part: Part) -> NDArray[np.uint8]:
    """Put the codes of scores into red (high byte) and green (low byte), (h, w, 4)."""
    codes = part.values[0].astype(np.uint16)
    pixels = np.zeros((*part.valid.shape, 4), np.uint8)
    pixels[:, :, 0] = codes >> 8
    pixels[:, :, 1] = codes & 255
    pixels[:, :, 3] = 255
    pixels[~part.valid] = 0
    return pixels


def mask_pixels(part: Part) -> NDArray[np.uint8]:
    """Show a mask: changed is white, unchanged black, no data transparent, (h, w, 4)."""
    pixels = np.zeros((*part.valid.shape, 4), np.uint8)
    pixels[part.values[0] > 0] = 255
    pixels[:, :, 3] = 255
    pixels[~part.valid] = 0
    return pixels


def pixels_of(layer: Layer, part: Part, stretch: Stretch) -> NDArray[np.uint8]:
    """Make the picture of a part of any layer, (h, w, 4)."""
    if layer == "score":
        return score_pixels(part)
    if layer == "mask":
        return mask_pixels(part)
    return photo(part, stretch)


def encode_tile(layer: Layer, pixels: NDArray[np.uint8]) -> bytes:
    """Encode a tile, whole or the upper left part of one: photos as WebP, others as PNG."""
    whole = np.zeros((TILE_PX, TILE_PX, 4), np.uint8)
    height, width = pixels.shape[:2]
    whole[:height, :width] = pixels
    return encode(Image.fromarray(whole), lossless=layer in ("score", "mask"))


def encode(picture: Image.Image, *, lossless: bool) -> bytes:
    """Encode a picture as PNG (lossless) or WebP."""
    file = io.BytesIO()
    if lossless:
        picture.save(file, "PNG", compress_level=1)
    else:
        picture.save(file, "WEBP", quality=_QUALITY, method=0)
    return file.getvalue()
