"""Write polygons as GeoPackage."""

import sqlite3
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio.raw
import shapely
from numpy.typing import NDArray

from changedet.vector.table import COLUMNS


class GeoPackageLayer:
    """A :class:`~changedet.vector.table.Layer` called ``polygons`` in a GeoPackage."""

    def __init__(self, path: Path, *, crs: str | None) -> None:
        self._path = path
        self._crs = crs
        self._count = 0
        self._is_new = True

    def write(self, geometry: NDArray[np.object_], columns: Sequence[NDArray[np.generic]]) -> None:
        """Append a batch in one transaction."""
        with warnings.catch_warnings():
            # pyogrio warns of a layer without CRS, which is what such scenes need.
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            pyogrio.raw.write(
                self._path,
                shapely.to_wkb(geometry),
                list(columns),
                list(COLUMNS),
                driver="GPKG",
                layer="polygons",
                geometry_type="Polygon",
                crs=self._crs,
                append=not self._is_new,
                # Newer versions make readers such as GDAL 3.6 warn.
                dataset_options={"VERSION": "1.3"},
            )
        self._is_new = False
        self._count += len(geometry)

    def complete(self) -> None:
        """Check that all of it is in the file; write an empty layer if there was nothing.

        Raises:
            OSError: If features are missing or the file is damaged, as on a full disk, which GDAL
                may report while closing only, hence not at all.
        """
        if self._is_new:
            nothing = np.zeros(0)
            counts = nothing.astype(np.int64)
            kinds = [counts if name in {"id", "pixels"} else nothing for name in COLUMNS]
            self.write(nothing.astype(object), kinds)
        try:
            with closing(sqlite3.connect(self._path)) as database:
                verdict = database.execute("PRAGMA quick_check").fetchone()[0]
                found = database.execute("SELECT count(*) FROM polygons").fetchone()[0]
        except sqlite3.Error as error:
            raise OSError(f"the file is damaged ({error})") from error
        if verdict != "ok" or found != self._count:
            raise OSError(f"{found} of {self._count} polygons arrived, integrity: {verdict}")

    def close(self) -> None:
        """Do nothing: the file is open only while a batch is written."""
