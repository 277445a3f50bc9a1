"""Two rasters of the same ground, read on one grid."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from changedet.raster.align import Coverage, Overlap, find_overlap, seen_window
from changedet.raster.alignment import require_comparable, require_placed
from changedet.raster.bands import choose_bands
from changedet.raster.environment import gdal_environment
from changedet.raster.facts import PairFacts
from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.info import RasterInfo, read_info
from changedet.raster.layers import split_layer
from changedet.raster.open import is_same_source, open_raster, reading
from changedet.raster.pair_values import PairValues, survey_pair
from changedet.raster.pixel_map import PixelMap
from changedet.raster.pixel_rules import Alpha, NoData, PixelRules, check_nodata
from changedet.raster.pixels import Pixels, PixelValues
from changedet.raster.place_facts import find_place_facts
from changedet.raster.read_plan import ReadPlan, ResamplingMethod, plan_reading
from changedet.raster.readers import PairReaders
from changedet.raster.rescale import Limits, measure_limits, stretch
from changedet.raster.value_types import ANY_TYPE, needs_stretch, require_stretch_in_order

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

__all__ = ("Coverage", "PairOptions", "PairPixels", "RasterPair", "check_pair")


class PairPixels(NamedTuple):
    """Pixels of both dates on one grid.

    Attributes:
        before: (h, w, C), uint8 or float32.
        after: The same.
        valid: (h, w), True where both dates hold data; elsewhere both hold 0.
    """

    before: PixelValues
    after: PixelValues
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class PairOptions:
    """How the two rasters are read.

    Attributes:
        channels: Bands that the model takes.
        pixel_type: Type of the values it was trained on: "uint8", "uint16", "float32"...; "any"
            for what was not trained.
        bands: Bands of both dates in the model's order, numbered from 1; None: all but alpha.
        bands_after: Bands of the later date, if they are numbered otherwise there.
        stretch: Values that become 0 and 255 for a model of 8 bit; "auto": the 2nd and the 98th
            percentile, measured for each date. Dates stored in 8 bit stay as they are.
        resampling: How ``after`` is brought onto the grid of ``before``.
        shift_px: (down, right): what lies at p in ``before`` lies at p + shift in ``after``.
        nodata: What marks missing pixels besides what the files declare: a value in both dates,
            "none", or "auto", what a sample of each date shows to be certain.
        alpha: Whether an alpha band tells which pixels hold data: "mask", "ignore", or "auto", if
            it looks like one.
        rules: How the pixels of each date are read, where that was found out before: no sample is
            looked at then.
    """

    channels: int = 3
    pixel_type: str = "uint8"
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    stretch: Limits | Literal["auto"] | None = None
    resampling: ResamplingMethod = "bilinear"
    shift_px: tuple[float, float] = (0.0, 0.0)
    nodata: NoData = "auto"
    alpha: Alpha = "auto"
    rules: tuple[PixelRules, PixelRules] | None = None


class RasterPair:
    """Two rasters on the pixels of the earlier one, cropped to what they have in common.

    The later one may lie on any other grid: it is warped while it is read. ``read`` may be called
    from many threads, and after a fork; every thread opens its own files, ``close`` closes all.

    Args:
        before: Path or address of the earlier raster, see :func:`open_raster`.
        after: The same of the later one.
        options: Which bands are read, and how.

    Attributes:
        grid: The common area, on pixels of ``before``.
        before: What is known of the earlier raster.
        after: What is known of the later one.
        coverage: Shares of the rasters that are common.
        facts: What the user should know of how they are read.
        stretch_used: Limits of the stretch of each date (None: not stretched), or None.

    Raises:
        DataError: If the two cannot be compared (ImageError: if it is the fault of one file).
        ConfigError: If bands or types do not fit the model.
    """

    def __init__(self, before: str, after: str, options: PairOptions) -> None:
        require_stretch_in_order(options.stretch)
        check_nodata(options.nodata)
        self._options = options
        self._local = threading.local()
        self._lock = threading.Lock()
        self._opened: list[tuple[threading.Thread, PairReaders]] = []
        self._is_closed = False
        with gdal_environment():
            self.before, self.after = _info_of_both(before, after, options)
            overlap, pixel_map, needed = _compare(self.before, self.after, options)
            self.coverage = overlap.coverage
            whole = self.before
            self.grid = GeoGrid(whole.crs, whole.transform, *whole.shape).crop(overlap.window)
            self._plan = self._make_plan(overlap.window)
            self._values = self._survey(
                (overlap.window, seen_window(overlap.window, self.after, pixel_map))
            )
            self._limits = self._find_limits(needed)
        self.stretch_used = self._limits if any(needed) else None
        self.facts = self._find_facts()

    def read(self, window: Window) -> PairPixels:
        """Read a window of ``grid``; the same pixels come out whatever window holds them.

        Raises:
            ImageError: If a file is damaged or its server fails.
            ValueError: If the window does not lie inside the grid, or the pair is closed.
        """
        if window.intersect(self.grid.window) != window:
            raise ValueError(f"{window} does not lie inside a grid of {self.grid.shape}")
        with gdal_environment():
            readers = self._readers()
            before, after = readers.before(window), readers.after(window)
        valid = before.valid & after.valid
        return PairPixels(
            _finish(before, valid, self._limits[0]), _finish(after, valid, self._limits[1]), valid
        )

    def read_reduced(self, window: Window, *, longest_px: int) -> PairPixels:
        """Read a window of ``grid`` at a lower resolution, from overviews if there are any.

        Memory does not grow with the window. Up to one pixel of the result is cut off at the
        right and at the bottom.

        Args:
            window: Inside ``grid``.
            longest_px: The longer side of the result has at least so many pixels, and less than
                twice as many, if the window has them.

        Raises:
            ImageError: If a file is damaged or its server fails.
        """
        step = max(1, min(max(window.shape) // longest_px, min(window.shape)))
        height, width = (side // step * step for side in window.shape)
        with gdal_environment():
            readers = self._readers()
            before, after = readers.reduced(Window(window.top, window.left, height, width), step)
        valid = before.valid & after.valid
        return PairPixels(
            _finish(before, valid, self._limits[0]), _finish(after, valid, self._limits[1]), valid
        )

    def with_shift(self, shift_px: tuple[float, float]) -> RasterPair:
        """Give the same pair on the same grid with another correction, to be closed by itself.

        Pixels that ``after`` cannot supply then are not valid.
        """
        other = RasterPair.__new__(RasterPair)
        other.__dict__.update(self.__dict__)
        other._options = replace(self._options, shift_px=shift_px)
        other._local, other._lock = threading.local(), threading.Lock()
        other._opened, other._is_closed = [], False
        with gdal_environment():
            other._plan = other._make_plan(self._plan.window)
        other.facts = other._find_facts()
        return other

    def close(self) -> None:
        """Close the files of all threads; none may be reading."""
        with self._lock:
            self._is_closed = True
            opened, self._opened = self._opened, []
        _close_own([readers for _, readers in opened])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _make_plan(self, window: Window) -> ReadPlan:
        return plan_reading(
            self.before,
            self.after,
            window,
            resampling=self._options.resampling,
            shift_px=self._options.shift_px,
        )

    @property
    def rules(self) -> tuple[PixelRules, PixelRules]:
        """How the pixels of each date are read."""
        return self._values.rules

    def _survey(self, areas: tuple[Window, Window]) -> PairValues:
        options = self._options
        if options.rules is not None:
            return PairValues(options.rules)
        return survey_pair(
            (self.before, self.after),
            areas,
            nodata=options.nodata,
            alpha=options.alpha,
            pixel_type=options.pixel_type,
        )

    def _readers(self) -> PairReaders:
        """Give this thread's handles; those of a parent process share its file positions."""
        readers: PairReaders | None = getattr(self._local, "readers", None)
        if self._is_closed:
            raise ValueError("the raster pair is closed")
        if readers is None or readers.process != os.getpid():
            readers = PairReaders(self._plan, self.rules)
            self._local.readers = readers
            with self._lock:
                over = [old for thread, old in self._opened if not thread.is_alive()]
                self._opened = [entry for entry in self._opened if entry[0].is_alive()]
                self._opened.append((threading.current_thread(), readers))
            # Who reads in ever new threads would run out of file handles.
            _close_own(over)
        return readers

    def _find_limits(self, needed: list[bool]) -> tuple[Limits | None, Limits | None]:
        wanted = self._options.stretch
        if wanted != "auto":
            return (wanted if needed[0] else None), (wanted if needed[1] else None)
        whole, readers = self.grid.window, self._readers()
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            before, after = (
                measure_limits(read, whole, location=raster.location) if is_needed else None
                for read, raster, is_needed in zip(
                    (readers.before, readers.after), (self.before, self.after), needed, strict=True
                )
            )
            on_failure.pop_all()
        return before, after

    def _find_facts(self) -> PairFacts:
        names_page = any(
            split_layer(raster.location)[1] is not None for raster in (self.before, self.after)
        )
        trained_on = self._options.pixel_type
        types = [(raster.name, raster.dtype) for raster in (self.before, self.after)]
        return PairFacts(
            before=self.before.name,
            after=self.after.name,
            place=find_place_facts(self.before, self.after, self.grid),
            source_px=self._plan.source_px,
            is_same_source=is_same_source(self.before.location, self.after.location),
            further_pages=tuple(
                (raster.name, raster.pages)
                for raster in (self.before, self.after)
                if raster.pages > 1 and not names_page
            ),
            resampled=self._options.resampling if self._plan.offset is None else None,
            is_stretch_unused=self._options.stretch is not None and self.stretch_used is None,
            trained_on=trained_on,
            values=self._values.stretched(self._limits),
            are_bands_chosen=self._options.bands is not None,
            is_stretch_automatic=self._options.stretch == "auto",
            is_mask_asked=self._options.alpha == "mask",
            other_types=tuple(
                (name, dtype)
                for name, dtype in types
                if trained_on not in ("uint8", ANY_TYPE, dtype)
            ),
        )


