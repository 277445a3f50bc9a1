"""The CRS of polygon files is that of their scene: found out before the work, compared after it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import pyogrio
import pyproj
from pyogrio.errors import CRSError as StoredCrsError
from pyproj.exceptions import CRSError

from changedet.errors import ConfigError
from changedet.raster.lonlat import crs_name, lonlat_box
from changedet.vector.geopackage import GeoPackageLayer

if TYPE_CHECKING:
    from changedet.raster.geo_grid import GeoGrid
    from changedet.vector.selection import Format

#: How much of a CRS a file keeps: all of it, all but parameters of the datum that it has beside a
#: code (TOWGS84), or something else.
Kept: TypeAlias = Literal["all", "no datum parameters", "another"]


def check_polygon_place(format: Format, grid: GeoGrid) -> Kept:
    """Find out before the work whether a format can say where the polygons of a grid lie.

    Args:
        format: Of the file.
        grid: Where the polygons will come from.

    Returns:
        What of the CRS is kept.

    Raises:
        ConfigError: If the format cannot hold polygons of such a CRS, with one that can.
    """
    if format == "geojson":
        require_degrees(grid)
        return "all"
    if grid.crs is None:
        return "all"
    try:
        kept = _try_crs(format, grid.crs)
    except (CRSError, StoredCrsError) as error:
        raise _not_kept(format, grid.crs) from error
    if kept == "another":
        raise _not_kept(format, grid.crs)
    return kept


def compare_crs(path: Path, crs: str | None) -> Kept:
    """Say how much of a CRS a finished GeoPackage keeps."""
    if crs is None:
        return "all"
    declared = pyogrio.read_info(path)["crs"]
    if declared is None:
        return "another"
    found, expected = pyproj.CRS.from_user_input(declared), pyproj.CRS.from_user_input(crs)
    if found.equals(expected, ignore_axis_order=True):
        return "all"
    bare = expected.source_crs if expected.is_bound else None
    if bare is not None and found.equals(bare, ignore_axis_order=True):
        return "no datum parameters"
    return "another"


def _try_crs(format: Format, crs: str) -> Kept:
    if format == "geoparquet":
        pyproj.CRS.from_user_input(crs).to_json_dict()
        return "all"
    with tempfile.TemporaryDirectory(prefix="changedet_place_") as folder:
        path = Path(folder) / "empty.gpkg"
        GeoPackageLayer(path, crs=crs).complete()
        return compare_crs(path, crs)


def has_degrees(grid: GeoGrid) -> bool:
    """Tell whether a grid with a CRS has longitudes and latitudes on Earth; true without a CRS."""
    return grid.crs is None or lonlat_box(grid) is not None


def require_degrees(grid: GeoGrid) -> None:
    """Refuse GeoJSON of a grid that has no known place on Earth.

    Raises:
        ConfigError: If it has no CRS, or one that leads to no longitude and latitude there.
    """
    if grid.crs is None:
        raise ConfigError(
            "GeoJSON needs longitudes and latitudes, but the rasters have no coordinate reference "
            "system; use the format gpkg, or set the system with gdal_edit.py -a_srs"
        )
    if lonlat_box(grid) is None:
        raise ConfigError(
            "GeoJSON needs longitudes and latitudes on Earth, and none are known for rasters in "
            f"{crs_name(grid.crs)} at x {grid.bounds[0]:.7g}, y {grid.bounds[3]:.7g}; use the "
            "format gpkg, which takes any coordinates, or correct a wrong CRS with gdal_edit.py "
            "-a_srs"
        )


def _not_kept(format: Format, crs: str) -> ConfigError:
    other = "geoparquet" if format == "gpkg" else "gpkg"
    return ConfigError(
        f"a {format} file cannot hold the CRS of the rasters ({crs_name(crs)}); use the format "
        f"{other}, or bring them to another CRS (gdalwarp -t_srs EPSG:CODE)"
    )
