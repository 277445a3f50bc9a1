"""Where a grid lies in longitude and latitude, as GeoJSON wants it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import shapely
from pyproj import CRS, Transformer
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.polygon import orient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from changedet.raster.geo_grid import GeoGrid

# Steps along one edge: straight edges of a projected grid are curves in longitude and latitude.
_STEPS: Final = 32
# Degrees: about 1 m; points that tell nothing more are left out.
_TOLERANCE: Final = 1e-5
_DIGITS: Final = 8


class Footprint(NamedTuple):
    """Outline of a grid (RFC 7946).

    Attributes:
        geometry: GeoJSON Polygon or, across the antimeridian, MultiPolygon; degrees.
        bbox: West, south, east and north; west is greater than east across the antimeridian.
    """

    geometry: dict[str, Any]
    bbox: list[float]


def footprint(grid: GeoGrid) -> Footprint | None:
    """Outline a grid in longitude and latitude (WGS 84).

    Returns:
        The outline, or None if the grid has no CRS or reaches beyond what its CRS can describe.
    """
    if grid.crs is None:
        return None
    columns, rows = _ring(grid.height, grid.width)
    t = grid.transform
    xs, ys = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
    to_lonlat = Transformer.from_crs(CRS.from_user_input(grid.crs), "OGC:CRS84", always_xy=True)
    lons, lats = (np.asarray(values) for values in to_lonlat.transform(xs, ys))
    if not (np.isfinite(lons).all() and np.isfinite(lats).all()):
        return None
    parts = _parts(_outline(np.unwrap(lons, period=360.0), lats))
    if not parts:
        return None
    shape = parts[0] if len(parts) == 1 else MultiPolygon(parts)
    return Footprint(json.loads(shapely.to_geojson(shape)), _bbox(parts))


def _ring(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Walk once around the pixels: columns and rows, the first point again at the end."""
    step = np.arange(_STEPS) / _STEPS
    up, down = 1 - step, step
    zero, one = np.zeros(_STEPS), np.ones(_STEPS)
    columns = np.concatenate([down, one, up, zero, [0.0]])
    rows = np.concatenate([zero, down, one, up, [0.0]])
    return columns * width, rows * height


def _outline(lons: NDArray[np.float64], lats: NDArray[np.float64]) -> Polygon:
    """Make a polygon of a walk without jumps in longitude; it may leave -180..180."""
    points = list(zip(lons, lats, strict=True))
    if abs(lons[-1] - lons[0]) > 180.0:
        # The walk goes around a pole: the area reaches up to it.
        pole = math.copysign(90.0, lats.mean())
        points += [(lons[-1], pole), (lons[0], pole)]
    return shapely.make_valid(Polygon(points)).simplify(_TOLERANCE)


def _parts(outline: Polygon) -> list[Polygon]:
    """Cut at the antimeridian; the parts lie in -180..180 and do not touch."""
    west, _, east, _ = outline.bounds
    found = []
    for turn in range(math.floor((west + 180) / 360), math.ceil((east + 180) / 360)):
        world = box(-180 + 360 * turn, -90, 180 + 360 * turn, 90)
        cut = translate(outline.intersection(world), -360 * turn)
        found.append(shapely.transform(cut, lambda points: points.round(_DIGITS)))
    # What was cut may be a neighbour at 0 degrees, or overlap, when the grid goes around the globe.
    whole = shapely.union_all(found)
    return [orient(part) for part in getattr(whole, "geoms", [whole]) if part.area > 0]


def _bbox(parts: list[Polygon]) -> list[float]:
    """Enclose the parts; those on both sides of the antimeridian by a box across it."""
    bounds = np.array([part.bounds for part in parts])
    west, east = bounds[:, 0].min(), bounds[:, 2].max()
    if len(parts) > 1 and west == -180.0 and east == 180.0:
        west, east = bounds[bounds[:, 2] == 180.0, 0].min(), bounds[bounds[:, 0] == -180.0, 2].max()
    return [float(west), float(bounds[:, 1].min()), float(east), float(bounds[:, 3].max())]
