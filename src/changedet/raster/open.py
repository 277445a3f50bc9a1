"""Open a raster wherever it lies, with errors that say what to do."""

import re
import threading
import warnings
from pathlib import Path
from typing import Final

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from changedet.errors import ImageError
from changedet.raster.environment import gdal_environment
from changedet.storage.secrets import scrubbed, without_secrets

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
        location: Path, ``http(s)://`` or ``s3://`` address, or a ``/vsi...`` name of GDAL.

    Raises:
        ImageError: If it is missing, unreachable, cut short, no raster, or holds no bands.
    """
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
            dataset = rasterio.open(gdal_path(location))
    except RasterioIOError as error:
        raise ImageError(
            f"{without_secrets(location)}: {_why_not_open(location, error)}"
        ) from error
    if dataset.count == 0:
        layers = ", ".join(dataset.subdatasets[:3]) or "it lists none"
        dataset.close()
        raise ImageError(
            f"{without_secrets(location)}: has no bands of its own; use one of its layers instead "
            f"({scrubbed(layers, location)})"
        )
    return dataset


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


def _why_not_open(location: str, error: RasterioIOError) -> str:
    reason = scrubbed(one_line(error), location)
    if is_remote(location):
        return (
            f"cannot be opened over the network ({reason}); check the address, the credentials "
            "and the connection, or download the file"
        )
    if not location.startswith("/vsi") and not Path(location).exists():
        return "no such file; check the path"
    return (
        f"cannot be opened as a raster ({reason}); if it is damaged or truncated, download or "
        "write it again; otherwise convert it with gdal_translate"
    )
