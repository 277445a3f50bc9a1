"""The way from a CRS to longitude and latitude on Earth, which not every CRS has."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import pyproj
from pyproj.exceptions import CRSError, ProjError

if TYPE_CHECKING:
    from changedet.raster.geo_grid import GeoGrid

# WGS 84, longitude first.
_LON_LAT: Final = "OGC:CRS84"
# Degrees: a coarse grid with pixel centres at the pole reaches beyond it, but coordinates in metres
# with a CRS of degrees are a mistake and no place.
_LARGEST_LATITUDE: Final = 100.0
# Points along each side of a grid.
_POINTS: Final = 9


@lru_cache(maxsize=64)
def transformer_between(source: str, target: str) -> pyproj.Transformer | None:
    """Make what carries positions from one CRS to another, x first.

    Args:
        source: WKT or a code.
        target: The same.

    Returns:
        None where PROJ knows no way, as from the Earth to another planet.
    """
    try:
        transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
        # Of some operations only the first use shows that they cannot be carried out.
        transformer.transform(0.0, 0.0)
    except (CRSError, ProjError):
        return None
    return transformer


def lonlat_transformer(crs: str) -> pyproj.Transformer | None:
    """Make what carries positions of a CRS, x first, to longitude and latitude in degrees (WGS 84).

    Args:
        crs: WKT or a code.

    Returns:
        None where PROJ knows no way: the CRS belongs to another planet, to a site or an engineering
        work, has heights alone, is unknown to PROJ, or needs a grid file that is not installed.
    """
    try:
        source = pyproj.CRS.from_user_input(crs)
    except CRSError:
        return None
    if not source.is_compound and (source.is_vertical or source.is_geocentric):
        return None
    return transformer_between(crs, _LON_LAT)


def lonlat_box(grid: GeoGrid) -> tuple[float, float, float, float] | None:
    """Give west, south, east and north of a grid in degrees, without regard to the antimeridian.

    Returns:
        None where no way leads from its CRS to degrees, or the grid lies beyond what the CRS
        describes.
    """
    to_lonlat = None if grid.crs is None else lonlat_transformer(grid.crs)
    if to_lonlat is None:
        return None
    columns, rows = np.meshgrid(
        np.linspace(0, grid.width, _POINTS), np.linspace(0, grid.height, _POINTS)
    )
    t = grid.transform
    lons, lats = to_lonlat.transform(
        t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
    )
    if not (np.isfinite(lons).all() and are_latitudes(lats)):
        return None
    return float(lons.min()), float(lats.min()), float(lons.max()), float(lats.max())


def are_latitudes(values: np.typing.NDArray[np.float64]) -> bool:
    """Tell whether all values are finite and may be latitudes of a grid's edges, in degrees."""
    return bool((np.abs(values) <= _LARGEST_LATITUDE).all())


def crs_name(crs: str) -> str:
    """Give the name of a CRS for messages; of one that PROJ cannot read, the start of its text."""
    try:
        return pyproj.CRS.from_user_input(crs).name
    except CRSError:
        return crs[:40]
