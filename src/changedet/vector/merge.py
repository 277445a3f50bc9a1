"""Polygons of many scenes in one file: brought to one CRS, with the scene of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate

from changedet.errors import DataError
from changedet.raster.lonlat import crs_name, transformer_between
from changedet.vector.geoparquet import GeoParquetFile
from changedet.vector.polygon_file import NumberedPolygons

# Columns of each polygon; before them come those of its scene.
_COLUMNS: Final = {
    "id": "int64",
    "area_m2": "float64",
    "pixels": "int64",
    "mean_score": "float64",
    "max_score": "float64",
}
# Rows of a group: readers that look for a place skip whole groups.
_GROUP: Final = 20_000
# A straight edge of this length bends by 2 cm on the way to another CRS, in metres.
_LONGEST_EDGE_M: Final = 1_000.0
_METRES_PER_DEGREE: Final = 111_320.0
_WORLD: Final = shapely.box(-180.0, -90.0, 180.0, 90.0)


class MergedPolygons:
    """A GeoParquet file of polygons of many scenes, written scene by scene.

    Args:
        path: The file.
        crs: CRS of all polygons.
        fields: Names and types of the columns that tell of the scene, see :class:`GeoParquetFile`.

    Attributes:
        count: Polygons so far.

    Raises:
        MissingExtraError: If pyarrow is not installed.
    """

    def __init__(self, path: Path, *, crs: str, fields: Mapping[str, str]) -> None:
        self._crs = crs
        self._file = GeoParquetFile(path, crs=crs, fields={**fields, **_COLUMNS}, has_boxes=True)
        self._width = len(fields)
        self._waiting: list[tuple[NDArray[np.object_], list[Any]]] = []
        self._rows = 0
        self.count = 0

    def add(self, scene: Sequence[Any], polygons: NumberedPolygons, *, crs: str, name: str) -> None:
        """Add the polygons of a scene.

        Args:
            scene: What tells of it, in the order of the fields.
            polygons: In the coordinates of its grid.
            crs: Of these.
            name: What an error calls them.

        Raises:
            DataError: If they cannot be brought to the CRS of the file; the file is as before.
        """
        table = polygons.table
        count = len(table.geometry)
        if count == 0:
            return
        geometry = bring_to(table.geometry, source=crs, target=self._crs, name=name)
        columns: list[Any] = [[value] * count for value in scene]
        columns += [polygons.ids, table.area, table.pixels, table.mean_score, table.max_score]
        self._waiting.append((geometry, columns))
        self._rows += count
        self.count += count
        if self._rows >= _GROUP:
            self._flush()

    def complete(self) -> None:
        """Finish the file."""
        self._flush()
        self._file.complete()

    def close(self) -> None:
        """Let go of the file, complete or not."""
        self._file.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        geometry = np.concatenate([shapes for shapes, _ in self._waiting])
        parts = zip(*(columns for _, columns in self._waiting), strict=True)
        columns: list[Any] = [
            [value for part in group for value in part]
            if index < self._width
            else np.concatenate(group)
            for index, group in enumerate(parts)
        ]
        self._file.write(geometry, columns)
        self._waiting, self._rows = [], 0


def bring_to(
    geometry: NDArray[np.object_], *, source: str, target: str, name: str
) -> NDArray[np.object_]:
    """Bring polygons of a scene to another CRS; what crosses the antimeridian is cut there.

    Args:
        geometry: Polygons, (N,).
        source: Their CRS.
        target: The CRS that is wanted.
        name: What the error calls them.

    Returns:
        Polygons and, where they were cut, multipolygons, (N,).

    Raises:
        DataError: If no way leads there, or the polygons have no place there.
    """
    wanted = pyproj.CRS.from_user_input(target)
    if pyproj.CRS.from_user_input(source).equals(wanted, ignore_axis_order=True):
        return geometry
    transformer = transformer_between(source, target)
    if transformer is None:
        raise DataError(f"{name}: no way leads from {crs_name(source)} to {crs_name(target)}")
    pieces = shapely.segmentize(geometry, _longest_edge(source))

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)

    moved = np.asarray(shapely.transform(pieces, move), dtype=object)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise DataError(f"{name}: has no place in {crs_name(target)}")
    if not wanted.is_geographic:
        return moved
    wide = np.flatnonzero(shapely.bounds(moved)[:, 2] - shapely.bounds(moved)[:, 0] > 180.0)
    for index in wide:
        moved[index] = _cut(moved[index])
    return moved


def check_common_crs(text: str) -> str:
    """Let a CRS through that polygons of many scenes can have.

    Raises:
        DataError: If PROJ does not know it, or no way leads there from longitude and latitude.
    """
    if transformer_between("OGC:CRS84", text) is None:
        raise DataError(
            f"there is no CRS {text!r} on Earth that PROJ knows; name one such as EPSG:4326 or "
            "EPSG:3035"
        )
    return text


def _longest_edge(crs: str) -> float:
    """Give how long an edge may be that stays straight, in units of a CRS."""
    found = pyproj.CRS.from_user_input(crs)
    if found.is_geographic:
        return _LONGEST_EDGE_M / _METRES_PER_DEGREE
    units = [axis.unit_conversion_factor for axis in found.axis_info[:1]]
    factor = units[0] if units and units[0] else 1.0
    return _LONGEST_EDGE_M / factor if math.isfinite(factor) else _LONGEST_EDGE_M


def _cut(shape: shapely.Geometry) -> shapely.Geometry:
    """Cut what jumps from one end of the map to the other, in degrees."""

    def unroll(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return points + np.stack([360.0 * (points[:, 0] < 0), np.zeros(len(points))], axis=1)

    whole = shapely.make_valid(shapely.transform(shape, unroll))
    east = whole.intersection(_WORLD)
    west = translate(whole.intersection(translate(_WORLD, 360.0)), -360.0)
    parts = [
        part
        for half in (east, west)
        for part in shapely.get_parts(half)
        if part.geom_type == "Polygon" and part.area > 0
    ]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
