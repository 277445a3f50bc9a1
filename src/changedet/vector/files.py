"""Write the polygons of a scene: filtered, numbered, and there whole or not at all."""

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from changedet._optional import require
from changedet.errors import ConfigError
from changedet.raster.geo_grid import GeoGrid
from changedet.storage.atomic import sync_folder
from changedet.vector.errors import storing
from changedet.vector.geojson import GeoJsonLayer
from changedet.vector.geopackage import GeoPackageLayer
from changedet.vector.geoparquet import GeoParquetLayer
from changedet.vector.outlines import Change
from changedet.vector.place import compare_crs, require_degrees
from changedet.vector.selection import AreaLimit, Format, PolygonOptions, Selection
from changedet.vector.table import Layer, columns_of

__all__ = [
    "AreaLimit",
    "Format",
    "PolygonOptions",
    "PolygonSummary",
    "check_polygon_options",
    "file_name",
    "write_polygons",
]

#: Gets polygons, (N,), as they are written.
Watch: TypeAlias = Callable[[NDArray[np.object_]], None]

_NAMES: Final[dict[Format, str]] = {
    "gpkg": "polygons.gpkg",
    "geoparquet": "polygons.parquet",
    "geojson": "polygons.geojson",
}
_TINY_PIXELS: Final = 5
# SQLite's journals, should a GeoPackage not have been closed.
_SIDE_FILES: Final = ("-journal", "-wal", "-shm")


@dataclass(frozen=True)
class PolygonSummary:
    """What was written.

    Attributes:
        count: Number of polygons.
        area_m2: Their area, as written; None without CRS.
        dropped: Number of polygons that were too small.
        tiny: Number of polygons that were written and have fewer than 5 pixels.
        min_area: Smaller polygons were dropped; None: it is not known.
        fill_holes: Holes up to this were filled; None: it is not known.
        unsimplified: Number of polygons whose outlines were too entangled to be simplified.
    """

    count: int
    area_m2: float | None
    dropped: int
    tiny: int = 0
    min_area: AreaLimit | None = None
    fill_holes: AreaLimit | None = None
    unsimplified: int = 0


def file_name(format: Format) -> str:
    """Give the name of a polygon file."""
    return _NAMES[format]


def check_polygon_options(options: PolygonOptions, grid: GeoGrid) -> None:
    """Find out before the work whether the polygons can be written as asked for.

    Raises:
        ConfigError: If a value is out of range, or GeoJSON is asked for without a CRS that leads
            to longitude and latitude.
        MissingExtraError: If GeoParquet is asked for and pyarrow is not installed.
    """
    if options.format not in _NAMES:
        raise ConfigError(
            f"the polygons' format must be one of {', '.join(_NAMES)}, got {options.format!r}"
        )
    for name in ("min_area", "fill_holes", "simplify_px"):
        value = getattr(options, name)
        if value is not None and not 0 <= value < float("inf"):
            raise ConfigError(f"{name} must be 0 or more, got {value}")
    if options.format == "geoparquet":
        require("pyarrow.parquet", extra="parquet")
    if options.format == "geojson":
        require_degrees(grid)


def write_polygons(
    changes: Iterable[Change],
    path: Path,
    *,
    grid: GeoGrid,
    options: PolygonOptions,
    watch: Watch = lambda polygons: None,
) -> PolygonSummary:
    """Write polygons with their figures; columns see :data:`changedet.vector.table.COLUMNS`.

    They are numbered from 1 in the order in which they come. The file gets its name once it is
    complete; an earlier one stays until then. Without any polygon, the file has an empty layer.

    Args:
        changes: In the order of :class:`~changedet.vector.outlines.Outliner`; taken in batches.
        path: The file, see :func:`file_name`.
        grid: Where the polygons come from: their CRS and the size of a pixel.
        options: Format and filters.
        watch: Gets the polygons that are written, batch by batch.

    Raises:
        ConfigError: If the options do not go together, see :func:`check_polygon_options`.
        MissingExtraError: If GeoParquet is asked for and pyarrow is not installed.
        StorageError: If the file cannot be written.
    """
    check_polygon_options(options, grid)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            layer = _open_layer(temporary, options.format, crs=grid.crs)
        with contextlib.closing(layer):
            summary = _write_all(changes, layer, path=path, grid=grid, options=options, watch=watch)
            with storing(path):
                layer.complete()
                if options.format == "gpkg" and compare_crs(temporary, grid.crs) == "another":
                    raise OSError("the file does not keep the coordinate reference system")
        with storing(path):
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        for ending in ("", *_SIDE_FILES):
            # The clean-up may fail for the same reason (no such folder, read-only disk).
            with contextlib.suppress(OSError):
                Path(f"{temporary}{ending}").unlink(missing_ok=True)
    return summary


def _open_layer(path: Path, format: Format, *, crs: str | None) -> Layer:
    if format == "geojson" and crs is not None:
        return GeoJsonLayer(path, crs=crs)
    if format == "geoparquet":
        return GeoParquetLayer(path, crs=crs)
    return GeoPackageLayer(path, crs=crs)


def _write_all(
    changes: Iterable[Change],
    layer: Layer,
    *,
    path: Path,
    grid: GeoGrid,
    options: PolygonOptions,
    watch: Watch,
) -> PolygonSummary:
    selection = Selection(grid, options)
    count, tiny, area = 0, 0, 0.0
    for table in selection.tables(changes, folder=path.parent):
        columns = columns_of(table, first_id=count + 1, crs=grid.crs)
        with storing(path):
            layer.write(table.geometry, columns)
        watch(table.geometry)
        count += len(table.geometry)
        tiny += int((table.pixels < _TINY_PIXELS).sum())
        area += float(table.area.sum())
    return PolygonSummary(
        count,
        None if grid.crs is None else area,
        selection.dropped,
        tiny,
        min_area=selection.min_area,
        fill_holes=selection.fill_holes,
        unsimplified=selection.unsimplified,
    )
