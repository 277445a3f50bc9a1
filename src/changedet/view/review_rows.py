"""The rows of a review file: SQL, and polygons to and from pixels."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely

from changedet.errors import StorageError
from changedet.vector.review_file import (
    DELETED,
    INFO,
    LOOKED_AT,
    VERDICTS,
    from_blob,
    to_blob,
)
from changedet.view.geometry import Box, area_m2, box_polygon, from_pixels, to_pixels
from changedet.view.verdicts import LookedAt, NewVerdict, Row

if TYPE_CHECKING:
    from changedet.raster.geo_grid import GeoGrid

_COLUMNS: Final = (
    "uid",
    "verdict",
    "result_id",
    "note",
    "who",
    "judged_at",
    "area_m2",
    "area_px",
    "mean_score",
    "max_score",
    "threshold",
    "revision",
)


class ReviewRows:
    """What an open review file holds; whoever calls begins and ends transactions.

    Args:
        database: The file.
        grid: Of the result.
        srs_id: Number of the CRS of its polygons.
        name: Of the file, for messages.
    """

    def __init__(
        self, database: sqlite3.Connection, grid: GeoGrid, *, srs_id: int, name: str
    ) -> None:
        self._database = database
        self._grid = grid
        self._srs_id = srs_id
        self._name = name

    def revision(self) -> int:
        """Count the writes so far."""
        (value,) = self._database.execute(
            f"SELECT value FROM {INFO} WHERE name = 'revision'"
        ).fetchone()
        return int(value)

    def since(self, revision: int) -> list[Row]:
        """Give the verdicts that were written after a revision."""
        return self._rows("v.revision > ?", revision)

    def windows_since(self, revision: int) -> list[LookedAt]:
        """Give the windows without verdicts that were written after a revision."""
        looked = self._database.execute(
            f"SELECT uid, geom, who, looked_at, revision FROM {LOOKED_AT} "
            f"WHERE revision > ? AND uid NOT IN (SELECT uid FROM {VERDICTS}) ORDER BY fid",
            (revision,),
        ).fetchall()
        boxes = self._boxes([blob for _, blob, *_ in looked])
        return [
            LookedAt(uid, box, who, when, number)
            for (uid, _, who, when, number), box in zip(looked, boxes, strict=True)
        ]

    def deleted_since(self, revision: int) -> list[tuple[str, int]]:
        """Give what was taken back after a revision, and at which one."""
        return self._database.execute(
            f"SELECT uid, revision FROM {DELETED} WHERE revision > ? ORDER BY revision",
            (revision,),
        ).fetchall()

    def has(self, table: str, uid: str) -> bool:
        """Tell whether a table has a row."""
        found = self._database.execute(f"SELECT 1 FROM {table} WHERE uid = ?", (uid,)).fetchone()
        return found is not None

    def put(self, uid: str, new: NewVerdict) -> Row:
        """Write a verdict, in the place of the one that was there.

        Raises:
            StorageError: If it does not arrive.
        """
        revision = self.next_revision()
        polygon = self._placed(new.polygon)
        values = {
            "uid": uid,
            "verdict": new.verdict,
            "result_id": new.result_id,
            "note": new.note,
            "who": new.who,
            "judged_at": _now(),
            "area_m2": area_m2(polygon, self._grid),
            "area_px": float(new.polygon.area),
            "mean_score": new.mean_score,
            "max_score": new.max_score,
            "threshold": new.threshold,
            "revision": revision,
        }
        self._database.execute(f"DELETE FROM {DELETED} WHERE uid = ?", (uid,))
        self._replace(VERDICTS, blob=self._blob(polygon), values=values)
        if new.window is not None:
            self._write_window(uid, new.window, who=new.who, revision=revision)
        row = self.find(uid)
        if row is None:
            raise StorageError(f"{self._name}: the verdict did not arrive; check the disk")
        return row

    def put_window(self, uid: str, window: Box, *, who: str | None) -> LookedAt:
        """Note that a window was looked at."""
        revision = self.next_revision()
        self._database.execute(f"DELETE FROM {DELETED} WHERE uid = ?", (uid,))
        when = self._write_window(uid, window, who=who, revision=revision)
        return LookedAt(uid, window, who, when, revision)

    def next_revision(self) -> int:
        """Count a write."""
        revision = self.revision() + 1
        self._database.execute(
            f"UPDATE {INFO} SET value = ? WHERE name = 'revision'", (str(revision),)
        )
        left, bottom, right, top = self._grid.bounds
        self._database.execute(
            "UPDATE gpkg_contents SET last_change = ?, min_x = ?, min_y = ?, max_x = ?, max_y = ? "
            "WHERE table_name IN (?, ?)",
            (_now(), left, bottom, right, top, VERDICTS, LOOKED_AT),
        )
        return revision

    def _write_window(self, uid: str, window: Box, *, who: str | None, revision: int) -> str:
        when = _now()
        values = {"uid": uid, "who": who, "looked_at": when, "revision": revision}
        self._replace(LOOKED_AT, blob=self._blob(self._placed(box_polygon(window))), values=values)
        return when

    def remove(self, uid: str, *tables: str) -> int:
        """Remove rows, and give the revision of the file."""
        revision = self.next_revision()
        for table in tables:
            self._database.execute(f"DELETE FROM {table} WHERE uid = ?", (uid,))
        self._database.execute(
            f"INSERT OR REPLACE INTO {DELETED} (uid, revision) VALUES (?, ?)", (uid, revision)
        )
        return revision

    def find(self, uid: str) -> Row | None:
        """Give a verdict."""
        found = self._rows("v.uid = ?", uid)
        return found[0] if found else None

    def _rows(self, where: str, value: str | int) -> list[Row]:
        names = ", ".join(f"v.{name}" for name in _COLUMNS)
        found = self._database.execute(
            f"SELECT v.geom, l.geom, {names} FROM {VERDICTS} v LEFT JOIN {LOOKED_AT} l "
            f"ON l.uid = v.uid WHERE {where} ORDER BY v.fid",
            (value,),
        ).fetchall()
        polygons = self._polygons([blob for blob, *_ in found])
        windows = self._boxes([window for _, window, *_ in found])
        return [
            _make_row(dict(zip(_COLUMNS, values, strict=True)), polygon, window)
            for (_, _, *values), polygon, window in zip(found, polygons, windows, strict=True)
        ]

    def _polygons(self, blobs: list[bytes]) -> list[shapely.Polygon]:
        shapes = np.empty(len(blobs), dtype=object)
        try:
            shapes[:] = [from_blob(blob) for blob in blobs]
        except ValueError as error:
            raise StorageError(f"{self._name}: is damaged ({error}); restore a copy") from error
        polygons: list[shapely.Polygon] = to_pixels(shapes, self._grid).tolist()
        return polygons

    def _boxes(self, blobs: list[bytes | None]) -> list[Any]:
        shapes = iter(self._polygons([blob for blob in blobs if blob is not None]))
        return [None if blob is None else next(shapes).bounds for blob in blobs]

    def _placed(self, polygon: shapely.Polygon) -> shapely.Geometry:
        placed: shapely.Geometry = from_pixels(np.array([polygon], dtype=object), self._grid)[0]
        return placed

    def _blob(self, polygon: shapely.Geometry) -> bytes:
        return to_blob(polygon, srs_id=self._srs_id)

    def _replace(self, table: str, *, blob: bytes, values: Mapping[str, Any]) -> None:
        """Write a row, in the place of the one with its uid."""
        names = ["geom", *values]
        updates = ", ".join(f"{name} = excluded.{name}" for name in names if name != "uid")
        self._database.execute(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
            f"ON CONFLICT (uid) DO UPDATE SET {updates}",
            (blob, *values.values()),
        )


def _make_row(values: Mapping[str, Any], polygon: shapely.Polygon, window: Box | None) -> Row:
    new = NewVerdict(
        verdict=values["verdict"],
        polygon=polygon,
        result_id=values["result_id"],
        note=values["note"] or "",
        who=values["who"],
        window=window,
        mean_score=values["mean_score"],
        max_score=values["max_score"],
        threshold=values["threshold"],
    )
    return Row(
        values["uid"],
        new,
        values["judged_at"],
        values["area_m2"],
        values["area_px"],
        values["revision"],
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
