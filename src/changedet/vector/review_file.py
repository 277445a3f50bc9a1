"""The GeoPackage of a review: its layers, and polygons as GeoPackage stores them."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyogrio.raw
import shapely
from numpy.typing import NDArray

from changedet.errors import StorageError
from changedet.raster.open import WARNING_FILTERS
from changedet.storage.atomic import sync_folder
from changedet.vector.errors import storing

#: Polygons that somebody judged or drew.
VERDICTS: Final = "verdicts"
#: Rectangles that somebody has looked at.
LOOKED_AT: Final = "looked_at"
#: What the file belongs to, one fact a row.
INFO: Final = "review_info"
#: Polygons that somebody took back.
DELETED: Final = "review_deleted"
#: Layout of the file; a newer one is refused.
FORMAT_VERSION: Final = 1
#: GeoPackage's number for coordinates without a known place.
UNDEFINED_CARTESIAN: Final = -1

_TEXT: Final = np.zeros(0, dtype=object)
_WHOLE: Final = np.zeros(0, dtype=np.int64)
_NUMBER: Final = np.zeros(0, dtype=np.float64)
_TIME: Final = np.zeros(0, dtype="datetime64[ms]")
_FIELDS: Final = {
    VERDICTS: {
        "uid": _TEXT,
        "verdict": _TEXT,
        "result_id": _WHOLE,
        "note": _TEXT,
        "who": _TEXT,
        "judged_at": _TIME,
        "area_m2": _NUMBER,
        "area_px": _NUMBER,
        "mean_score": _NUMBER,
        "max_score": _NUMBER,
        "threshold": _NUMBER,
        "revision": _WHOLE,
    },
    LOOKED_AT: {"uid": _TEXT, "who": _TEXT, "looked_at": _TIME, "revision": _WHOLE},
}
_TABLES: Final = f"""
CREATE UNIQUE INDEX verdicts_uid ON {VERDICTS} (uid);
CREATE UNIQUE INDEX looked_at_uid ON {LOOKED_AT} (uid);
CREATE TABLE {INFO} (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, value TEXT);
CREATE TABLE {DELETED} (
  id INTEGER PRIMARY KEY, uid TEXT UNIQUE NOT NULL, revision INTEGER NOT NULL);
INSERT INTO gpkg_contents (table_name, data_type, identifier)
  VALUES ('{INFO}', 'attributes', '{INFO}'), ('{DELETED}', 'attributes', '{DELETED}');
"""
# GeoPackage 1.3, 2.1.3: magic, version, flags (little-endian, envelope of x and y), CRS, envelope.
_HEADER: Final = struct.Struct("<2sBBi4d")
_FLAGS: Final = 0b011


def create_review_file(path: Path, *, crs: str | None, info: Mapping[str, str]) -> bool:
    """Make an empty review file, which is there whole or not at all.

    Args:
        path: Of the file; one that is there stays.
        crs: Coordinate reference system of its polygons.
        info: What the file belongs to.

    Returns:
        Whether it was made; false if somebody else has made one meanwhile.

    Raises:
        StorageError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        with storing(path):
            temporary.unlink(missing_ok=True)
            for layer, fields in _FIELDS.items():
                _write_empty(temporary, layer, fields, crs=crs)
            with closing(sqlite3.connect(temporary)) as database:
                database.executescript(_TABLES)
                if crs is None:
                    for table in ("gpkg_contents", "gpkg_geometry_columns"):
                        database.execute(
                            f"UPDATE {table} SET srs_id = ? WHERE table_name IN (?, ?)",
                            (UNDEFINED_CARTESIAN, VERDICTS, LOOKED_AT),
                        )
                rows = {**info, "format_version": str(FORMAT_VERSION), "revision": "0"}
                database.executemany(
                    f"INSERT INTO {INFO} (name, value) VALUES (?, ?)", rows.items()
                )
                database.commit()
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            return _publish(temporary, path)
    except sqlite3.Error as error:
        raise StorageError(f"cannot write {path}: {error}; check the disk") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _publish(temporary: Path, path: Path) -> bool:
    """Give the file its name, unless there is one of that name."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links.
        if path.exists():
            return False
        temporary.replace(path)
    sync_folder(path.parent)
    return True


def _write_empty(
    path: Path, layer: str, fields: Mapping[str, NDArray[Any]], *, crs: str | None
) -> None:
    with WARNING_FILTERS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        pyogrio.raw.write(
            path,
            np.zeros(0, dtype=object),
            list(fields.values()),
            list(fields),
            driver="GPKG",
            layer=layer,
            geometry_type="Polygon",
            crs=crs,
            append=path.exists(),
            dataset_options={} if path.exists() else {"VERSION": "1.3"},
            # An index needs functions that plain SQLite lacks.
            layer_options={"SPATIAL_INDEX": "NO"},
        )


def to_blob(polygon: shapely.Geometry, *, srs_id: int) -> bytes:
    """Encode a polygon as GeoPackage stores it."""
    left, bottom, right, top = polygon.bounds
    header = _HEADER.pack(b"GP", 0, _FLAGS, srs_id, left, right, bottom, top)
    return header + bytes(shapely.to_wkb(polygon, byte_order=1))


def from_blob(blob: bytes) -> shapely.Geometry:
    """Decode a polygon that :func:`to_blob` or any other program encoded.

    Raises:
        ValueError: If it is none.
    """
    if len(blob) < 8 or blob[:2] != b"GP":
        raise ValueError("no GeoPackage geometry")
    envelope = (0, 32, 48, 48, 64)
    kind = (blob[3] >> 1) & 0b111
    if kind >= len(envelope):
        raise ValueError("no GeoPackage geometry")
    try:
        return shapely.from_wkb(blob[8 + envelope[kind] :])
    except shapely.errors.ShapelyError as error:
        raise ValueError(str(error)) from error


def polygon_package(
    geometry: NDArray[np.object_], columns: Mapping[str, Sequence[object]], *, crs: str | None
) -> bytes:
    """Write polygons and their columns as a GeoPackage, and return its content.

    Args:
        geometry: Polygons, (N,).
        columns: Numbers or texts by name, N each; None for what is not known.
        crs: Coordinate reference system of the polygons.

    Raises:
        StorageError: If no temporary file can be written.
    """
    with tempfile.TemporaryDirectory(prefix="changedet_review_") as folder:
        path = Path(folder) / "changes.gpkg"
        with storing(path), WARNING_FILTERS, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            pyogrio.raw.write(
                path,
                shapely.to_wkb(geometry),
                [_column(values) for values in columns.values()],
                list(columns),
                driver="GPKG",
                layer="changes",
                geometry_type="Polygon",
                crs=crs,
                dataset_options={"VERSION": "1.3"},
            )
            return path.read_bytes()


def _column(values: Sequence[object]) -> NDArray[np.generic]:
    """Give numbers as numbers, with NaN for what is not known, and texts as texts."""
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
