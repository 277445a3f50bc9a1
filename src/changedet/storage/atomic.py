"""Files that are there whole or not at all."""

import contextlib
import os
from pathlib import Path

from changedet.errors import StorageError


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replace ``path`` by ``content``, so that a reader or a crash never sees half a file.

    The content goes to a temporary file next to ``path``, is synced to the disk and then renamed,
    hence the old file stays until the new one is complete, also when the disk is full.

    Raises:
        StorageError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # The clean-up may fail for the same reason (no such folder, read-only disk).
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; "
            "make room or choose another folder, then run the command again"
        ) from error


def write_text(path: Path, content: str) -> None:
    """Replace ``path`` by UTF-8 text, see :func:`write_bytes`."""
    write_bytes(path, content.encode("utf-8"))
