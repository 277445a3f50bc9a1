"""Both rasters of a pair, opened for one thread."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from affine import Affine

from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.open import open_raster
from changedet.raster.pixel_map import PixelMap
from changedet.raster.pixels import Pixels, PixelSource
from changedet.raster.warp import Placement, ResamplingMethod, WarpedView

if TYPE_CHECKING:
    from changedet.raster.info import RasterInfo

#: Grids that differ by less are read without resampling.
_SAME_PX: Final = 0.01


@dataclass(frozen=True)
class ReadPlan:
    """What was found out once and every thread reads by.

    Attributes:
        before: The earlier raster.
        after: The later raster.
        window: The common area, in pixels of ``before``.
        placement: How ``after`` is warped onto it.
        offset: (down, right) from a pixel of ``before`` to the one of ``after`` that covers just
            the same ground; None: there is none, ``after`` must be warped.
        resampling: How it is warped.
    """

    before: RasterInfo
    after: RasterInfo
    window: Window
    placement: Placement
    offset: tuple[int, int] | None
    resampling: ResamplingMethod


class PairReaders:
    """Handles of both rasters, for one thread of one process."""

    def __init__(self, plan: ReadPlan) -> None:
        self.process = os.getpid()
        self._plan = plan
        with ExitStack() as opened:
            self._before = _open_source(plan.before, opened)
            self._after = _open_source(plan.after, opened)
            self._opened = opened.pop_all()
        self._view = WarpedView(
            self._after,
            PixelMap(plan.before, plan.after),
            placement=plan.placement,
            before=GeoGrid(plan.before.crs, plan.before.transform, *plan.before.shape),
            window=plan.window,
            method=plan.resampling,
        )
        self._opened.callback(self._view.close)

    def before(self, window: Window) -> Pixels:
        """Read a window of the common area from the earlier raster."""
        return self._before.read(window.moved(self._plan.window.top, self._plan.window.left))

    def after(self, window: Window) -> Pixels:
        """Read the same window from the later raster, on the same grid."""
        if self._plan.offset is None:
            return self._view.read(window)
        place = window.moved(self._plan.window.top, self._plan.window.left)
        return _read_within(self._after, place.moved(*self._plan.offset))

    def close(self) -> None:
        """Close both files and free what belongs to them."""
        self._opened.close()


def whole_pixel_offset(
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


def _open_source(raster: RasterInfo, opened: ExitStack) -> PixelSource:
    dataset = opened.enter_context(open_raster(raster.location))
    return PixelSource(dataset, raster.bands, location=raster.location)


def _read_within(source: PixelSource, window: Window) -> Pixels:
    """Read a window that may reach beyond the raster; pixels out there are not valid."""
    inside = window.intersect(Window(0, 0, source.dataset.height, source.dataset.width))
    if inside == window:
        return source.read(window)
    values = np.zeros((source.count, *window.shape), source.dtype)
    valid = np.zeros(window.shape, np.bool_)
    if inside is not None:
        part = source.read(inside)
        top, left = inside.top - window.top, inside.left - window.left
        place = slice(top, top + inside.height), slice(left, left + inside.width)
        values[:, *place] = part.values
        valid[place] = part.valid
    return Pixels(values, valid)
