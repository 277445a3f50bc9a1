"""Where a pixel of one raster lies in another one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from pyproj.exceptions import CRSError
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.warp import transform

if TYPE_CHECKING:
    from changedet.raster.info import RasterInfo

Coordinates: TypeAlias = NDArray[np.float64]
_LON_LAT = 4326


class Points(NamedTuple):
    """Positions, (N,) each; NaN where a position does not exist."""

    x: Coordinates
    y: Coordinates

    @property
    def exists(self) -> NDArray[np.bool_]:
        """Which of the positions exist, (N,)."""
        return np.isfinite(self.x) & np.isfinite(self.y)


class PixelMap:
    """Map positions (column, row) of pixel corners between ``before`` and ``after``.

    One thread may use it: a CRS object of GDAL is not safe in several.
    """

    def __init__(self, before: RasterInfo, after: RasterInfo) -> None:
        self._before, self._after = before.transform, after.transform
        self._crs: tuple[CRS, CRS] | None = None
        if before.crs is None or after.crs is None:
            self._before = self._after = Affine.identity()
        elif not is_same_crs(before.crs, after.crs):
            self._crs = CRS.from_wkt(before.crs), CRS.from_wkt(after.crs)

    @property
    def affine(self) -> Affine | None:
        """The map from ``before`` to ``after``, if no change of CRS is part of it."""
        return ~self._after @ self._before if self._crs is None else None

    def to_after(self, points: Points) -> Points:
        """Map pixel positions of ``before`` to pixel positions of ``after``."""
        return self._map(points, self._before, self._after, self._crs)

    def to_before(self, points: Points) -> Points:
        """Map pixel positions of ``after`` to pixel positions of ``before``."""
        crs = self._crs and (self._crs[1], self._crs[0])
        return self._map(points, self._after, self._before, crs)

    @staticmethod
    def _map(  # noqa: PLR0917
        points: Points, source: Affine, target: Affine, crs: tuple[CRS, CRS] | None
    ) -> Points:
        if crs is None:
            return _apply(~target @ source, points)
        return _apply(~target, reproject_points(_apply(source, points), crs[0], crs[1]))


def reproject_points(points: Points, source: CRS, target: CRS) -> Points:
    """Carry positions from one CRS into another, as GDAL's warper does it."""
    found = np.full((2, len(points.x)), np.nan)
    known = np.flatnonzero(points.exists)
    try:
        found[:, known] = transform(source, target, *np.stack(points)[:, known].tolist())
    except CPLE_BaseError:
        # GDAL refuses all points if one of them lies outside the domain of a projection.
        for index in known:
            with contextlib.suppress(CPLE_BaseError):
                found[:, [index]] = transform(source, target, [points.x[index]], [points.y[index]])
    found[~np.isfinite(found)] = np.nan
    return Points(found[0], found[1])


def to_lonlat(points: Points, raster: RasterInfo) -> Points:
    """Map pixel positions of a raster with a CRS to longitude and latitude in degrees."""
    return reproject_points(
        _apply(raster.transform, points), CRS.from_wkt(raster.crs), CRS.from_epsg(_LON_LAT)
    )


def is_same_crs(first: str, second: str) -> bool:
    """Tell whether two WKT texts name the same CRS, which may be spelled differently."""
    if first == second:
        return True
    try:
        systems = [pyproj.CRS.from_wkt(wkt) for wkt in (first, second)]
    except CRSError:
        # A system that PROJ cannot read is like its own text only.
        return False
    return bool(systems[0].equals(systems[1], ignore_axis_order=True))


def _apply(affine: Affine, points: Points) -> Points:
    x, y = points
    return Points(
        affine.a * x + affine.b * y + affine.c,
        affine.d * x + affine.e * y + affine.f,
    )
