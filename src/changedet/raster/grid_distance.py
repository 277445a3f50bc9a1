"""How far two grids that should be one lie apart."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from rasterio.crs import CRS

if TYPE_CHECKING:
    from changedet.raster.geo_grid import GeoGrid


@lru_cache(maxsize=64)
def is_same_crs(first: str | None, other: str | None) -> bool:
    """Tell whether two coordinate reference systems (WKT) are one; an unknown one may be any."""
    if first is None or other is None or first == other:
        return True
    return bool(CRS.from_wkt(first) == CRS.from_wkt(other))


def largest_distance_px(first: GeoGrid, other: GeoGrid) -> float:
    """Measure how far corners of one grid lie from those of another, in pixels of the first.

    Args:
        first: A grid.
        other: Another one in the same CRS.
    """
    to_first = ~first.transform
    distances = []
    for right, down in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        x, y = to_first @ (other.transform @ (right * other.width, down * other.height))
        distances.append(math.hypot(x - right * first.width, y - down * first.height))
    return max(distances)
