"""Estimate the shift between the dates of a scene from tiles spread over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.shift import (
    MIN_TILE_PX,
    MIN_VALID,
    TileShift,
    combine_shifts,
    measure_shift,
)
from changedet.raster.shift_estimate import ShiftEstimate

if TYPE_CHECKING:
    from changedet.raster.pair import PairPixels

#: Steps of the sequence R2 (Roberts, 2018), whose every beginning covers the unit square evenly.
STEP_DOWN, STEP_RIGHT = 0.7548776662466927, 0.5698402909980532
#: Tiles of small scenes are not made smaller than this.
SMALL_TILE_PX = 64
#: Shifts below this share of a pixel of the coarser date are not taken back where that alone would
#: make resampling necessary, which softens an image.
MIN_CORRECTED_PX = 0.25
#: Windows in which the dates are compared for being the same, and how many.
COMPARED_PX = 256
COMPARED_PLACES = 9
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


class Correction(NamedTuple):
    """What is done about the shift between the dates.

    Attributes:
        shift_px: (down, right) that is taken back; None: nothing is.
        remaining: What was measured after that, or would have been; None: it was not measured.
        refusal: Why nothing is taken back though it was asked for.
    """

    shift_px: tuple[float, float] | None = None
    remaining: ShiftEstimate | None = None
    refusal: Literal["unknown", "small", "uncertain", "worse"] | None = None


def check_correction(
    shift: ShiftEstimate | None,
    measure_corrected: Callable[[tuple[float, float]], ShiftEstimate | None],
    *,
    smallest_px: float = MIN_CORRECTED_PX,
) -> Correction:
    """Decide whether to take a shift back, by measuring again what that would leave.

    Args:
        shift: As measured; None: it could not be.
        measure_corrected: Measures the dates with a correction (down, right).
        smallest_px: Shifts below this are left, in pixels; 0 where ``after`` is resampled anyway.
    """
    if shift is None:
        return Correction(refusal="unknown")
    if shift.length_px < smallest_px:
        return Correction(refusal="small")
    if shift.length_px < shift.error_px:
        return Correction(refusal="uncertain")
    taken = shift.down_px, shift.right_px
    remaining = measure_corrected(taken)
    if remaining is None or remaining.length_px >= shift.length_px:
        return Correction(remaining=remaining, refusal="worse")
    return Correction(taken, remaining)


def are_dates_identical(read: Callable[[Window], PairPixels], grid: GeoGrid) -> bool:
    """Tell whether both dates hold the same values, from windows spread over a scene.

    Windows without data tell nothing; of ordinary dates, the first with data decides.

    Args:
        read: Gives the pixels of a window of the grid.
        grid: The scene.

    Raises:
        DataError: If a raster cannot be read.
    """
    has_data = False
    for window in spread_windows(grid.shape, tile_px=COMPARED_PX, places=COMPARED_PLACES):
        before, after, valid = read(window)
        if not np.array_equal(before, after):
            return False
        has_data |= bool(valid.any())
    return has_data


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
