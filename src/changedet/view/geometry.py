"""Between the coordinates of a result and its pixels, which is what the browser speaks of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import shapely

from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.lonlat import lonlat_transformer
from changedet.vector.area import areas_m2

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Left, top, right, bottom in pixels.
Box: TypeAlias = tuple[float, float, float, float]
# Corners of outlines along pixel edges become whole numbers again.
_DECIMALS: Final = 6
# Points along each side of the mesh for a base map.
_MESH: Final = 9


def to_pixels(geometry: NDArray[np.object_], grid: GeoGrid) -> NDArray[np.object_]:
    """Bring geometries, (N,), from the coordinates of a grid to its pixels."""
    t = ~grid.transform

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points.T
        placed = np.stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], axis=1)
        return np.round(placed, _DECIMALS)

    return np.asarray(shapely.transform(geometry, move), dtype=object)


def from_pixels(geometry: NDArray[np.object_], grid: GeoGrid) -> NDArray[np.object_]:
    """Bring geometries, (N,), from pixels to the coordinates of a grid."""
    t = grid.transform

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points.T
        return np.stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], axis=1)

    return np.asarray(shapely.transform(geometry, move), dtype=object)


def box_polygon(box: Box) -> shapely.Polygon:
    """Give a rectangle of pixels as a polygon."""
    return shapely.box(*box)


def area_m2(geometry: shapely.Geometry, grid: GeoGrid) -> float | None:
    """Measure a polygon in the coordinates of a grid; None without CRS."""
    if grid.crs is None:
        return None
    area = float(areas_m2(np.array([geometry], dtype=object), grid.crs)[0])
    return area if math.isfinite(area) else None


def pixel_areas(grid: GeoGrid, windows: list[Window]) -> NDArray[np.float64] | None:
    """Measure the mean area of a pixel in windows, (N,), in m²; None without CRS."""
    if grid.crs is None:
        return None
    boxes = [shapely.box(w.left, w.top, w.right, w.bottom) for w in windows]
    placed = from_pixels(np.array(boxes, dtype=object), grid)
    counts = np.array([w.height * w.width for w in windows], dtype=np.float64)
    areas: NDArray[np.float64] = areas_m2(placed, grid.crs) / counts
    return areas if np.isfinite(areas).all() else None


def lonlat_mesh(grid: GeoGrid) -> dict[str, Any] | None:
    """Say where a mesh of pixels lies in degrees, for a base map; None without a way there."""
    to_lonlat = None if grid.crs is None else lonlat_transformer(grid.crs)
    if to_lonlat is None:
        return None
    columns = np.linspace(0, grid.width, _MESH)
    rows = np.linspace(0, grid.height, _MESH)
    x, y = np.meshgrid(columns, rows)
    t = grid.transform
    lons, lats = to_lonlat.transform(t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f)
    if not (np.isfinite(lons).all() and np.isfinite(lats).all()):
        return None
    points = np.round(np.stack([lons, lats], axis=-1), 9)
    return {"columns": columns.tolist(), "rows": rows.tolist(), "points": points.tolist()}


def lonlat_of(grid: GeoGrid, x: float, y: float) -> list[float] | None:
    """Bring coordinates of a grid to longitude and latitude."""
    to_lonlat = None if grid.crs is None else lonlat_transformer(grid.crs)
    if to_lonlat is None:
        return None
    found = [float(value) for value in to_lonlat.transform(x, y)]
    return found if all(map(math.isfinite, found)) else None
