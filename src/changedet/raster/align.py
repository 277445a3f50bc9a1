"""What two rasters have in common, and which pairs of rasters cannot be compared."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from changedet.errors import DataError
from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.pixel_map import PixelMap, Points, to_lonlat

if TYPE_CHECKING:
    from changedet.raster.info import RasterInfo

#: Fewest pixels along a side of the common area: less is no scene.
SMALLEST_PX: Final = 16
# Points along each edge of a footprint whose map need not be straight.
_EDGE_POINTS: Final = 33
# A map that does not come back to the pixel it left is broken there.
_ROUND_TRIP_PX: Final = 1.0


@dataclass(frozen=True)
class Coverage:
    """How much of each raster is common to both, as shares of its area in [0, 1]."""

    before: float
    after: float


@dataclass(frozen=True)
class Overlap:
    """Common area: a window of ``before``, and its shares of the rasters."""

    window: Window
    coverage: Coverage


def find_overlap(before: RasterInfo, after: RasterInfo, pixel_map: PixelMap) -> Overlap:
    """Find the pixels of ``before`` whose centres lie within the extent of ``after``.

    Raises:
        DataError: If there are none or too few, or the two cannot be laid over each other.
    """
    whole = Window(0, 0, *after.shape)
    seen = pixel_map.to_after(outline(Window(0, 0, *before.shape)))
    # A raster that spans the world cannot be mapped into a local CRS as a whole: only the part
    # that the other raster sees is.
    is_local = _is_continuous(seen) and _returns(
        pixel_map.to_before(seen), outline(Window(0, 0, *before.shape))
    )
    part = _bounding_window(seen).intersect(whole) if is_local else whole
    if part is None:
        raise _no_overlap(before, after)
    ring = outline(part)
    placed = pixel_map.to_before(ring)
    if not (_is_continuous(placed) and _returns(pixel_map.to_after(placed), ring)):
        raise _cannot_be_placed(before, after)
    common = clip_polygon(placed, *before.shape)
    window = centre_window(common)
    if window is None:
        raise _no_overlap(before, after)
    if min(window.shape) < SMALLEST_PX:
        raise DataError(
            f"the common area of {before.name} and {after.name} is only {window.width}x"
            f"{window.height} pixels, at least {SMALLEST_PX}x{SMALLEST_PX} are needed; choose "
            "rasters that cover more of the same ground"
        )
    if is_local:
        share = clip_polygon(seen, *after.shape).area / (after.height * after.width)
    else:
        share = common.area / shapely.Polygon(np.transpose(placed)).area
    coverage = Coverage(min(1.0, common.area / (before.height * before.width)), min(1.0, share))
    return Overlap(window, coverage)


def outline(window: Window) -> Points:
    """Give points all around a window, in order, in pixels: (4 * 32,)."""
    steps = np.linspace(0.0, 1.0, _EDGE_POINTS)[:-1]
    zeros, ones = np.zeros_like(steps), np.ones_like(steps)
    x = np.concatenate([steps, ones, 1 - steps, zeros])
    y = np.concatenate([zeros, steps, ones, 1 - steps])
    return Points(window.left + x * window.width, window.top + y * window.height)


def seen_window(window: Window, raster: RasterInfo, pixel_map: PixelMap) -> Window:
    """Give the part of the later raster that is read for a window of the earlier one.

    Args:
        window: In pixels of ``before``.
        raster: ``after``.
        pixel_map: Between the two.
    """
    whole = Window(0, 0, *raster.shape)
    seen = pixel_map.to_after(outline(window))
    return (_bounding_window(seen).intersect(whole) if _is_continuous(seen) else None) or whole


def clip_polygon(ring: Points, height: float, width: float) -> shapely.Geometry:
    """Cut off what lies outside a rectangle with a corner at (0, 0); nothing may be left."""
    return shapely.clip_by_rect(shapely.Polygon(np.transpose(ring)), 0, 0, width, height)


def centre_window(polygon: shapely.Geometry) -> Window | None:
    """Give the bounding window of the pixels whose centres lie within a polygon's bounds."""
    if polygon.is_empty:
        return None
    # A hair of tolerance: a footprint that was carried through a CRS and back is not exact.
    left, top = (math.ceil(low - 0.5 - 1e-3) for low in polygon.bounds[:2])
    right, bottom = (math.floor(high - 0.5 + 1e-3) + 1 for high in polygon.bounds[2:])
    if right <= left or bottom <= top:
        return None
    return Window(top, left, bottom - top, right - left)


