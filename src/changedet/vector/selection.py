"""Decide which polygons of a scene are kept, and in which shape."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

from changedet.raster.geo_grid import GeoGrid
from changedet.vector.area import areas_m2
from changedet.vector.holes import HoleFiller, Measure
from changedet.vector.outlines import Change
from changedet.vector.simplify import simplify_tables
from changedet.vector.table import PolygonTable, batches

Format: TypeAlias = Literal["gpkg", "geoparquet", "geojson"]

_BATCH: Final = 20_000


@dataclass(frozen=True)
class PolygonOptions:
    """What becomes of the outlines. Areas are in m², in pixels for a grid without CRS.

    Attributes:
        format: Of the file.
        min_area: Polygons of less area are dropped; measured after holes are filled, before the
            outline is simplified.
        fill_holes: Holes up to this area are filled, unless a polygon that is kept lies inside.
        simplify_px: Tolerance in pixels, see :func:`changedet.vector.simplify.simplify`.
    """

    format: Format = "gpkg"
    min_area: float = 0.0
    fill_holes: float = 0.0
    simplify_px: float = 0.0


class Selection:
    """Filters polygons batch by batch.

    Attributes:
        dropped: Number of polygons that were too small so far.
    """

    def __init__(self, grid: GeoGrid, options: PolygonOptions) -> None:
        self.dropped = 0
        self._options = options
        self._pixel_area = abs(grid.transform.determinant)
        self._measure = _measure(grid.crs, self._pixel_area)

    def tables(self, changes: Iterable[Change], *, folder: Path) -> Iterator[PolygonTable]:
        """Give what is kept, in the order of the changes, with its final shape and area.

        Args:
            changes: In the order of :class:`~changedet.vector.outlines.Outliner`.
            folder: Place for temporary files.

        Raises:
            StorageError: If temporary files cannot be written.
        """
        kept = self._keep(batches(changes, _BATCH))
        if not self._options.simplify_px:
            return kept
        # The size of the triangles that are cut off is an area, so this holds for any pixel shape.
        tolerance = self._options.simplify_px * self._pixel_area**0.5
        simplified = simplify_tables(kept, tolerance=tolerance, folder=folder)
        return (table._replace(area=self._measure(table.geometry)) for table in simplified)

    def _keep(self, tables: Iterable[PolygonTable]) -> Iterator[PolygonTable]:
        options = self._options
        filler = HoleFiller(options.fill_holes, smallest=options.min_area, measure=self._measure)
        for table in tables:
            if options.fill_holes:
                filled, is_changed = filler.fill(table.geometry)
                area = table.area.copy()
                area[is_changed] = self._measure(filled[is_changed])
                table = table._replace(geometry=filled, area=area)
            kept = table.area >= options.min_area
            self.dropped += int((~kept).sum())
            if kept.any():
                yield table.take(kept)


def _measure(crs: str | None, pixel_area: float) -> Measure:
    """Say how areas are measured."""

    def in_pixels(geometries: NDArray[np.object_]) -> NDArray[np.float64]:
        return np.asarray(shapely.area(geometries) / pixel_area, dtype=np.float64)

    return in_pixels if crs is None else partial(areas_m2, crs=crs)
