"""Which rasters can be compared: both placed on Earth, or neither; the earlier one upright."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from changedet.errors import DataError, ImageError
from changedet.storage.secrets import without_secrets

if TYPE_CHECKING:
    import rasterio

    from changedet.raster.info import RasterInfo

#: A grid counts as upright if its far corner is off by less than this many pixels.
_ROTATION_PX: Final = 0.01


def require_placed(dataset: rasterio.DatasetReader, location: str) -> None:
    """Refuse a raster whose place is given by other means than a CRS and a geotransform.

    Raises:
        ImageError: If it has ground control points, arrays of coordinates or a sensor model only,
            or a CRS without a geotransform. A raster with neither is fine.
    """
    name = without_secrets(location)
    output = f"{shlex.quote(name)} placed.tif"
    if not dataset.transform.is_identity:
        return
    if dataset.gcps[0]:
        raise ImageError(
            f"{name}: is georeferenced by ground control points only; resample it first: gdalwarp "
            f"-r bilinear {output}"
        )
    if dataset.tags(ns="GEOLOCATION"):
        raise ImageError(
            f"{name}: is georeferenced by arrays of coordinates only; resample it first: gdalwarp "
            f"-geoloc -r bilinear {output}"
        )
    if dataset.rpcs is not None:
        raise ImageError(
            f"{name}: is georeferenced by a sensor model (RPC) only; resample it first: gdalwarp "
            f"-rpc -r bilinear {output}"
        )
    if dataset.crs:
        raise ImageError(
            f"{name}: has a CRS but no position; set its corners: gdal_edit.py -a_ullr LEFT TOP "
            f"RIGHT BOTTOM {shlex.quote(name)}"
        )


def require_comparable(before: RasterInfo, after: RasterInfo) -> None:
    """Refuse a pair that cannot be aligned.

    Raises:
        DataError: If only one has a CRS; if neither has one and they are not of one size and
            place; if the earlier one is rotated or lies upside down.
    """
    if (before.crs is None) != (after.crs is None):
        bare, placed = (before, after) if before.crs is None else (after, before)
        raise DataError(
            f"{bare.name}: has no CRS, but {placed.name} has one; set it: "
            f"gdal_edit.py -a_srs EPSG:CODE {shlex.quote(bare.name)}"
        )
    if before.crs is None:
        _require_same_pixels(before, after)
        return
    _require_upright(before)


def _require_same_pixels(before: RasterInfo, after: RasterInfo) -> None:
    if before.shape != after.shape:
        raise DataError(
            f"{before.name} is {before.width}x{before.height} pixels and {after.name} "
            f"{after.width}x{after.height}; without a CRS they are compared pixel by pixel and "
            "must have the same size: set the CRS of both with gdal_edit.py -a_srs EPSG:CODE"
        )
    if not before.transform.almost_equals(after.transform):
        places = "; ".join(map(_describe_corner, (before, after)))
        raise DataError(
            f"{before.name} and {after.name} are at different places but have no CRS "
            f"({places}); set the CRS of both: gdal_edit.py -a_srs EPSG:CODE FILE"
        )


def _describe_corner(raster: RasterInfo) -> str:
    t = raster.transform
    if t.is_identity:
        return f"{raster.name} has no coordinates"
    return f"{raster.name} begins at x {t.c:.10g}, y {t.f:.10g}, with pixels of {t.a:.7g}"


def _require_upright(raster: RasterInfo) -> None:
    """The grid of the results is that of ``before``: viewers and polygons expect north up."""
    t = raster.transform
    location = shlex.quote(raster.name)
    lean_px = max(
        abs(t.b) * raster.height / abs(t.a or 1.0), abs(t.d) * raster.width / abs(t.e or 1.0)
    )
    if t.a == 0 or t.e == 0 or lean_px > _ROTATION_PX:
        raise DataError(
            f"{raster.name}: its grid is rotated or sheared; resample it north up: "
            f"gdalwarp -r bilinear {location} north_up.tif"
        )
    if t.e > 0 or t.a < 0:
        raise DataError(
            f"{raster.name}: its rows run from south to north or its columns from east to west; "
            f"flip it north up: gdalwarp -r near {location} north_up.tif"
        )
