"""Why a raster cannot be opened, and what to do, in one line."""

from __future__ import annotations

import re
import shlex
import tarfile
import zipfile
from pathlib import Path
from typing import Final

from changedet.storage.text import exists, first_few, is_file

# GDAL's own name of a layer in a file: NETCDF:"file.nc":red, HDF5:"file.h5"://group/red.
_LAYER_NAME: Final = re.compile(r"[A-Za-z0-9_]+:\"?(?P<file>[^\"]+?)\"?:(?P<layer>[^\"]*)\Z")
_RASTERS: Final = (".tif", ".tiff", ".jp2", ".img", ".nc", ".vrt", ".png", ".jpg")
_HANDLERS: Final = {".zip": "/vsizip/", ".tar": "/vsitar/", ".tgz": "/vsitar/", ".gz": "/vsigzip/"}


def is_raster_folder(path: Path) -> bool:
    """Tell whether a folder is itself a raster: Zarr, a SAFE product, an Esri grid."""
    if not (exists(path) and path.is_dir()):
        return False
    return path.suffix.lower() in (".zarr", ".safe") or (path / "hdr.adf").is_file()


def why_not_open(location: str, reason: str) -> str:
    """Say why a local raster cannot be opened.

    Args:
        location: As the user gave it.
        reason: GDAL's words, on one line.
    """
    path = Path(location)
    if not location.startswith("/vsi") and not exists(path):
        return _why_missing(location)
    if exists(path) and path.is_dir():
        return _why_no_folder(path)
    suffix = path.suffix.lower()
    if suffix in _HANDLERS:
        return _how_to_read_archive(path, suffix)
    return (
        f"cannot be opened as a raster ({reason}); if it is damaged or truncated, download or "
        "write it again; otherwise convert it with gdal_translate"
    )


def _why_missing(location: str) -> str:
    match = _LAYER_NAME.match(location)
    if match is not None and is_file(Path(match["file"])):
        file = match["file"]
        return f"{file} has no layer {match['layer']!r}; it holds those that gdalinfo lists"
    return why_not_several(location) or "no such file; check the path"


def why_not_several(location: str) -> str | None:
    """Say what to do with several files that are given as one; None if there is just one."""
    parts = [part.strip() for part in location.split(",")]
    if len(parts) == 1 or not any(exists(Path(part)) for part in parts):
        return None
    files = " ".join(map(shlex.quote, parts))
    return (
        "each date is one raster, not several with commas; stack bands that are files of their "
        f"own: gdalbuildvrt -separate date.vrt {files}"
    )


def _why_no_folder(path: Path) -> str:
    """Point to what can be read in a folder that is a product."""
    if path.suffix.lower() == ".safe":
        described = sorted(path.glob("MTD_*.xml"))
        bands = "gdalbuildvrt -separate date.vrt B04.jp2 B03.jp2 B02.jp2"
        if described:
            return (
                f"is a folder; give its description {described[0]}, which lists its layers, or "
                f"stack the bands that are wanted: {bands}"
            )
        return f"is a folder without MTD_*.xml; stack the bands that are wanted: {bands}"
    if path.suffix.lower() == ".zarr":
        return (
            "is a folder that GDAL cannot read as Zarr; convert it with the program that made it, "
            "to GeoTIFF"
        )
    return "is a folder; give a raster file"


def _how_to_read_archive(path: Path, suffix: str) -> str:
    handler = _HANDLERS[".tar" if path.name.lower().endswith(".tar.gz") else suffix]
    start = f"{handler}{path.absolute()}"
    if handler == "/vsigzip/":
        return f"is compressed; unpack it, or read it as it is: {start}"
    members = [name for name in _members(path) if name.lower().endswith(_RASTERS)]
    if not members:
        return "is an archive without rasters; unpack it and give a raster"
    found = first_few([f"{start}/{name}" for name in members])
    return f"is an archive; unpack it, or read what it holds: {found}"


def _members(path: Path) -> list[str]:
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                return archive.namelist()
        with tarfile.open(path) as archive:
            return archive.getnames()
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError):
        return []
