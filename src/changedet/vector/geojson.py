"""Write polygons as GeoJSON, RFC 7946: longitude and latitude, whatever the CRS of the scene."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from changedet.vector.area import metres_per_unit
from changedet.vector.table import COLUMNS

# 1e-8 degrees are a millimetre.
_DECIMALS: Final = 8
# Edges that are straight in the CRS are bent in degrees: a kilometre by a few centimetres.
_SEGMENT_M: Final = 1000.0
_BOUNDS: Final = ("left", "bottom", "right", "top")


class GeoJsonLayer:
    """A :class:`~changedet.vector.table.Layer` in a GeoJSON file, one feature a line.

    Bounds are in degrees like the coordinates. A polygon across the antimeridian is divided there
    (RFC 7946, 3.1.9), its left bound is then larger than its right one.
    """

    def __init__(self, path: Path, *, crs: str) -> None:
        self._to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        self._segment = _SEGMENT_M / metres_per_unit(crs)
        self._file = path.open("w", encoding="utf-8")
        self._separator = "\n"
        self._file.write('{"type": "FeatureCollection", "features": [')

    def write(self, geometry: NDArray[np.object_], columns: Sequence[NDArray[np.generic]]) -> None:
        """Append a batch."""
        placed, bounds = self._place(geometry)
        lists = [values.tolist() for values in columns]
        for side, name in enumerate(_BOUNDS):
            lists[COLUMNS.index(name)] = bounds[:, side].tolist()
        for shape, *values in zip(shapely.to_geojson(placed).tolist(), *lists, strict=True):
            properties = dict(zip(COLUMNS, values, strict=True))
            self._file.write(
                f'{self._separator}{{"type": "Feature", "id": {properties["id"]}, '
                f'"properties": {json.dumps(properties)}, "geometry": {shape}}}'
            )
            self._separator = ",\n"

    def complete(self) -> None:
        """End the collection."""
        self._file.write("\n]}\n")
        self._file.close()

    def close(self) -> None:
        """Let go of the file; what could not be written any more does not matter then."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _place(
        self, geometry: NDArray[np.object_]
    ) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
        """Bring polygons to degrees; also gives their bounds, (N, 4)."""

        def to_degrees(points: NDArray[np.float64]) -> NDArray[np.float64]:
            degrees = self._to_degrees.transform(points[:, 0], points[:, 1])
            return np.round(np.stack(degrees, axis=1), _DECIMALS)

        placed = shapely.transform(shapely.segmentize(geometry, self._segment), to_degrees)
        placed = shapely.orient_polygons(placed)
        bounds = shapely.bounds(placed)
        for index in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180):
            placed[index], bounds[index] = _divide(placed[index])
        return placed, bounds


def _divide(polygon: shapely.Polygon) -> tuple[shapely.Geometry, tuple[float, ...]]:
    """Cut a polygon whose longitudes jump between -180 and 180 at the antimeridian."""

    def unwrap(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.remainder(points[:, 0], 360.0), points[:, 1]], axis=1)

    whole = shapely.transform(polygon, unwrap)
    left, bottom, right, top = whole.bounds
    west = shapely.intersection(whole, shapely.box(left, bottom, 180.0, top))
    east = shapely.intersection(whole, shapely.box(180.0, bottom, right, top))
    east = shapely.transform(east, lambda points: points - [360.0, 0.0])
    parts = [part for part in shapely.get_parts([west, east]) if part.geom_type == "Polygon"]
    divided = shapely.orient_polygons(shapely.MultiPolygon(parts))
    return divided, (left, bottom, right - 360.0, top)
