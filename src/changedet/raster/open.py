"""Open a raster wherever it lies, with errors that say what to do."""

import contextlib
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import rasterio
from rasterio.errors import NotGeoreferencedWarning

from changedet.errors import ImageError
from changedet.raster.environment import gdal_environment
from changedet.raster.layers import choose_layer, describe_layers, split_layer
from changedet.raster.open_errors import why_not_open
from changedet.raster.usable import GDAL_FAULTS, files_of, require_usable
from changedet.storage.secrets import scrubbed, without_secrets
from changedet.storage.text import exists, first_few

_PREFIXES: Final = {
    "http": "/vsicurl/",
    "https": "/vsicurl/",
    "s3": "/vsis3/",
    "gs": "/vsigs/",
    "az": "/vsiaz/",
}
_NETWORK: Final = ("/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsiadls", "/vsioss", "/vsiswift")
#: To be held while warning filters are changed and restored, including by rasterio when it is given
#: arrays: they belong to the process, and two threads would leave each other's behind.
WARNING_FILTERS: Final = threading.Lock()


def gdal_path(location: str) -> str:
    """Translate a path, an ``http(s)://`` or ``s3://`` address into the name that GDAL knows."""
    scheme, separator, rest = location.partition("://")
    prefix = _PREFIXES.get(scheme.lower()) if separator else None
    if prefix is None:
        return location
    return prefix + (location if prefix == "/vsicurl/" else rest)


def is_remote(location: str) -> bool:
    """Tell whether a raster is read over the network."""
    path = gdal_path(location)
    # Also through another handler: /vsizip/vsicurl/...
    return path.startswith("/vsi") and any(handler in path for handler in _NETWORK)


def open_raster(location: str) -> rasterio.DatasetReader:
    """Open a raster for reading.

    Args:
        location: Path, ``http(s)://`` or ``s3://`` address, or a ``/vsi...`` name of GDAL. Of a
            file that holds several images, such as the pages of a TIFF or the layers of a netCDF
            file, ``FILE#2`` is the second, and ``FILE#NAME`` the one of that name.

    Raises:
        ImageError: If it is missing, unreachable, cut short, no raster, or holds no bands; if there
            is no such image in the file, or a file that it refers to is missing.
    """
    file, layer = split_layer(location)
    dataset = _open(file, location)
    if layer is not None:
        with contextlib.closing(dataset):
            chosen = choose_layer(without_secrets(file), dataset.subdatasets, layer)
        dataset = _open(chosen or file, location)
    name = without_secrets(location)
    if dataset.count == 0:
        layers = describe_layers(name, dataset.subdatasets) if dataset.subdatasets else "none"
        dataset.close()
        raise ImageError(
            f"{name}: has no bands of its own; use one of its layers instead: "
            f"{scrubbed(layers, location)}"
        )
    if dataset.driver == "VRT":
        gone = _gone(files_of(dataset))
        if gone:
            dataset.close()
            raise ImageError(
                f"{name}: refers to {first_few(gone)}, which is not there; put it back, or "
                "build the VRT again (gdalbuildvrt)"
            )
    with reading(location):
        require_usable(dataset, name)
    return dataset


def is_same_source(first: str, second: str) -> bool:
    """Tell whether two locations are one image: also by another path, a hard link or a symlink."""
    if first == second:
        return True
    (one, page), (other, other_page) = split_layer(first), split_layer(second)
    if (page or "1") != (other_page or "1"):
        return False
    try:
        return Path(one).samefile(other)
    except (OSError, ValueError):
        # Addresses, GDAL's own names.
        return one == other


def _gone(files: Sequence[str]) -> list[str]:
    """Give the local files that are not there."""
    return [
        file
        for file in files
        if not (file.startswith("/vsi") or "://" in file or exists(Path(file)))
    ]


def _open(path: str, location: str) -> rasterio.DatasetReader:
    remote = is_remote(location)
    # Sidecar files (.tfw, .ovr, .msk) are looked for next to local files only: on a server every
    # look costs a request.
    listing = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"} if remote else {}
    try:
        with (
            gdal_environment(),
            rasterio.Env(**listing),
            WARNING_FILTERS,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(gdal_path(path))
    except UnicodeEncodeError as error:
        raise ImageError(
            f"{without_secrets(location)}: GDAL cannot open a file whose name or folder is not "
            "UTF-8; rename it"
        ) from error
    except GDAL_FAULTS as error:
        raise ImageError(
            f"{without_secrets(location)}: {_why_not_open(location, error)}"
        ) from error


def raster_shape(location: str) -> tuple[int, int]:
    """Read height and width of a raster, in pixels, from its header.

    Raises:
        ImageError: As :func:`open_raster`.
    """
    with open_raster(location) as dataset:
        height, width = dataset.shape
    return height, width


@contextlib.contextmanager
def reading(location: str) -> Iterator[None]:
    """Raise :class:`ImageError` for whatever a damaged raster makes GDAL say once it is open."""
    try:
        yield
    except GDAL_FAULTS as error:
        raise reading_error(location, error) from error


def reading_error(location: str, error: BaseException) -> ImageError:
    """Make the error for a raster that was opened but whose pixels cannot be read."""
    advice = (
        "check the connection, then run the command again"
        if is_remote(location)
        else "the file is damaged or truncated; download or write it again"
    )
    reason = scrubbed(one_line(error), location)
    return ImageError(f"{without_secrets(location)}: pixels cannot be read ({reason}); {advice}")


def one_line(error: BaseException) -> str:
    """Give the innermost message of a chain of errors, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"\s+", " ", str(error)).strip().rstrip(".") or type(error).__name__


def _why_not_open(location: str, error: BaseException) -> str:
    reason = scrubbed(one_line(error), location)
    if is_remote(location):
        return (
            f"cannot be opened over the network ({reason}); check the address, the credentials "
            "and the connection, or download the file"
        )
    return why_not_open(location, reason)
