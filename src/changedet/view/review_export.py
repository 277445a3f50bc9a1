"""Verdicts in files for other programs: accepted change as GeoJSON and GeoPackage, all as CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely

from changedet.raster.lonlat import lonlat_transformer
from changedet.vector.review_file import polygon_package
from changedet.view.bodies import CHANGE
from changedet.view.geometry import from_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from changedet.raster.geo_grid import GeoGrid
    from changedet.view.verdicts import Row

#: Formats, and what browsers call them.
MEDIA_TYPES: Final = {
    "geojson": "application/geo+json",
    "gpkg": "application/geopackage+sqlite3",
    "csv": "text/csv; charset=utf-8",
}
_COLUMNS: Final = (
    "uid",
    "verdict",
    "result_id",
    "area_m2",
    "area_px",
    "mean_score",
    "max_score",
    "threshold",
    "who",
    "judged_at",
    "note",
)
_DECIMALS: Final = 8
# What a spreadsheet takes for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def export_review(format: str, rows: Sequence[Row], grid: GeoGrid) -> bytes:
    """Write verdicts in a format.

    Args:
        format: ``geojson`` or ``gpkg``, with the polygons that are change; ``csv`` with all
            verdicts and the middle of each polygon.
        rows: All verdicts.
        grid: Of the result.

    Raises:
        StorageError: If no temporary file can be written.
    """
    if format == "csv":
        return _to_csv(rows, grid)
    change = [row for row in rows if row.new.verdict in CHANGE]
    geometry = _placed(change, grid)
    if format == "gpkg":
        columns = {name: [_values(row)[name] for row in change] for name in _COLUMNS}
        return polygon_package(geometry, columns, crs=grid.crs)
    return _to_geojson(change, geometry, grid)


def _values(row: Row) -> dict[str, Any]:
    new = row.new
    return {
        "uid": row.uid,
        "verdict": new.verdict,
        "result_id": new.result_id,
        "area_m2": row.area_m2,
        "area_px": row.area_px,
        "mean_score": new.mean_score,
        "max_score": new.max_score,
        "threshold": new.threshold,
        "who": new.who,
        "judged_at": row.when,
        "note": new.note,
    }


def _placed(rows: Iterable[Row], grid: GeoGrid) -> NDArray[np.object_]:
    shapes = [row.new.polygon for row in rows]
    geometry = np.empty(len(shapes), dtype=object)
    geometry[:] = shapes
    return from_pixels(geometry, grid)


def _to_degrees(geometry: NDArray[np.object_], grid: GeoGrid) -> NDArray[np.object_]:
    """Bring polygons to longitude and latitude; they stay where no way leads there."""
    transformer = None if grid.crs is None else lonlat_transformer(grid.crs)
    if transformer is None:
        return geometry

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        degrees = transformer.transform(points[:, 0], points[:, 1])
        return np.round(np.stack(degrees, axis=1), _DECIMALS)

    return np.asarray(shapely.transform(geometry, move), dtype=object)


def _to_geojson(rows: Sequence[Row], geometry: NDArray[np.object_], grid: GeoGrid) -> bytes:
    placed = shapely.orient_polygons(_to_degrees(geometry, grid))
    features = [
        {
            "type": "Feature",
            "id": row.uid,
            "properties": _values(row),
            "geometry": json.loads(shape),
        }
        for row, shape in zip(rows, shapely.to_geojson(placed).tolist(), strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def _to_csv(rows: Sequence[Row], grid: GeoGrid) -> bytes:
    inside = shapely.point_on_surface(_placed(rows, grid))
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([*_COLUMNS, "x", "y"])
    for row, point in zip(rows, inside.tolist(), strict=True):
        values = ["" if value is None else _harmless(value) for value in _values(row).values()]
        writer.writerow([*values, point.x, point.y])
    return file.getvalue().encode()


def _harmless(value: object) -> object:
    """Keep a spreadsheet from taking somebody's note for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
