"""Where catalogues lie: files, addresses, and what their relative paths are relative to."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from changedet._optional import require
from changedet.errors import ConfigError, DataError
from changedet.storage.secrets import scrubbed, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
# What GDAL opens by other means than a path; a drive letter is none of its drivers.
_OF_GDAL: Final = re.compile(r"/vsi|[a-z0-9_]{2,}:|<", re.IGNORECASE)
_DRIVE: Final = re.compile(r"[a-z]:|\\\\", re.IGNORECASE)
_TIMEOUT_S: Final = 30.0
_AGENT: Final = {"User-Agent": "changedet"}


def is_address(location: str) -> bool:
    """Tell an address, such as ``s3://bucket/a.csv``, from a path."""
    return _ADDRESS.match(location) is not None


@contextlib.contextmanager
def opened(location: str) -> Iterator[IO[bytes]]:
    """Open a file of a catalogue for reading, wherever it lies.

    Args:
        location: Path, http(s) address, or an address of a file system that fsspec knows.

    Raises:
        DataError: If it is not there or cannot be read.
        ConfigError: If the address needs a package that is not installed, or nobody knows it.
        MissingExtraError: If it needs fsspec, which is not installed.
    """
    try:
        with _open(location) as file:
            yield file
    except (OSError, urllib.error.URLError) as error:
        if isinstance(error, urllib.error.HTTPError):
            # It is the server's answer as well, whose connection is open.
            error.close()
        raise _unreadable(location, error) from error


def _open(location: str) -> Any:  # noqa: ANN401
    scheme = _ADDRESS.match(location)
    if scheme is None:
        return Path(location).open("rb")
    if scheme[1].lower() in ("http", "https"):
        request = urllib.request.Request(location, headers=_AGENT)
        return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    fsspec = require("fsspec", extra="batch")
    try:
        return fsspec.open(location, "rb")
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{without_secrets(location)}: cannot be opened ({' '.join(str(error).split())}); "
            "install the package that it names, or copy the file"
        ) from error


def _unreadable(location: str, error: OSError) -> DataError:
    name = without_secrets(location)
    if isinstance(error, FileNotFoundError):
        return DataError(f"{name}: no such file; check the path")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{name}: is a folder; give a catalogue file")
    reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
    return DataError(
        f"{name}: cannot be read ({scrubbed(str(reason), location)}); check the address and your "
        "rights"
    )


def resolve(text: str, *, base: str) -> str:
    r"""Find what a catalogue means by a path.

    Args:
        text: As the catalogue has it: an address, a name of GDAL (``/vsi...``), an absolute path,
            or a path from where the catalogue lies. Windows' ``\`` separates folders everywhere.
        base: The catalogue's own path or address.
    """
    if _OF_GDAL.match(text):
        return text
    # An absolute path of Windows is what it is, also where it leads nowhere.
    if _DRIVE.match(text):
        return text
    if "\\" in text and "/" not in text:
        text = text.replace("\\", "/")
    if is_address(base):
        # A signed address of the catalogue says nothing of the files beside it.
        start, separator, rest = base.partition("://")
        path = rest.partition("?")[0]
        return start + separator + posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
    # Not by pathlib, which keeps the parts of a million paths in memory.
    return os.path.join(os.path.dirname(base), text.removeprefix("./"))  # noqa: PTH118, PTH120
