"""Files that are there whole or not at all."""

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from changedet.errors import StorageError
from changedet.storage.lock import NoLocksError, let_go, take

#: Ends the names of what is not complete yet; such names begin with a dot.
PART: Final = ".part"
# What a file system answers that keeps no folders in a cache, or cannot be told to write one.
_CANNOT_SYNC: Final = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM}


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replace ``path`` by ``content``, so that a reader or a crash never sees half a file.

    The content goes to a temporary file next to ``path``, is synced to the disk and then renamed,
    hence the old file stays until the new one is complete, also when the disk is full. What a kill
    leaves of the temporary file is used up by the next write of the same file.

    Raises:
        StorageError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path) as (temporary, file):
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":  # which renames no file that is open
                file.close()
            temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; "
            "make room or choose another folder, then run the command again"
        ) from error


def write_text(path: Path, content: str) -> None:
    r"""Replace ``path`` by UTF-8 text, see :func:`write_bytes`.

    Bytes of file names that are no UTF-8 are written out, ``\udcff``.
    """
    write_bytes(path, content.encode("utf-8", errors="backslashreplace"))


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system lets folders be synced.

    Raises:
        OSError: If the disk fails.
    """
    if sys.platform == "win32":  # its folders cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(handle)


def remove_parts(folder: Path) -> None:
    """Remove unfinished files of killed runs from a folder that no other run may use now."""
    for path in folder.glob(f".*{PART}"):
        if path.is_file():
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a file next to ``path`` for this writer alone; removed after an error."""
    place = path.with_name(f".{path.name}{PART}")
    try:
        handle = None if sys.platform == "win32" else take(place)
    except NoLocksError:
        handle = None
    if handle is None:
        # Somebody may be writing the same file just now: the last one to finish wins.
        owner = f"{os.getpid()}-{threading.get_ident()}"
        place = path.with_name(f".{path.name}.{owner}{PART}")
    try:
        with place.open("wb") as file:
            yield place, file
    except BaseException:
        # It may fail for the same reason (read-only disk).
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)
        raise
    finally:
        if handle is not None:
            let_go(handle)
