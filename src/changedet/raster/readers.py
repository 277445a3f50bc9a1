"""Both rasters of a pair, opened for one thread."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine

from changedet.raster.geo_grid import Window
from changedet.raster.open import open_raster
from changedet.raster.pixels import Pixels, PixelSource
from changedet.raster.read_plan import plan_reading
from changedet.raster.warp import WarpedView

if TYPE_CHECKING:
    from changedet.raster.info import RasterInfo
    from changedet.raster.pixel_rules import PixelRules
    from changedet.raster.read_plan import ReadPlan


class PairReaders:
    """Handles of both rasters, for one thread of one process."""

    def __init__(self, plan: ReadPlan, rules: tuple[PixelRules, PixelRules]) -> None:
        self.process = os.getpid()
        self._plan = plan
        with ExitStack() as opened:
            self._before = _open_source(plan.before, opened, rules=rules[0])
            self._after = _open_source(plan.after, opened, rules=rules[1])
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

    def reduced(self, window: Window, step: int) -> tuple[Pixels, Pixels]:
        """Read a window of the common area, averaging ``step`` pixels along each axis.

        Args:
            window: Its sides are multiples of ``step``.
            step: Pixels of the grid along each axis that become one.

        Returns:
            Both dates, (C, h / step, w / step).
        """
        plan = self._plan
        place = window.moved(plan.window.top, plan.window.left)
        before = self._before.read(place, decimation=step)
        if plan.offset is not None or plan.before.crs is None:
            # A shift that was corrected leaves the raster; less than a pixel of the result.
            down, right = plan.offset or (0, 0)
            top = min(max(place.top + down, 0), plan.after.height - place.height)
            left = min(max(place.left + right, 0), plan.after.width - place.width)
            moved = Window(top, left, *place.shape)
            return before, self._after.read(moved, decimation=step)
        shift = plan.origin[0] - plan.window.top, plan.origin[1] - plan.window.left
        transform = plan.before.transform @ Affine.translation(place.left, place.top)
        coarse = replace(
            plan.before,
            transform=transform @ Affine.scale(step),
            height=place.height // step,
            width=place.width // step,
        )
        reduced = plan_reading(
            coarse,
            plan.after,
            Window(0, 0, *coarse.shape),
            resampling=plan.resampling,
            shift_px=(shift[0] / step, shift[1] / step),
        )
        return before, WarpedView(self._after, reduced).read(reduced.window)

    def close(self) -> None:
        """Close both files and free what belongs to them."""
        self._opened.close()


def _open_source(raster: RasterInfo, opened: ExitStack, *, rules: PixelRules) -> PixelSource:
    dataset = opened.enter_context(open_raster(raster.location))
    return PixelSource(dataset, raster.bands, location=raster.location, rules=rules)


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
