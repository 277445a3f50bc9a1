"""Both rasters of a pair, opened for one thread."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from changedet.raster.geo_grid import Window
from changedet.raster.open import open_raster
from changedet.raster.pixels import Pixels, PixelSource
from changedet.raster.warp import WarpedView

if TYPE_CHECKING:
    from changedet.raster.info import RasterInfo
    from changedet.raster.read_plan import ReadPlan


class PairReaders:
    """Handles of both rasters, for one thread of one process."""

    def __init__(self, plan: ReadPlan) -> None:
        self.process = os.getpid()
        self._plan = plan
        with ExitStack() as opened:
            self._before = _open_source(plan.before, opened)
            self._after = _open_source(plan.after, opened)
            self._opened = opened.pop_all()
        self._view = WarpedView(self._after, plan)
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
