"""Where a grid lies in longitude and latitude, as GeoJSON wants it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.polygon import orient

from changedet.vector.footprints import lonlat_outline

if TYPE_CHECKING:
    from changedet.raster.geo_grid import GeoGrid

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
        The outline, or None if the grid has no CRS that leads to degrees on Earth, or reaches
        beyond what its CRS can describe.
    """
    outline = lonlat_outline(grid)
    if outline is None:
        return None
    parts = _parts(outline.simplify(_TOLERANCE))
    if not parts:
        return None
    shape = parts[0] if len(parts) == 1 else MultiPolygon(parts)
    return Footprint(json.loads(shapely.to_geojson(shape)), _bbox(parts))


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
