"""Write polygons as GeoParquet 1.1."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from changedet._optional import require
from changedet.vector.table import COLUMNS


class GeoParquetLayer:
    """A :class:`~changedet.vector.table.Layer` in a Parquet file, one row group a batch.

    The metadata follow the GeoParquet 1.1.0 specification: WKB, the CRS as PROJJSON (null: none),
    exterior rings counter-clockwise, bounding box of all polygons.

    Raises:
        MissingExtraError: If pyarrow is not installed.
    """

    def __init__(self, path: Path, *, crs: str | None) -> None:
        self._arrow: Any = require("pyarrow", extra="parquet")
        parquet = require("pyarrow.parquet", extra="parquet")
        types = [
            self._arrow.int64() if name in {"id", "pixels"} else self._arrow.float64()
            for name in COLUMNS
        ]
        fields = [*zip(COLUMNS, types, strict=True), ("geometry", self._arrow.binary())]
        self._schema = self._arrow.schema(fields)
        self._crs = None if crs is None else pyproj.CRS.from_user_input(crs).to_json_dict()
        self._bounds = [np.inf, np.inf, -np.inf, -np.inf]
        # With a stored Arrow schema, readers would not see metadata that is added at the end.
        self._file: Any = parquet.ParquetWriter(
            path, self._schema, compression="zstd", store_schema=False
        )

    def write(self, geometry: NDArray[np.object_], columns: Sequence[NDArray[np.generic]]) -> None:
        """Append a row group."""
        left, bottom, right, top = shapely.total_bounds(geometry).tolist()
        low, high = self._bounds[:2], self._bounds[2:]
        self._bounds = [
            min(low[0], left),
            min(low[1], bottom),
            max(high[0], right),
            max(high[1], top),
        ]
        wkb = shapely.to_wkb(shapely.orient_polygons(geometry))
        arrays = [
            self._arrow.array(values, field.type, from_pandas=True)
            for values, field in zip([*columns, wkb], self._schema, strict=True)
        ]
        self._file.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def complete(self) -> None:
        """Write the metadata, which hold the bounding box."""
        column: dict[str, object] = {
            "encoding": "WKB",
            "geometry_types": ["Polygon"],
            "crs": self._crs,
            "orientation": "counterclockwise",
        }
        if np.isfinite(self._bounds).all():
            column["bbox"] = self._bounds
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        self._file.add_key_value_metadata({"geo": json.dumps(geo)})
        self._file.close()

    def close(self) -> None:
        """Let go of the file; what could not be written any more does not matter then."""
        with contextlib.suppress(OSError):
            self._file.close()
