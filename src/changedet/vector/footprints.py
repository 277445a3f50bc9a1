"""Whether two grids show the same ground."""

from functools import lru_cache
from typing import Final

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate

from changedet.raster.geo_grid import GeoGrid
from changedet.raster.pixel_map import is_same_crs

# Steps along one edge: straight edges of a grid are curves in longitude and latitude.
_STEPS: Final = 32
# Grids that touch do not meet, even if their corners are rounded.
_TOLERANCE_PX: Final = 0.01

_same_crs = lru_cache(maxsize=256)(is_same_crs)


def do_meet(first: GeoGrid, second: GeoGrid) -> bool | None:
    """Tell whether two grids have ground in common, whatever their CRS.

    Grids of one CRS are compared there, others by their outlines in longitude and latitude.

    Returns:
        None where it cannot be told: one has no CRS, or reaches beyond what its CRS describes.
    """
    if first.crs is None or second.crs is None:
        return None
    if _same_crs(first.crs, second.crs):
        return bool(shapely.Polygon(_ring(first)).intersects(shapely.Polygon(_ring(second))))
    shapes = _lonlat(first), _lonlat(second)
    if shapes[0] is None or shapes[1] is None:
        return None
    return any(shapes[0].intersects(translate(shapes[1], turn)) for turn in (-360, 0, 360))


def grown(grid: GeoGrid, margin_px: int) -> GeoGrid:
    """Extend a grid by so many pixels on every side."""
    transform = grid.transform @ grid.transform.translation(-margin_px, -margin_px)
    return GeoGrid(grid.crs, transform, grid.height + 2 * margin_px, grid.width + 2 * margin_px)


def _ring(grid: GeoGrid) -> NDArray[np.float64]:
    """Walk once around a grid in its CRS, (N, 2); the first point comes again at the end."""
    step = np.arange(_STEPS) / _STEPS
    zero, one = np.zeros(_STEPS), np.ones(_STEPS)
    down = np.concatenate([zero, step, one, 1 - step, [0.0]])
    right = np.concatenate([step, one, 1 - step, zero, [0.0]])
    columns = _TOLERANCE_PX + right * (grid.width - 2 * _TOLERANCE_PX)
    rows = _TOLERANCE_PX + down * (grid.height - 2 * _TOLERANCE_PX)
    t = grid.transform
    return np.stack([t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f], axis=1)


@lru_cache(maxsize=1024)
def _lonlat(grid: GeoGrid) -> shapely.Geometry | None:
    """Outline a grid in degrees without a jump at the antimeridian; it may leave -180..180."""
    to_lonlat = pyproj.Transformer.from_crs(grid.crs, "OGC:CRS84", always_xy=True)
    lons, lats = (np.asarray(values) for values in to_lonlat.transform(*_ring(grid).T))
    if not (np.isfinite(lons).all() and np.isfinite(lats).all()):
        return None
    lons = np.unwrap(lons, period=360.0)
    points = list(zip(lons, lats, strict=True))
    if abs(lons[-1] - lons[0]) > 180.0:
        # The walk goes around a pole: the area reaches up to it.
        pole = np.copysign(90.0, lats.mean())
        points += [(lons[-1], pole), (lons[0], pole)]
    return shapely.make_valid(shapely.Polygon(points))
