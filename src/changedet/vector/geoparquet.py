"""Write polygons as GeoParquet 1.1."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from changedet._optional import require
from changedet.vector.table import COLUMNS

# Sides of the box of a geometry, by the names that the specification gives them.
_BOX: Final = ("xmin", "ymin", "xmax", "ymax")


class GeoParquetFile:
    """Geometries with columns in a Parquet file, one row group a batch.

    The metadata follow the GeoParquet 1.1.0 specification: WKB, the CRS as PROJJSON (null: none),
    exterior rings counter-clockwise, bounding box of all geometries.

    Args:
        path: The file.
        crs: CRS of the geometries; x comes first, also where the CRS has another order of axes.
        fields: Names and types of the columns, as pyarrow knows types: ``int64``, ``string`` ...
        has_boxes: Whether the box of each geometry is written as well, by which readers skip parts
            of a large file.

    Raises:
        MissingExtraError: If pyarrow is not installed.
    """

    def __init__(
        self, path: Path, *, crs: str | None, fields: Mapping[str, str], has_boxes: bool = False
    ) -> None:
        self._arrow: Any = require("pyarrow", extra="parquet")
        parquet = require("pyarrow.parquet", extra="parquet")
        pa = self._arrow
        # The moment of a date, which has no short name of its own.
        types = {"instant": pa.timestamp("us", tz="UTC")}
        columns = [(name, types.get(kind, kind)) for name, kind in fields.items()]
        self._box = pa.struct([(name, pa.float64()) for name in _BOX]) if has_boxes else None
        boxes = [] if self._box is None else [("bbox", self._box)]
        self._schema = pa.schema([*columns, ("geometry", pa.binary()), *boxes])
        self._crs = None if crs is None else pyproj.CRS.from_user_input(crs).to_json_dict()
        self._bounds = [np.inf, np.inf, -np.inf, -np.inf]
        self._kinds: set[str] = set()
        # With a stored Arrow schema, readers would not see metadata that is added at the end.
        self._file: Any = parquet.ParquetWriter(
            path, self._schema, compression="zstd", store_schema=False
        )

    def write(self, geometry: NDArray[np.object_], columns: Sequence[Any]) -> None:
        """Append a row group.

        Args:
            geometry: Polygons and multipolygons, (N,).
            columns: The others in the order of the fields, each (N,); NaN and None for no value.
        """
        pa = self._arrow
        left, bottom, right, top = shapely.total_bounds(geometry).tolist()
        low, high = self._bounds[:2], self._bounds[2:]
        self._bounds = [
            min(low[0], left),
            min(low[1], bottom),
            max(high[0], right),
            max(high[1], top),
        ]
        self._kinds |= {shape.geom_type for shape in geometry}
        wkb = shapely.to_wkb(shapely.orient_polygons(geometry))
        arrays = [
            pa.array(values, field.type, from_pandas=True)
            for values, field in zip([*columns, wkb], self._schema, strict=False)
        ]
        if self._box is not None:
            sides = shapely.bounds(geometry).reshape(-1, 4).T
            arrays.append(pa.StructArray.from_arrays(list(map(pa.array, sides)), list(_BOX)))
        self._file.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def complete(self) -> None:
        """Write the metadata, which hold the bounding box."""
        column: dict[str, object] = {
            "encoding": "WKB",
            "geometry_types": sorted(self._kinds) or ["Polygon"],
            "crs": self._crs,
            "orientation": "counterclockwise",
        }
        if np.isfinite(self._bounds).all():
            column["bbox"] = self._bounds
        if self._box is not None:
            column["covering"] = {"bbox": {name: ["bbox", name] for name in _BOX}}
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        self._file.add_key_value_metadata({"geo": json.dumps(geo)})
        self._file.close()

    def close(self) -> None:
        """Let go of the file; what could not be written any more does not matter then."""
        with contextlib.suppress(OSError):
            self._file.close()


class GeoParquetLayer(GeoParquetFile):
    """A :class:`~changedet.vector.table.Layer` in a :class:`GeoParquetFile`.

    Raises:
        MissingExtraError: If pyarrow is not installed.
    """

    def __init__(self, path: Path, *, crs: str | None) -> None:
        whole = ("id", "pixels")
        fields = {name: "int64" if name in whole else "float64" for name in COLUMNS}
        super().__init__(path, crs=crs, fields=fields)
