"""Verdicts on the polygons of one result, in a GeoPackage beside it.

Every write is one SQLite transaction that is on the disk before the browser hears of it, so
verdicts survive whatever ends the server. Each row has the revision of the file at which it was
written: who changes a row says which one he saw, and is told if somebody else was faster.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import shapely

from changedet._version import __version__
from changedet.errors import DataError, StorageError
from changedet.raster.geo_grid import GeoGrid
from changedet.vector.review_file import (
    FORMAT_VERSION,
    INFO,
    LOOKED_AT,
    VERDICTS,
    create_review_file,
)
from changedet.view.geometry import Box
from changedet.view.review_rows import ReviewRows
from changedet.view.verdicts import Changes, ConflictError, LookedAt, NewVerdict, ReadOnlyError, Row

# How long another server may take for its write.
_BUSY_MS: Final = 5000


class ReviewStore:
    """The verdicts on one result; may be used from many threads.

    The file is made by the first write.

    Args:
        path: Of the file.
        grid: Of the result.
        identity: Of the result, see :attr:`changedet.view.item.Item.identity`.
        facts: More that the file says of the result it belongs to, such as its inputs.

    Attributes:
        read_only: Why nothing can be written; None: it can.

    Raises:
        DataError: If there is a file that belongs to another result, comes from a newer version, or
            is no review.
    """

    def __init__(
        self, path: Path, *, grid: GeoGrid, identity: str, facts: Mapping[str, str]
    ) -> None:
        self.path = path
        self._grid = grid
        self._identity = identity
        self._facts = facts
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._srs_id = 0
        self.read_only = _why_read_only(path)
        with self._lock:
            if path.exists():
                self._open()

    def changes(self, since: int = 0) -> Changes:
        """Read what was written after a revision.

        Raises:
            StorageError: If the file is damaged or has vanished.
        """
        with self._lock, self._explained():
            self._follow()
            if self._database is None:
                return Changes(0, [], [], [])
            # One transaction, so that all of it belongs to one revision.
            with _transaction(self._database, "BEGIN"):
                rows = self._rows(self._database)
                return Changes(
                    rows.revision(),
                    rows.since(since),
                    rows.windows_since(since),
                    rows.deleted_since(since) if since else [],
                )

    def put(self, uid: str, new: NewVerdict, *, known_revision: int | None) -> tuple[Row, int]:
        """Write a verdict, and return its row and the revision of the file.

        Args:
            uid: Of the polygon.
            new: The verdict.
            known_revision: Of the row that it replaces; None: there is none yet.

        Raises:
            ConflictError: If somebody else has changed, made or removed the row meanwhile.
            ReadOnlyError: If nothing can be written.
            StorageError: If writing fails.
        """
        with self._writing() as rows:
            current = rows.find(uid)
            # Sent again, as after a lost connection.
            if current is not None and _is_same(current.new, new):
                return current, rows.revision()
            if (None if current is None else current.revision) != known_revision:
                raise ConflictError(current)
            row = rows.put(uid, new)
            return row, row.revision

    def delete(self, uid: str, *, known_revision: int | None) -> int:
        """Take a verdict back, and return the revision of the file; errors as of :meth:`put`."""
        with self._writing() as rows:
            current = rows.find(uid)
            if current is None:
                return rows.revision()
            if current.revision != known_revision:
                raise ConflictError(current)
            return rows.remove(uid, VERDICTS, LOOKED_AT)

    def put_window(self, uid: str, window: Box, *, who: str | None) -> LookedAt:
        """Note that a window was looked at; errors as of :meth:`put`."""
        with self._writing() as rows:
            if rows.has(VERDICTS, uid):
                raise ConflictError(rows.find(uid))
            return rows.put_window(uid, window, who=who)

    def delete_window(self, uid: str) -> int:
        """Take a window back, and return the revision of the file; errors as of :meth:`put`."""
        with self._writing() as rows:
            if rows.has(LOOKED_AT, uid) and not rows.has(VERDICTS, uid):
                return rows.remove(uid, LOOKED_AT)
            return rows.revision()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None
                # Whoever still holds this object opens the file again.
                self._inode = None

    def _open(self) -> None:
        """Open the file that is there, and make sure that it is the right one."""
        mode = "ro" if self.read_only is not None else "rw"
        address = f"{self.path.absolute().as_uri()}?mode={mode}"
        try:
            database = sqlite3.connect(
                address, uri=True, check_same_thread=False, isolation_level=None
            )
            database.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            # Each commit is on the disk before it returns.
            database.execute("PRAGMA synchronous = FULL")
            info = dict(database.execute(f"SELECT name, value FROM {INFO}"))
            (self._srs_id,) = database.execute(
                "SELECT srs_id FROM gpkg_geometry_columns WHERE table_name = ?", (VERDICTS,)
            ).fetchone()
        except (sqlite3.Error, TypeError) as error:
            raise DataError(
                f"{self.path}: is no review of changedet, or is damaged ({error}); move it away"
            ) from error
        fault = _fault(info, identity=self._identity)
        if fault is not None:
            database.close()
            raise DataError(f"{self.path}: {fault}")
        self._database = database
        self._inode = self.path.stat().st_ino

    @contextmanager
    def _writing(self) -> Iterator[ReviewRows]:
        """Give the rows inside of a transaction, which ends with the block."""
        if self.read_only is not None:
            raise ReadOnlyError(self.read_only)
        with self._lock, self._explained():
            self._follow()
            if self._database is None:
                info = {"identity": self._identity, "version": __version__, **self._facts}
                create_review_file(self.path, crs=self._grid.crs, info=info)
                self._open()
            database = self._database
            if database is None:
                raise StorageError(f"{self.path}: cannot be opened; check the disk")
            with _transaction(database, "BEGIN IMMEDIATE"):
                yield self._rows(database)

    def _rows(self, database: sqlite3.Connection) -> ReviewRows:
        return ReviewRows(database, self._grid, srs_id=self._srs_id, name=str(self.path))

    def _follow(self) -> None:
        """Notice that the file was made by another server, replaced, or has vanished."""
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            if self._inode is not None:
                raise StorageError(
                    f"{self.path}: has vanished; put it back, or start changedet view again to "
                    "begin a new review"
                ) from None
            return
        if inode != self._inode:
            if self._database is not None:
                self._database.close()
                self._database = None
            self._open()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                f"{self.path}: cannot be read or written ({error}); check the disk"
            ) from error


@contextmanager
def _transaction(database: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Keep what happens inside of the block, or nothing of it after an error."""
    database.execute(begin)
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        # SQLite may have ended the transaction itself, as on a full disk.
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _is_same(stored: NewVerdict, new: NewVerdict) -> bool:
    """Tell whether a verdict is stored already; coordinates are not compared to the last bit."""
    plain = stored._replace(polygon=new.polygon, window=new.window)
    return plain == new and shapely.equals_exact(
        shapely.normalize(stored.polygon), shapely.normalize(new.polygon), tolerance=1e-4
    )


def _fault(info: Mapping[str, str], *, identity: str) -> str | None:
    """Say why a file is not the review of a result."""
    version = info.get("format_version", "")
    if not version.isdecimal() or "identity" not in info:
        return "is no review of changedet, or is damaged; move it away"
    if int(version) > FORMAT_VERSION:
        return (
            f"comes from a newer changedet (format {version}, this one reads up to "
            f"{FORMAT_VERSION}); update changedet"
        )
    if info["identity"] != identity:
        return (
            "is the review of another result (the scene was predicted again with other settings, "
            "or the file was copied here); move it away to begin a new one"
        )
    return None


def _why_read_only(path: Path) -> str | None:
    place = path if path.exists() else path.parent
    if os.access(path.parent, os.W_OK) and os.access(place, os.W_OK):
        return None
    return (
        f"{place} cannot be written to, so verdicts cannot be kept; copy the result to a folder of "
        "your own to review it"
    )