def check_pair(before: str, after: str, options: PairOptions) -> Coverage:
    """Find out from the headers of two rasters whether they can be a :class:`RasterPair`.

    Args:
        before: Path or address of the earlier raster.
        after: The same of the later one.
        options: How they will be read.

    Returns:
        Shares of the rasters that are common.

    Raises:
        DataError: If the two cannot be compared (ImageError: if it is the fault of one file).
        ConfigError: If bands or types do not fit the model.
    """
    with gdal_environment():
        rasters = _info_of_both(before, after, options)
        return _compare(*rasters, options)[0].coverage


def _compare(
    before: RasterInfo, after: RasterInfo, options: PairOptions
) -> tuple[Overlap, PixelMap, list[bool]]:
    """Lay one raster over the other, and tell whether the values of each must be stretched."""
    require_comparable(before, after)
    needed = [
        needs_stretch(raster, pixel_type=options.pixel_type, stretch=options.stretch)
        for raster in (before, after)
    ]
    pixel_map = PixelMap(before, after)
    return find_overlap(before, after, pixel_map), pixel_map, needed


def _close_own(opened: Iterable[PairReaders]) -> None:
    """Close handles, but not those that a parent process has left to this one."""
    for readers in opened:
        if readers.process == os.getpid():
            readers.close()


def _info_of_both(before: str, after: str, options: PairOptions) -> tuple[RasterInfo, RasterInfo]:
    setting_after = "bands" if options.bands_after is None else "bands_after"
    return (
        _facts_of(before, options.bands, options, setting="bands"),
        _facts_of(after, options.bands_after or options.bands, options, setting=setting_after),
    )


def _facts_of(
    location: str, wanted: tuple[int, ...] | None, options: PairOptions, *, setting: str
) -> RasterInfo:
    with open_raster(location) as dataset, reading(location):
        require_placed(dataset, location)
        bands = choose_bands(
            dataset, wanted, channels=options.channels, location=location, setting=setting
        )
        return read_info(dataset, location=location, bands=bands)


def _finish(pixels: Pixels, valid: NDArray[np.bool_], limits: Limits | None) -> PixelValues:
    """Stretch, put zeros where either date holds no data, and put channels last."""
    values = pixels.values if limits is None else stretch(pixels.values, limits)
    # A copy with channels last, which may be written to; band by band, which is much faster.
    finished: PixelValues = np.empty((*values.shape[1:], len(values)), values.dtype)
    for channel, band in enumerate(values):
        finished[..., channel] = band
    if not valid.all():
        finished[~valid] = 0
    return finished