def _bounding_window(points: Points) -> Window:
    """Give a window that holds all points, with a pixel to spare."""
    left, top = (math.floor(values.min()) - 1 for values in points)
    right, bottom = (math.ceil(values.max()) + 1 for values in points)
    return Window(top, left, bottom - top, right - left)


def _is_continuous(ring: Points) -> bool:
    """Tell whether a ring is mapped as a whole, without a jump around the world."""
    if not ring.exists.all():
        return False
    steps = np.hypot(np.diff(ring.x, append=ring.x[0]), np.diff(ring.y, append=ring.y[0]))
    extent = math.hypot(float(np.ptp(ring.x)), float(np.ptp(ring.y)))
    return bool(steps.max() < extent / 2)


def _returns(found: Points, expected: Points) -> bool:
    distance: NDArray[np.float64] = np.hypot(found.x - expected.x, found.y - expected.y)
    return bool((distance < _ROUND_TRIP_PX).all())


def _no_overlap(before: RasterInfo, after: RasterInfo) -> DataError:
    if _meet_around_the_world(before, after):
        return _antimeridian(before, after)
    return DataError(
        f"the rasters do not overlap: {before.name} covers {_describe_place(before)}, "
        f"{after.name} covers {_describe_place(after)}; choose rasters of the same place, or "
        "correct a wrong CRS with gdal_edit.py -a_srs"
    )


def _cannot_be_placed(before: RasterInfo, after: RasterInfo) -> DataError:
    if any(_crosses_antimeridian(raster) for raster in (before, after)):
        return _antimeridian(before, after)
    left, bottom, right, top = GeoGrid(before.crs, before.transform, *before.shape).bounds
    name = CRS.from_wkt(before.crs).to_authority() if before.crs else None
    return DataError(
        f"{after.name} covers {_describe_place(after)} and cannot be transformed to the CRS of "
        f"{before.name}, which covers {_describe_place(before)}; correct a wrong CRS with "
        "gdal_edit.py -a_srs, or cut out the common part: gdalwarp -t_srs "
        f"{':'.join(name) if name else 'CRS'} -te {left:.10g} {bottom:.10g} {right:.10g} "
        f"{top:.10g} {shlex.quote(after.name)} after_cut.tif"
    )


def _antimeridian(before: RasterInfo, after: RasterInfo) -> DataError:
    # The smaller one says where on the meridian.
    rings = [ring for ring in map(_lonlat_ring, (before, after)) if ring.exists.all()]
    lat = min((ring.y for ring in rings), key=np.ptp).mean()
    target = f"+proj=laea +lat_0={lat:.0f} +lon_0=180 +datum=WGS84"
    commands = " and ".join(
        f"gdalwarp -t_srs {shlex.quote(target)} {shlex.quote(raster.name)} {name}_180.tif"
        for raster, name in ((before, "before"), (after, "after"))
    )
    return DataError(
        f"{before.name} and {after.name} meet at the antimeridian (180 degrees), where "
        f"longitudes jump; bring both into a projected CRS that is centred there: {commands}"
    )


def _lonlat_ring(raster: RasterInfo) -> Points:
    return to_lonlat(outline(Window(0, 0, *raster.shape)), raster)


def _crosses_antimeridian(raster: RasterInfo) -> bool:
    ring = _lonlat_ring(raster)
    lon = ring.x
    return bool(ring.exists.all()) and bool(
        np.abs(lon).max() > 180 + 1e-6 or np.abs(np.diff(lon)).max() > 180
    )


def _meet_around_the_world(before: RasterInfo, after: RasterInfo) -> bool:
    first, second = _lonlat_ring(before), _lonlat_ring(after)
    if not (first.exists.all() and second.exists.all()):
        return False
    if first.y.max() <= second.y.min() or second.y.max() <= first.y.min():
        return False
    return any(
        first.x.min() < second.x.max() + turn and second.x.min() + turn < first.x.max()
        for turn in (-360, 360)
    )


def _describe_place(raster: RasterInfo) -> str:
    """Say where a raster lies: in its own CRS, and in degrees."""
    corners = [raster.transform @ (x, y) for x in (0, raster.width) for y in (0, raster.height)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    own = f"x {min(xs):.7g}..{max(xs):.7g}, y {min(ys):.7g}..{max(ys):.7g}"
    lon, lat = _lonlat_ring(raster)
    if not np.isfinite([lon, lat]).all():
        return own
    return (
        f"{own} (longitude {lon.min():.4f}..{lon.max():.4f}, "
        f"latitude {lat.min():.4f}..{lat.max():.4f})"
    )
