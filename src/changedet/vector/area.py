"""Areas on the ellipsoid, for projected and geographic CRS alike.

Polygons are projected by PROJ into Lambert's azimuthal equal-area projection of their own
ellipsoid, centred close by, so the planar area there is the area on the ellipsoid; only what is a
straight edge differs, hence long edges are divided first. Geodesic polygon areas, the usual way,
lose five digits on pixels of a few decimetres because they are differences of areas down to the
equator.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError, ProjError

#: Limit of polygons and holes where none is given, in pixels: patches and holes below 4 x 4 pixels
#: are as often noise of the outline as change.
DEFAULT_AREA_PX: Final = 16.0
# Straight edges of the reference system are divided at this length, or at this share of the
# polygon's extent where that is longer: the bow that is cut off stays below 1e-5 of the area.
_SEGMENT_M: Final = 100.0
_SEGMENTS: Final = 32
_METRES_PER_DEGREE: Final = 111_195.0
# Polygons whose first vertices lie in one cell of this many degrees share a projection.
_CELL_DEGREES: Final = 2.0


class _System(NamedTuple):
    """What the areas need to know of a reference system.

    Attributes:
        horizontal: The reference system without heights.
        geographic: Longitude and latitude of the same datum; None: there are none.
        unit_m: Roughly the metres in a unit of the reference system.
    """

    horizontal: pyproj.CRS
    geographic: pyproj.CRS | None
    unit_m: float


def areas_m2(geometries: NDArray[np.object_], crs: str) -> NDArray[np.float64]:
    """Measure polygons and multipolygons on the ellipsoid.

    Where no way leads to the ellipsoid, areas are those in the plane of the reference system: of a
    site's own system, of one that PROJ does not know, or beyond what the system describes.

    Args:
        geometries: Without self-intersections, each smaller than a hemisphere, (N,).
        crs: Their coordinate reference system, WKT or a code, x before y.

    Returns:
        Areas in m², (N,).
    """
    system = _system(crs)
    areas = np.asarray(shapely.area(geometries) * system.unit_m**2, dtype=np.float64)
    cells = _cells(geometries, crs)
    if cells is None:
        return areas
    left, bottom, right, top = shapely.bounds(geometries).T
    extents = np.nan_to_num(np.maximum(right - left, top - bottom))
    limits = np.maximum(_SEGMENT_M / system.unit_m, extents / _SEGMENTS)
    dense = shapely.segmentize(geometries, limits)
    for longitude, latitude in np.unique(cells[np.isfinite(cells).all(axis=1)], axis=0):
        members = (cells == (longitude, latitude)).all(axis=1)
        plane = _equal_area(crs, float(longitude), float(latitude))
        # Coordinates beyond what the system describes become infinite.
        with np.errstate(invalid="ignore"):
            measured = shapely.area(
                shapely.transform(dense[members], plane.transform, interleaved=False)
            )
        areas[members] = np.where(np.isfinite(measured), measured, areas[members])
    return areas


def metres_per_unit(crs: str) -> float:
    """Give the length of a unit of a CRS, a degree at the equator where the unit is an angle."""
    return _system(crs).unit_m


def _cells(geometries: NDArray[np.object_], crs: str) -> NDArray[np.float64] | None:
    """Give centres near the polygons, (N, 2), longitude and latitude in degrees, if there are."""
    to_degrees = _to_degrees(crs)
    if to_degrees is None:
        return None
    points, index = shapely.get_coordinates(geometries, return_index=True)
    first = points[np.searchsorted(index, np.arange(len(geometries)))]
    positions = np.stack(to_degrees.transform(first[:, 0], first[:, 1]), axis=1)

    cells = (np.floor(positions / _CELL_DEGREES) + 0.5) * _CELL_DEGREES
    return np.asarray(cells.clip((-np.inf, -90.0), (np.inf, 90.0)), dtype=np.float64)


def _horizontal(crs: pyproj.CRS) -> pyproj.CRS:
    """Take off heights and transformations to other datums."""
    if crs.is_compound:
        return _horizontal(crs.sub_crs_list[0])
    if crs.is_bound and crs.source_crs is not None:
        return _horizontal(crs.source_crs)
    return crs


@lru_cache(maxsize=8)
def _system(crs: str) -> _System:
    horizontal = _horizontal(pyproj.CRS.from_user_input(crs))
    unit = horizontal.axis_info[0].unit_conversion_factor if horizontal.axis_info else 1.0
    if horizontal.is_geographic:
        unit *= np.degrees(1.0) * _METRES_PER_DEGREE
    return _System(horizontal, horizontal.geodetic_crs, unit)


@lru_cache(maxsize=8)
def _to_degrees(crs: str) -> pyproj.Transformer | None:
    system = _system(crs)
    if system.geographic is None:
        return None
    try:
        target = _on_ellipsoid(system, proj="longlat")
        transformer = pyproj.Transformer.from_crs(system.horizontal, target, always_xy=True)
        # Of some operations only the first use shows that they cannot be carried out.
        transformer.transform(0.0, 0.0)
    except (CRSError, ProjError):
        return None
    return transformer


@lru_cache(maxsize=256)
def _equal_area(crs: str, longitude: float, latitude: float) -> pyproj.Transformer:
    system = _system(crs)
    plane = _on_ellipsoid(system, proj="laea", lon_0=longitude, lat_0=latitude)
    return pyproj.Transformer.from_crs(system.horizontal, plane, always_xy=True)


def _on_ellipsoid(system: _System, **projection: str | float) -> pyproj.CRS:
    """Make a reference system on the ellipsoid of another one."""
    ellipsoid = system.horizontal.ellipsoid
    axes = {"a": ellipsoid.semi_major_metre, "b": ellipsoid.semi_minor_metre} if ellipsoid else {}
    return pyproj.CRS.from_dict({**projection, **axes, "no_defs": True, "type": "crs"})
