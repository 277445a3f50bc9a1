"""How the rasters of a pair lie over each other, found out once for all who read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
from affine import Affine

from changedet.raster.pixel_map import PixelMap, Points

if TYPE_CHECKING:
    from changedet.raster.geo_grid import Window
    from changedet.raster.info import RasterInfo

ResamplingMethod: TypeAlias = Literal["nearest", "bilinear", "cubic"]

#: Grids that differ by less are read without resampling.
_SAME_PX: Final = 0.01
# Source pixels for one of the grid that averaging beforehand leaves at least.
_LEFT_PX: Final = 2


@dataclass(frozen=True)
class ReadPlan:
    """What was found out once and every thread reads by.

    Attributes:
        before: The earlier raster.
        after: The later raster.
        window: The common area, the grid that is read, in pixels of ``before``.
        resampling: How ``after`` is warped onto it.
        offset: (down, right) from a pixel of ``before`` to the one of ``after`` that covers just
            the same ground; None: there is none, ``after`` must be warped.
        origin: First pixel of the grid in pixels of ``before``, (down, right), shift included.
        source_px: Pixels of ``after`` for one pixel of the grid, along the (x, y) of ``after``.
        decimation: Pixels of ``after`` along each axis that are averaged before the warp.
    """

    before: RasterInfo
    after: RasterInfo
    window: Window
    resampling: ResamplingMethod
    offset: tuple[int, int] | None
    origin: tuple[float, float]
    source_px: tuple[float, float]
    decimation: int


def plan_reading(
    before: RasterInfo,
    after: RasterInfo,
    window: Window,
    *,
    resampling: ResamplingMethod,
    shift_px: tuple[float, float],
) -> ReadPlan:
    """Find out how to read the common area of two rasters.

    Args:
        before: The earlier raster.
        after: The later raster.
        window: The common area, in pixels of ``before``.
        resampling: How ``after`` is warped where it must be.
        shift_px: (down, right): what lies at p in ``before`` lies at p + shift in ``after``.
    """
    pixel_map = PixelMap(before, after)
    x, y = window.left + window.width / 2, window.top + window.height / 2
    at = pixel_map.to_after(Points(np.array([x, x + 1, x]), np.array([y, y, y + 1])))
    source_x = math.hypot(at.x[1] - at.x[0], at.x[2] - at.x[0])
    source_y = math.hypot(at.y[1] - at.y[0], at.y[2] - at.y[0])
    finest = max(1.0, min(source_x, source_y) / _LEFT_PX)
    return ReadPlan(
        before,
        after,
        window,
        resampling,
        offset=_whole_pixel_offset(pixel_map.affine, window, shift_px=shift_px),
        origin=(window.top + shift_px[0], window.left + shift_px[1]),
        source_px=(source_x, source_y),
        decimation=2 ** int(math.log2(finest)),
    )


def _whole_pixel_offset(
    affine: Affine | None, window: Window, *, shift_px: tuple[float, float]
) -> tuple[int, int] | None:
    """Give (down, right) from pixels of one grid to those of another, if it is whole everywhere.

    Args:
        affine: Map of pixel positions between the grids, None if it is not affine.
        window: Where it has to hold.
        shift_px: (down, right) that is added to every position first.
    """
    if affine is None:
        return None
    moved = affine @ Affine.translation(shift_px[1], shift_px[0])
    rights, downs = [], []
    for x in (window.left, window.right):
        for y in (window.top, window.bottom):
            there_x, there_y = moved @ (x, y)
            rights.append(there_x - x)
            downs.append(there_y - y)
    down, right = round(downs[0]), round(rights[0])
    errors = [abs(value - down) for value in downs] + [abs(value - right) for value in rights]
    return (down, right) if max(errors) < _SAME_PX else None
