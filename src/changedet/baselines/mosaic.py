"""Maps that are computed tile by tile, so that memory does not grow with what one tile needs."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changedet.raster.grid import blend_weights, tiles


def compute_in_tiles(
    compute: Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float32]],
    before: NDArray[Any],
    after: NDArray[Any],
    *,
    tile_px: int,
    overlap_px: int,
) -> NDArray[np.float32]:
    """Compute a map of two images from maps of their tiles.

    Args:
        compute: Gives the map, (h, w), of two tiles, (h, w, C), at most ``tile_px`` high and wide.
        before: (H, W, C).
        after: The same shape.
        tile_px: Height and width of a tile; an image that is smaller is one tile along that axis.
        overlap_px: Pixels that neighbours share at least, over which they are blended;
            with 0, every pixel comes from exactly one tile.

    Returns:
        The map, (H, W).
    """
    shape = (before.shape[0], before.shape[1])
    height, width = (min(tile_px, length) for length in shape)
    rows = blend_weights(shape[0], size=height, overlap=overlap_px).astype(np.float32)
    columns = blend_weights(shape[1], size=width, overlap=overlap_px).astype(np.float32)
    whole = np.zeros(shape, np.float32)
    for tile in tiles(shape, size=(height, width), overlap=overlap_px):
        window = np.s_[tile.top : tile.top + height, tile.left : tile.left + width]
        weights = rows[tile.row, :, None] * columns[tile.column]
        whole[window] += weights * compute(before[window], after[window])
    return whole
