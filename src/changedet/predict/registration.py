"""Estimate the shift between the dates of a scene from tiles spread over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.shift import (
    MIN_TILE_PX,
    MIN_VALID,
    ShiftEstimate,
    TileShift,
    combine_shifts,
    measure_shift,
)

if TYPE_CHECKING:
    from changedet.raster.pair import PairPixels

#: Steps of the sequence R2 (Roberts, 2018), whose every beginning covers the unit square evenly.
STEP_DOWN, STEP_RIGHT = 0.7548776662466927, 0.5698402909980532
#: Tiles of small scenes are not made smaller than this.
SMALL_TILE_PX = 64
#: Places that are looked at, per tile, before the rest of the scene is taken to be empty as well.
PLACES_PER_TILE = 4


def estimate_shift(
    read: Callable[[Window], PairPixels], grid: GeoGrid, *, tiles: int = 25, tile_px: int = 512
) -> ShiftEstimate | None:
    """Estimate the shift between the dates from tiles spread evenly over a scene.

    The same scene always gives the same tiles. Those with too little data in common do not count;
    others are tried in their place. One tile is held in memory at a time.

    Args:
        read: Gives the pixels of a window of the grid.
        grid: The scene.
        tiles: How many tiles with data are looked at.
        tile_px: Height and width of a tile. In a scene of less than twice that, tiles are half as
            high or wide as the scene, and overlap.

    Returns:
        The shift in pixels of the grid; None if too few tiles could be measured, or if they do not
        agree.

    Raises:
        ValueError: If ``tiles`` is not positive or ``tile_px`` too small to be matched.
        DataError: If a raster cannot be read.
    """
    if tiles < 1:
        raise ValueError(f"tiles must be at least 1, got {tiles}")
    if tile_px < MIN_TILE_PX:
        raise ValueError(f"tile_px must be at least {MIN_TILE_PX}, got {tile_px}")
    shifts: list[TileShift] = []
    tried = 0
    for window in spread_windows(grid.shape, tile_px=tile_px, places=PLACES_PER_TILE * tiles):
        before, after, valid = read(window)
        if valid.mean() < MIN_VALID:
            continue
        tried += 1
        shift = measure_shift(before, after, valid)
        if shift is not None:
            shifts.append(shift)
        if tried == tiles:
            break
    return combine_shifts(shifts, tried=tried)


def spread_windows(shape: tuple[int, int], *, tile_px: int, places: int) -> Iterator[Window]:
    """Spread windows evenly over a scene, the first in its middle, no two alike.

    Args:
        shape: Height and width of the scene.
        tile_px: Height and width of a window, less in small scenes.
        places: How many are given at most.
    """
    height, width = (_fitting(length, tile_px) for length in shape)
    seen = set()
    for index in range(places):
        down, right = (math.modf(0.5 + index * step)[0] for step in (STEP_DOWN, STEP_RIGHT))
        top, left = round(down * (shape[0] - height)), round(right * (shape[1] - width))
        if (top, left) not in seen:
            seen.add((top, left))
            yield Window(top, left, height, width)


def _fitting(length: int, tile_px: int) -> int:
    """Make tiles of a small scene so small that there are several different ones."""
    return min(tile_px, max(length // 2, min(length, SMALL_TILE_PX)))
