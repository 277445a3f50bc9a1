"""A sheet that shows a whole scene at a glance: both dates, the score, the outlines of change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from changedet.palette import (
    NODATA_COLOUR,
    OUTLINE_COLOUR,
    OUTLINE_HALO_COLOUR,
    SCORE_RAMP,
)
from changedet.rendering.display import as_rgb
from changedet.rendering.tiles import Frame, Pixels, Tile, draw_tiles, sheet_frame

#: Of the longer side of the sheet, about.
LONGEST_PX = 1024
_TILES = 4
# Opacity of what surrounds an outline.
_SEAM = 0.7
_NO_DATA = (("no data", NODATA_COLOUR),)
_OUTLINES = (("outline of a change", OUTLINE_COLOUR),)


def preview_frame(shape: tuple[int, int]) -> Frame:
    """Lay out the sheet of a scene of a shape (height, width)."""
    return sheet_frame(shape, count=_TILES, longest_px=LONGEST_PX)


def draw_preview(
    before: NDArray[np.generic],
    after: NDArray[np.generic],
    *,
    score: NDArray[np.float32],
    outlines: NDArray[np.bool_],
    threshold: float,
) -> Pixels:
    """Draw the sheet: before, after, change score, and the outlines of the changes on after.

    Values that are not 8 bit are stretched from the 2nd to the 98th percentile of each date.

    Args:
        before: The earlier date, (h, w, C), any number of bands and any type.
        after: The same shape.
        score: Scores, (h, w), in [0, 1]; NaN where there is no data, which becomes grey.
        outlines: Where an outline runs, (H, W), of the size of :func:`preview_frame`.
        threshold: Score from which on a pixel counts as changed.

    Returns:
        The sheet, (H, W, 3).
    """
    frame = preview_frame(outlines.shape)
    is_missing = np.isnan(score)
    photos = [_painted(as_rgb(date), is_missing) for date in (before, after)]
    colours = score_colours(np.nan_to_num(score))
    height, width = outlines.shape
    ground = Image.fromarray(photos[1]).resize((width, height), Image.Resampling.BICUBIC)
    keys = _NO_DATA if is_missing.any() else ()
    return draw_tiles(
        [
            Tile("Before", photos[0], "photo", legend=keys),
            Tile("After", photos[1], "photo", legend=keys),
            Tile("Change score", _painted(colours, is_missing), "photo", ramp=score_colours(_RAMP)),
            Tile("Changes", draw_outlines(np.array(ground), outlines), "photo", legend=_OUTLINES),
        ],
        frame._replace(size=(width, height)),
        threshold=threshold,
    )


def draw_outlines(image: Pixels, outlines: NDArray[np.bool_]) -> Pixels:
    """Draw bright lines with a dark seam, which stand out from any ground.

    Args:
        image: (H, W, 3).
        outlines: Where a line runs, (H, W).

    Returns:
        A copy, (H, W, 3).
    """
    widened = Image.fromarray(outlines).convert("L").filter(ImageFilter.MaxFilter(3))
    seam = (np.asarray(widened) > 0) & ~outlines
    drawn = image.copy()
    dark = np.array(OUTLINE_HALO_COLOUR) * _SEAM
    drawn[seam] = np.rint(drawn[seam] * (1 - _SEAM) + dark).astype(np.uint8)
    drawn[outlines] = OUTLINE_COLOUR
    return drawn


def score_colours(score: NDArray[np.floating]) -> Pixels:
    """Colour scores, (H, W), in [0, 1]: dark where nothing changed, bright where all did."""
    steps = np.linspace(0.0, 1.0, len(SCORE_RAMP))
    channels = [np.interp(score, steps, channel) for channel in np.array(SCORE_RAMP).T]
    colours: Pixels = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return colours


_RAMP = np.linspace(0.0, 1.0, 256)[None]


def _painted(image: Pixels, is_missing: NDArray[np.bool_]) -> Pixels:
    painted = image.copy()
    painted[is_missing] = NODATA_COLOUR
    return painted
