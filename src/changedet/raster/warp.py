"""Read one raster on the grid of another one, the same pixels whatever the window.

The view is warped in cells of a fixed lattice, each from just the source pixels that it needs,
hence neither memory nor the result depends on the window that was asked for. What GDAL warps is
pixels as :mod:`changedet.raster.pixels` reads them with an alpha band of its making, not the file:
by itself, GDAL blends NaN and other undeclared values into their neighbours, looks at one kind of
mask only, and reads all pixels of a much finer raster, which may have overviews.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from changedet.raster.align import outline
from changedet.raster.geo_grid import Window
from changedet.raster.pixel_map import PixelMap, Points
from changedet.raster.pixels import Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from changedet.raster.pixels import PixelSource, PixelValues
    from changedet.raster.read_plan import ReadPlan, ResamplingMethod

#: Side of a lattice cell: large enough that what a call costs does not count.
CELL_PX: Final = 256
# What the cells that are kept may take, for each thread.
_SEEN_BYTES: Final = 16 * 2**20
# Source pixels on each side that a method looks at, at equal resolution.
_REACH: Final = {"nearest": 1, "bilinear": 1, "cubic": 2}
# Source pixels for one of the grid from which on the filter is widened, to average all of them.
_WIDENED_FROM: Final = 1.25
# EPSG code of any projected CRS: where the rasters have the same one, positions are of pixels.
_PIXELS: Final = 3857
# GDAL takes the identity for "no place", and so it must not come up.
_APART: Final = Affine.translation(4096, 4096)
_OPAQUE: Final = 255


class WarpedView:
    """One raster on the grid of another one. One thread may use it."""

    def __init__(self, source: PixelSource, plan: ReadPlan) -> None:
        self._source = source
        self._plan = plan
        self._map = PixelMap(plan.before, plan.after)
        self._whole = Window(0, 0, *plan.window.shape)
        self._seen: OrderedDict[Window, Pixels | None] = OrderedDict()
        cell_bytes = CELL_PX**2 * (source.count * source.dtype.itemsize + 1)
        self._most_seen = max(1, _SEEN_BYTES // cell_bytes)
        step = plan.decimation
        # A filter widened by a little samples unevenly (0.03 px) and averages next to nothing.
        x_scale, y_scale = (
            1.0 if number / step < _WIDENED_FROM else step / number for number in plan.source_px
        )
        self._scale = x_scale, y_scale
        reach = [_REACH[plan.resampling] / scale for scale in self._scale]
        self._margin = [math.ceil(number) + 2 for number in reach]
        if self._map.affine is None:
            self._crs = source.dataset.crs, CRS.from_wkt(plan.before.crs)
        else:
            self._crs = CRS.from_epsg(_PIXELS), CRS.from_epsg(_PIXELS)

    def read(self, window: Window) -> Pixels:
        """Read a window of the grid; pixels that the raster cannot supply are not valid."""
        count = self._source.count
        values = np.zeros((count, *window.shape), self._source.dtype)
        valid = np.zeros(window.shape, np.bool_)
        for cell, part in lattice_cells(window):
            pixels = self._cell(cell)
            if pixels is not None:
                to, of = _slices(part, inside=window), _slices(part, inside=cell)
                values[:, *to] = pixels.values[:, *of]
                valid[to] = pixels.valid[of]
        return Pixels(values, valid)

    def close(self) -> None:
        """Free what is kept in memory."""
        self._seen.clear()

    def _cell(self, cell: Window) -> Pixels | None:
        """Give a cell, of those last seen if it is one: windows that are read overlap."""
        if cell in self._seen:
            self._seen.move_to_end(cell)
        else:
            self._seen[cell] = self._warp(cell)
            if len(self._seen) > self._most_seen:
                self._seen.popitem(last=False)
        return self._seen[cell]

    def _warp(self, cell: Window) -> Pixels | None:
        needed = self._needed(cell)
        if needed is None:
            return None
        step = self._plan.decimation
        given = self._source.read(needed, decimation=step)
        if not given.valid.any():
            return None
        places = self._places(cell, needed)
        return resample(
            given, places, crs=self._crs, method=self._plan.resampling, scale=self._scale
        )

    def _needed(self, cell: Window) -> Window | None:
        """Find the source pixels that a cell is made of."""
        ring = outline(cell.intersect(self._whole) or cell)
        down, right = self._plan.origin
        at = self._map.to_after(Points(ring.x + right, ring.y + down))
        if not at.exists.any():
            return None
        step = self._plan.decimation
        spans = []
        sizes = (self._source.dataset.width, self._source.dataset.height)
        for places, margin, size in zip(at, self._margin, sizes, strict=True):
            values = places[at.exists]
            first = max(0, math.floor(values.min() / step) - margin)
            last = min(size // step, math.ceil(values.max() / step) + margin)
            spans.append((first * step, (last - first) * step))
        (left, width), (top, height) = spans
        return Window(top, left, height, width) if min(width, height) > 0 else None

    def _places(self, cell: Window, needed: Window) -> tuple[Affine, Affine]:
        """Give the transforms of the source pixels and of a cell."""
        down, right = self._plan.origin
        to_before = Affine.translation(cell.left + right, cell.top + down)
        step = self._plan.decimation
        to_source = Affine.translation(needed.left, needed.top) @ Affine.scale(step)
        affine = self._map.affine
        if affine is not None:
            return _APART @ to_source, _APART @ affine @ to_before
        return (
            self._source.dataset.transform @ to_source,
            self._plan.before.transform @ to_before,
        )


def resample(
    pixels: Pixels,
    places: tuple[Affine, Affine],
    *,
    crs: tuple[CRS, CRS],
    method: ResamplingMethod,
    scale: tuple[float, float] = (1.0, 1.0),
) -> Pixels:
    """Carry pixels onto one cell of another grid; missing ones are left out and not blended in.

    Args:
        pixels: What is given.
        places: Transform of what is given, and of the cell.
        crs: CRS of what is given, and of the cell.
        method: How to resample.
        scale: Along (x, y), below 1 where the filter is widened to average.

    Returns:
        The cell, (C, CELL_PX, CELL_PX); a pixel is valid if the given pixel that holds its centre
        is.
    """
    alpha = len(pixels.values) + 1
    opaque = np.where(pixels.valid, _OPAQUE, 0).astype(pixels.values.dtype)
    height, width = pixels.valid.shape
    with MemoryFile() as file:
        # Without the CRS: to write and read it again takes longer than the pixels.
        with file.open(
            driver="GTiff",
            height=height,
            width=width,
            count=alpha,
            dtype=opaque.dtype,
            transform=places[0],
            interleave="band",
            blockysize=height,
        ) as stored:
            stored.write(np.concatenate([pixels.values, opaque[np.newaxis]]))
        with (
            file.open() as source,
            WarpedVRT(
                source,
                src_crs=crs[0],
                crs=crs[1],
                transform=places[1],
                width=CELL_PX,
                height=CELL_PX,
                resampling=Resampling[method],
                src_alpha=alpha,
                dst_alpha=alpha,
                nodata=None,
                SRC_ALPHA_MAX=_OPAQUE,
                DST_ALPHA_MAX=_OPAQUE,
                # Otherwise GDAL derives the width of its filter from the sizes of the two images.
                XSCALE=scale[0],
                YSCALE=scale[1],
            ) as warped,
        ):
            stack: PixelValues = warped.read()
    valid = stack[-1] > 0
    values = stack[:-1]
    values[:, ~valid] = 0
    return Pixels(values, valid)


def lattice_cells(window: Window) -> Iterator[tuple[Window, Window]]:
    """Give the cells of the fixed lattice that a window touches, each with the part it shares."""
    for top in range(window.top // CELL_PX * CELL_PX, window.bottom, CELL_PX):
        for left in range(window.left // CELL_PX * CELL_PX, window.right, CELL_PX):
            cell = Window(top, left, CELL_PX, CELL_PX)
            part = cell.intersect(window)
            if part is not None:
                yield cell, part


def _slices(part: Window, *, inside: Window) -> tuple[slice, slice]:
    top, left = part.top - inside.top, part.left - inside.left
    return slice(top, top + part.height), slice(left, left + part.width)
