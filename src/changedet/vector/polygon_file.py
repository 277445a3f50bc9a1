"""Read back the polygons of a result."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray

from changedet._optional import require
from changedet.errors import DataError
from changedet.raster.lonlat import transformer_between
from changedet.raster.open import WARNING_FILTERS
from changedet.vector.table import PolygonTable

_LONLAT = "OGC:CRS84"
_READ = ("id", "area_m2", "pixels", "mean_score", "max_score")


class NumberedPolygons(NamedTuple):
    """Polygons of a result.

    Attributes:
        ids: Their numbers, (N,).
        table: Geometry in the coordinates of the result's grid, and figures; the area is in m², in
            pixels where there is no CRS.
    """

    ids: NDArray[np.int64]
    table: PolygonTable


def read_polygon_file(path: Path, *, crs: str | None) -> NumberedPolygons:
    """Read what :func:`changedet.vector.files.write_polygons` wrote, in any of its formats.

    Args:
        path: The file.
        crs: CRS of the result's grid.

    Raises:
        DataError: If the file is missing, damaged, or lacks columns.
        MissingExtraError: If it is GeoParquet and pyarrow is not installed.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; put the polygons of the result back")
    try:
        if path.suffix == ".parquet":
            columns, geometry = _read_parquet(path)
        else:
            columns, geometry = _read_vector(path)
        ids = columns["id"].astype(np.int64)
        pixels = columns["pixels"].astype(np.int64)
        means, highest = (columns[name].astype(np.float64) for name in ("mean_score", "max_score"))
        area = pixels.astype(np.float64) if crs is None else columns["area_m2"].astype(np.float64)
    except (OSError, KeyError, ValueError, shapely.errors.ShapelyError, RuntimeError) as error:
        raise DataError(
            f"{path}: the polygons cannot be read ({' '.join(str(error).split())}); predict again"
        ) from error
    if path.suffix == ".geojson" and crs is not None:
        geometry = _from_degrees(geometry, crs, path=path)
    return NumberedPolygons(ids, PolygonTable(geometry, area, pixels, means, highest))


def _read_vector(path: Path) -> tuple[dict[str, NDArray[Any]], NDArray[np.object_]]:
    try:
        with WARNING_FILTERS, warnings.catch_warnings():
            # What matters of GDAL's remarks on a damaged file shows below.
            warnings.simplefilter("ignore", RuntimeWarning)
            meta, _, blobs, fields = pyogrio.raw.read(path, columns=list(_READ))
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise ValueError(str(error)) from error
    columns = dict(zip(meta["fields"].tolist(), fields, strict=True))
    return columns, np.asarray(shapely.from_wkb(blobs), dtype=object)


def _read_parquet(path: Path) -> tuple[dict[str, NDArray[Any]], NDArray[np.object_]]:
    parquet: Any = require("pyarrow.parquet", extra="parquet")
    table = parquet.read_table(path, columns=[*_READ, "geometry"])
    columns = {name: table[name].to_numpy() for name in _READ}
    blobs = table["geometry"].to_numpy()
    return columns, np.asarray(shapely.from_wkb(blobs), dtype=object)


def _from_degrees(geometry: NDArray[np.object_], crs: str, *, path: Path) -> NDArray[np.object_]:
    """Bring polygons of GeoJSON, which knows nothing but degrees, back to the grid."""
    transformer = transformer_between(_LONLAT, crs)
    if transformer is None:
        raise DataError(f"{path}: no way leads from degrees to {pyproj.CRS(crs).name}")

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)

    return np.asarray(shapely.transform(geometry, move), dtype=object)
