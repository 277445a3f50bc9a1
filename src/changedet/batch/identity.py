"""Tell from what an item's results were made, without reading its rasters."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from changedet._optional import FSSPEC
from changedet.data.file_names import TIFF_SUFFIXES
from changedet.predict.request import SceneRequest
from changedet.raster.info import server_version
from changedet.raster.open import is_remote, open_raster
from changedet.storage.secrets import without_secrets
from changedet.vector.region_text import is_region_file

# What does not decide the results.
_NO_MATTER: Final = ("out", "model", "device", "batch_size", "existing", "before", "after")
# Beside a raster; other programs write them when they merely show it.
_NOT_PIXELS: Final = (".aux.xml", ".ovr")


def fingerprint(request: SceneRequest, *, model: str) -> str:
    """Tell results from those of other inputs, another model or other settings.

    Inputs count as the same where location, size and date of change are, on a server its version
    (ETag).

    Args:
        request: The item's.
        model: Identifies the model: its checksum, or the name of a baseline.

    Returns:
        A checksum in hexadecimal.
    """
    settings = asdict(request)
    for name in _NO_MATTER:
        del settings[name]
    facts = {
        "model": model,
        "settings": settings,
        "before": _version(request.before),
        "after": _version(request.after),
        "region": _file_version(request.region),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _version(location: str) -> list[Any]:
    """Give location, size and date of a raster; without the last two where nobody can tell."""
    name = without_secrets(location)
    if is_remote(location):
        return [name, *_remote_version(location)]
    path = Path(location)
    files = [path]
    if path.suffix.lower() not in TIFF_SUFFIXES:
        # It may consist of several, such as a VRT and its sources.
        with open_raster(location) as dataset:
            names = dataset.files
        files = [Path(name) for name in names if not name.lower().endswith(_NOT_PIXELS)]
    found = [path.stat() for path in files if path.exists()]
    return [name, *((status.st_size, status.st_mtime_ns) for status in found)]


def _remote_version(location: str) -> list[Any]:
    size, changed = server_version(location)
    if (size, changed) != (None, None) or "://" not in location or not FSSPEC.is_installed:
        return [size, changed]
    # Object stores, which GDAL reads by their own protocols.
    try:
        files, path = FSSPEC.load(".core").url_to_fs(location)
        facts = files.info(path)
    except Exception:
        return [None, None]
    keys = ("size", "ETag", "etag", "LastModified", "last_modified", "mtime", "updated")
    return [str(facts[key]) for key in keys if key in facts]


def _file_version(region: str | None) -> list[Any] | None:
    if region is None or not is_region_file(region):
        return None
    path = Path(region.strip())
    status = path.stat() if path.exists() else None
    return [status and status.st_size, status and status.st_mtime_ns]
