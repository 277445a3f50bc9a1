"""Where grids lie on Earth, and whether two of them show the same ground."""

from functools import lru_cache, partial
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate

from changedet.raster.align import outline
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.lonlat import are_latitudes, lonlat_transformer
from changedet.raster.pixel_map import is_same_crs

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
        return bool(_inner(first).intersects(_inner(second)))
    shapes = _inner_lonlat(first), _inner_lonlat(second)
    if shapes[0] is None or shapes[1] is None:
        return None
    return any(shapes[0].intersects(translate(shapes[1], turn)) for turn in (-360, 0, 360))


def grown(grid: GeoGrid, margin_px: int) -> GeoGrid:
    """Extend a grid by so many pixels on every side."""
    transform = grid.transform @ grid.transform.translation(-margin_px, -margin_px)
    return GeoGrid(grid.crs, transform, grid.height + 2 * margin_px, grid.width + 2 * margin_px)


def lonlat_outline(grid: GeoGrid, *, inset_px: float = 0.0) -> shapely.Geometry | None:
    """Outline a grid in degrees (WGS 84) without a jump at the antimeridian.

    Args:
        grid: Must have a CRS.
        inset_px: Pixels that are left out all around.

    Returns:
        A polygon, or what makes a valid one of it, that may leave -180..180; None if no way leads
        from the CRS to degrees on Earth, or the grid reaches beyond what its CRS describes.
    """
    to_lonlat = None if grid.crs is None else lonlat_transformer(grid.crs)
    if to_lonlat is None:
        return None
    xs, ys = _ring(grid, inset_px)
    lons, lats = (np.asarray(values) for values in to_lonlat.transform(xs, ys))
    if not (np.isfinite(lons).all() and are_latitudes(lats)):
        return None
    lons = np.unwrap(lons, period=360.0)
    points = list(zip(lons, lats, strict=True))
    if abs(lons[-1] - lons[0]) > 180.0:
        # The walk goes around a pole: the area reaches up to it.
        pole = np.copysign(90.0, lats.mean())
        points += [(lons[-1], pole), (lons[0], pole)]
    return shapely.make_valid(shapely.Polygon(points))


# An outline is asked for once for each other grid that it is compared with.
_inner_lonlat = lru_cache(maxsize=1024)(partial(lonlat_outline, inset_px=_TOLERANCE_PX))


def _inner(grid: GeoGrid) -> shapely.Polygon:
    """Outline a grid in its own CRS, drawn in a little."""
    return shapely.Polygon(np.stack(_ring(grid, _TOLERANCE_PX), axis=1))


def _ring(grid: GeoGrid, inset_px: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Walk once around a grid in its CRS: x and y; the first point comes again at the end."""
    around = outline(grid.window)
    columns = inset_px + np.append(around.x, 0.0) * (1 - 2 * inset_px / grid.width)
    rows = inset_px + np.append(around.y, 0.0) * (1 - 2 * inset_px / grid.height)
    t = grid.transform
    return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
