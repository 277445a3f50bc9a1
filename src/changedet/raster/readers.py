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
    from changedet.raster.pixel_rules import PixelRules
    from changedet.raster.read_plan import ReadPlan


class BeforeReader:
    """The earlier raster, whose pixels are those of the common area."""

    def __init__(self, source: PixelSource, plan: ReadPlan) -> None:
        self._source = source
        self._plan = plan

    def read(self, window: Window) -> Pixels:
        """Read a window of the common area."""
        return self._source.read(_in_before(window, self._plan))

    def reduced(self, window: Window, step: int) -> Pixels:
        """Read a window of the common area, averaging ``step`` pixels along each axis.

        Args:
            window: Its sides are multiples of ``step``.
            step: Pixels of the grid along each axis that become one.

        Returns:
            Pixels, (C, h / step, w / step).
        """
        return self._source.read(_in_before(window, self._plan), decimation=step)


class AfterReader:
    """The later raster, brought onto the pixels of the common area."""

    def __init__(self, source: PixelSource, plan: ReadPlan) -> None:
        self._source = source
        self._plan = plan
        self._view = WarpedView(source, plan)

    def read(self, window: Window) -> Pixels:
        """Read a window of the common area."""
        if self._plan.offset is None:
            return self._view.read(window)
        place = _in_before(window, self._plan)
        return _read_within(self._source, place.moved(*self._plan.offset))

    def reduced(self, window: Window, step: int) -> Pixels:
        """Read a window at a lower resolution, see :meth:`BeforeReader.reduced`."""
        plan = self._plan
        place = _in_before(window, plan)
        if plan.offset is not None or plan.before.crs is None:
            # A shift that was corrected leaves the raster; less than a pixel of the result.
            down, right = plan.offset or (0, 0)
            top = min(max(place.top + down, 0), plan.after.height - place.height)
            left = min(max(place.left + right, 0), plan.after.width - place.width)
            return self._source.read(Window(top, left, *place.shape), decimation=step)
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
        return WarpedView(self._source, reduced).read(reduced.window)

    def close(self) -> None:
        """Free what is kept in memory."""
        self._view.close()


class PairReaders:
    """Handles of both rasters, for one thread of one process."""

    def __init__(self, plan: ReadPlan, rules: tuple[PixelRules, PixelRules]) -> None:
        self.process = os.getpid()
        with ExitStack() as opened:
            before, after = (
                PixelSource(
                    opened.enter_context(open_raster(raster.location)),
                    raster.bands,
                    location=raster.location,
                    rules=rule,
                )
                for raster, rule in zip((plan.before, plan.after), rules, strict=True)
            )
            self._opened = opened.pop_all()
        self._before = BeforeReader(before, plan)
        self._after = AfterReader(after, plan)
        self._opened.callback(self._after.close)

    def before(self, window: Window) -> Pixels:
        """Read a window of the common area from the earlier raster."""
        return self._before.read(window)

    def after(self, window: Window) -> Pixels:
        """Read the same window from the later raster, on the same grid."""
        return self._after.read(window)

    def reduced(self, window: Window, step: int) -> tuple[Pixels, Pixels]:
        """Read a window of both rasters at a lower resolution, see :class:`BeforeReader`."""
        return self._before.reduced(window, step), self._after.reduced(window, step)

    def close(self) -> None:
        """Close both files and free what belongs to them."""
        self._opened.close()


def _in_before(window: Window, plan: ReadPlan) -> Window:
    return window.moved(plan.window.top, plan.window.left)


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
