"""Scores of a whole scene in a raw file: written in any order, read back while it grows."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from changedet.errors import DataError, StorageError
from changedet.storage.atomic import write_text

if TYPE_CHECKING:
    from io import FileIO

    from numpy.typing import NDArray

    from changedet.raster.geo_grid import GeoGrid

_DTYPE: Final = np.dtype("<f4")
# What file systems that cannot reserve room answer; the file then takes its room as it is written.
_CANNOT_RESERVE: Final = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


# Plain reads and writes instead of a memory map: a map answers a full disk (where room cannot be
# reserved), a failing disk or a file cut short by killing the process (SIGBUS), and its pages count
# as the process's own memory.
class ScoreFile:
    """Scores of every pixel of a grid on disk, (K, H, W), float32, NaN = no data.

    The file holds nothing but little-endian numbers, band after band and row by row, and an ENVI
    header lies next to it, so GDAL and every GIS read it. Rows that were never written read as 0.
    Rows are safe from a crash once :meth:`sync` has returned. May be used from many threads.

    Attributes:
        path: Of the raw file; the header has the same name and ``.hdr``.
        grid: Where the pixels lie.
        bands: Scores that a pixel has, K.
    """

    def __init__(self, path: Path, grid: GeoGrid, file: FileIO, *, bands: int = 1) -> None:
        self.path = path
        self.grid = grid
        self.bands = bands
        self._file = file
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: Path, grid: GeoGrid, *, bands: int = 1) -> Self:
        """Start a file, in place of one that may be there, and reserve its room on the disk.

        Raises:
            StorageError: If there is no room for all scores or the place is not writable; nothing
                is left there.
        """
        size = bands * grid.height * grid.width * _DTYPE.itemsize
        try:
            file = path.open("w+b", buffering=0)
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            _reserve(file, size)
            write_text(_header_path(path), _header(grid, bands))
        except (OSError, StorageError) as error:
            file.close()
            # A file that stays behind is no reason to hide why writing failed.
            for name in (path, _header_path(path)):
                with contextlib.suppress(OSError):
                    name.unlink(missing_ok=True)
            if isinstance(error, StorageError):
                raise
            raise StorageError(
                f"cannot reserve {describe_size(size)} for the scores in {path}: "
                f"{error.strerror or error}; make room or choose another folder, then run the "
                "command again"
            ) from error
        return cls(path, grid, file, bands=bands)

    @classmethod
    def open(cls, path: Path, grid: GeoGrid, *, bands: int = 1) -> Self:
        """Reopen a file that :meth:`create` made for the same grid and number of bands.

        Raises:
            DataError: If it is missing or was made for a grid of another size or for other bands.
        """
        size = bands * grid.height * grid.width * _DTYPE.itemsize
        try:
            found = path.stat().st_size
            has_header = _header_path(path).read_text("utf-8") == _header(grid, bands)
            file = path.open("r+b", buffering=0)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"cannot continue with the scores in {path}: {getattr(error, 'strerror', error)}; "
                "remove the unfinished files and run the command again"
            ) from error
        if found != size or not has_header:
            file.close()
            several = f" in {bands} bands" if bands > 1 else ""
            raise DataError(
                f"{path} does not contain {grid.height}x{grid.width} scores{several}; remove the "
                "unfinished files and run the command again"
            )
        return cls(path, grid, file, bands=bands)

    def write_rows(self, top: int, rows: NDArray[np.float32]) -> None:
        """Put full rows of scores, (K, n, W), at row ``top``; of a single band also (n, W).

        Raises:
            StorageError: If they cannot be written, for example on a full disk.
            ValueError: If the rows do not fit into the grid or the bands.
        """
        bands = rows[np.newaxis] if rows.ndim == 2 else rows
        if bands.ndim != 3 or bands.shape[::2] != (self.bands, self.grid.width):
            raise ValueError(
                f"rows must have {self.grid.width} columns and {self.bands} band(s), "
                f"got {rows.shape}"
            )
        self._check(top, bands.shape[1])
        try:
            with self._lock:
                for number, band in enumerate(bands):
                    rest = np.ascontiguousarray(band, dtype=_DTYPE).reshape(-1).view(np.uint8).data
                    self._file.seek(self._offset(number, top))
                    while rest:
                        rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def read_rows(self, top: int, count: int) -> NDArray[np.float32]:
        """Read full rows of scores, (K, count, W).

        Raises:
            StorageError: If they cannot be read.
            ValueError: If the rows do not lie inside the grid.
        """
        self._check(top, count)
        rows = np.empty((self.bands, count, self.grid.width), _DTYPE)
        try:
            with self._lock:
                for number, band in enumerate(rows):
                    rest = band.reshape(-1).view(np.uint8).data
                    self._file.seek(self._offset(number, top))
                    while rest:
                        done = self._file.readinto(rest)
                        if not done:
                            raise OSError(errno.EIO, "the file is shorter than it was")
                        rest = rest[done:]
        except OSError as error:
            raise StorageError(
                f"cannot read the scores in {self.path}: {error.strerror or error}; "
                "remove the unfinished files and run the command again"
            ) from error
        return rows.astype(np.float32, copy=False)

    def sync(self) -> None:
        """Make all that was written safe from a crash.

        Raises:
            StorageError: If the disk does not take it.
        """
        try:
            with self._lock:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file; it stays on the disk."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, top: int, count: int) -> None:
        if top < 0 or count < 0 or top + count > self.grid.height:
            raise ValueError(
                f"rows {top} to {top + count} do not lie inside a grid of {self.grid.height} rows"
            )

    def _offset(self, band: int, top: int) -> int:
        return (band * self.grid.height + top) * self.grid.width * _DTYPE.itemsize


def describe_size(size: float) -> str:
    """Give a number of bytes in MB, from a thousand of them on in GB."""
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


def _reserve(file: FileIO, size: int) -> None:
    """Give the file its size, and its room where the system can: a full disk shows at once."""
    file.truncate(size)
    if sys.platform == "linux":  # pragma: no branch
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise


def _header_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.hdr")


def _header(grid: GeoGrid, bands: int) -> str:
    """Describe the raw file in ENVI's words; 4 is float32, byte order 0 is little-endian."""
    return (
        "ENVI\n"
        "description = {change score}\n"
        f"samples = {grid.width}\n"
        f"lines = {grid.height}\n"
        f"bands = {bands}\n"
        "header offset = 0\n"
        "file type = ENVI Standard\n"
        "data type = 4\n"
        "interleave = bsq\n"
        "byte order = 0\n"
        "data ignore value = nan\n"
    )


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write {path}: {error.strerror or error}; "
        "make room or choose another folder, then run the command again"
    )
