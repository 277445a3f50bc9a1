"""Decide which polygons of a scene are kept, and in which shape."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

from changedet.raster.geo_grid import GeoGrid, Window
from changedet.vector.area import DEFAULT_AREA_PX as DEFAULT_AREA_PX
from changedet.vector.area import areas_m2
from changedet.vector.holes import HoleFiller
from changedet.vector.outlines import Change
from changedet.vector.simplify import simplify_tables
from changedet.vector.table import PolygonTable, batches

Format: TypeAlias = Literal["gpkg", "geoparquet", "geojson"]

Measure: TypeAlias = Callable[[NDArray[np.object_]], NDArray[np.float64]]

_BATCH: Final = 20_000
# Areas of outlines along pixel edges are whole numbers of pixels but for rounding.
_AREA_DIGITS: Final = 6


@dataclass(frozen=True)
class PolygonOptions:
    """What becomes of the outlines. Areas are in m², in pixels for a grid without CRS.

    Attributes:
        format: Of the file.
        min_area: Polygons of less area are dropped; measured after holes are filled, before the
            outline is simplified. None: :data:`DEFAULT_AREA_PX` pixels; 0 keeps all.
        fill_holes: Holes up to this area are filled, unless a polygon that is kept lies inside.
            None: :data:`DEFAULT_AREA_PX` pixels; 0 keeps all.
        simplify_px: Tolerance in pixels, see :func:`changedet.vector.simplify.simplify`.
    """

    format: Format = "gpkg"
    min_area: float | None = None
    fill_holes: float | None = None
    simplify_px: float = 0.0


@dataclass(frozen=True)
class AreaLimit:
    """An area to which others are compared.

    Attributes:
        value: The area, in ``unit``.
        unit: What is measured: m² on the ellipsoid, or pixels.
        area_m2: The same area in the middle of the scene; None without CRS.
    """

    value: float
    unit: Literal["m2", "px"]
    area_m2: float | None


class Selection:
    """Filters polygons batch by batch.

    Attributes:
        dropped: Number of polygons that were too small so far.
        unsimplified: Number of polygons whose outlines were too entangled to be simplified.
        min_area: Polygons below this are dropped.
        fill_holes: Holes up to this are filled.
    """

    def __init__(self, grid: GeoGrid, options: PolygonOptions) -> None:
        self.dropped = 0
        self.unsimplified = 0
        self._simplify_px = options.simplify_px
        self._pixel_area = abs(grid.transform.determinant)
        self._area: Measure = self._in_pixels
        if grid.crs is not None:
            self._area = partial(areas_m2, crs=grid.crs)
        self.min_area = self._limit(options.min_area, grid)
        self.fill_holes = self._limit(options.fill_holes, grid)

    def tables(self, changes: Iterable[Change], *, folder: Path) -> Iterator[PolygonTable]:
        """Give what is kept, in the order of the changes, with its final shape and area.

        Args:
            changes: In the order of :class:`~changedet.vector.outlines.Outliner`.
            folder: Place for temporary files.

        Raises:
            StorageError: If temporary files cannot be written.
        """
        kept = self._keep(batches(changes, _BATCH))
        if not self._simplify_px:
            return kept
        # The size of the triangles that are cut off is an area, so this holds for any pixel shape.
        tolerance = self._simplify_px * self._pixel_area**0.5
        simplified = simplify_tables(
            kept, tolerance=tolerance, folder=folder, keep=self._keep_shape
        )
        return (table._replace(area=self._area(table.geometry)) for table in simplified)

    def _keep_shape(self, count: int) -> None:
        self.unsimplified += count

    def _keep(self, tables: Iterable[PolygonTable]) -> Iterator[PolygonTable]:
        smallest, largest_hole = self.min_area, self.fill_holes
        filler = HoleFiller(
            is_small=lambda holes: self._measure(holes, largest_hole.unit) <= largest_hole.value,
            is_kept=lambda whole: self._measure(whole, smallest.unit) >= smallest.value,
        )
        for table in tables:
            if largest_hole.value:
                filled, is_changed = filler.fill(table.geometry)
                area = table.area.copy()
                area[is_changed] = self._area(filled[is_changed])
                table = table._replace(geometry=filled, area=area)
            # Geodesic areas are there already, and costly.
            sizes = table.area if smallest.unit == "m2" else self._in_pixels(table.geometry)
            kept = sizes >= smallest.value
            self.dropped += int((~kept).sum())
            if kept.any():
                yield table.take(kept)

    def _measure(
        self, geometries: NDArray[np.object_], unit: Literal["m2", "px"]
    ) -> NDArray[np.float64]:
        return self._area(geometries) if unit == "m2" else self._in_pixels(geometries)

    def _in_pixels(self, geometries: NDArray[np.object_]) -> NDArray[np.float64]:
        pixels = shapely.area(geometries) / self._pixel_area
        return np.asarray(np.round(pixels, _AREA_DIGITS), dtype=np.float64)

    def _limit(self, asked: float | None, grid: GeoGrid) -> AreaLimit:
        """Settle a limit: the default is counted in pixels, so that it suits any GSD."""
        if asked is not None and grid.crs is not None:
            return AreaLimit(asked, "m2", asked)
        pixels = DEFAULT_AREA_PX if asked is None else asked
        if grid.crs is None:
            return AreaLimit(pixels, "px", None)
        middle = grid.crop(Window(grid.height // 2, grid.width // 2, 1, 1))
        area = pixels * float(self._area(np.array([shapely.box(*middle.bounds)], dtype=object))[0])
        return AreaLimit(pixels, "px", area if math.isfinite(area) else None)
