"""Turn what goes wrong in writing into one kind of error."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyogrio.errors

from changedet.errors import StorageError


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Raise :class:`StorageError` about ``path`` for errors of the disk and of GDAL."""
    try:
        yield
    except (OSError, pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise StorageError(
            f"cannot write {path}: {reason}; "
            "make room or choose another folder, then run the command again"
        ) from error
