"""Metadata of a raster: size, location, bands, dates."""

from __future__ import annotations

import hashlib
import http.client
import math
import re
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pyproj import Geod
from pyproj.exceptions import ProjError
from rasterio.windows import Window as RasterWindow

from changedet.raster.environment import gdal_environment
from changedet.raster.lonlat import lonlat_transformer
from changedet.raster.open import is_remote, reading_error
from changedet.raster.usable import GDAL_FAULTS, files_of
from changedet.storage.secrets import without_secrets
from changedet.storage.text import is_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    import rasterio
    from affine import Affine

_TIMEOUT_S: Final = 10.0
# Samples that tell contents apart: squares of this side, aligned to it so that they lie within one
# block of the file, in the middle of each cell of a pattern of so many by as many.
_SAMPLE_PX: Final = 32
_SAMPLES: Final = 3
_SAMPLED_BANDS: Final = 16
# The smallest overview shows the whole image; one larger than this is not worth fetching.
_OVERVIEW_PX: Final = 512


@dataclass(frozen=True)
class RasterInfo:
    """One raster as it was found.

    Attributes:
        location: Path or address as the user gave it; messages take :attr:`name`.
        driver: GDAL's name of the format.
        height: In pixels.
        width: In pixels.
        crs: Coordinate reference system as WKT, or None.
        transform: From (column, row) of pixel corners to CRS coordinates; the identity if unknown.
        gsd_m: Ground sample distance in metres, at the centre of the raster, measured on the
            ellipsoid; None where no way leads from the CRS to longitude and latitude.
        dtype: Type of the stored values of the chosen bands.
        bands: Chosen bands, numbered from 1.
        band_count: Bands of the file, alpha included.
        nodata: Value that marks missing pixels in the first chosen band, if there is one.
        size_bytes: Size of the file, if it can be known.
        changed_at: When the file was last changed, or what its server tells versions apart by
            (ETag); where neither is known, a checksum of its header and of samples of its pixels.
            Another value means that the content may be another one.
        acquired: When the image was acquired, ISO 8601 in UTC; None if the file does not say.
        pages: Images that the file holds, of which this is one; see :func:`open_raster`.
    """

    location: str
    driver: str
    height: int
    width: int
    crs: str | None
    transform: Affine
    gsd_m: float | None
    dtype: str
    bands: tuple[int, ...]
    band_count: int
    nodata: float | None
    size_bytes: int | None
    changed_at: str | None
    acquired: str | None
    pages: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def name(self) -> str:
        """The location without user, password and query, as it may be shown and stored."""
        return without_secrets(self.location)


class _Version(NamedTuple):
    size_bytes: int | None
    changed_at: str | None


def read_info(
    dataset: rasterio.DatasetReader, *, location: str, bands: tuple[int, ...]
) -> RasterInfo:
    """Collect what is known of an open raster.

    A few pixels are read where neither the disk nor a server says when it was changed.

    Args:
        dataset: The open raster.
        location: Path or address as the user gave it.
        bands: Chosen bands, numbered from 1.

    Raises:
        ImageError: If these pixels cannot be read.
    """
    crs = dataset.crs.to_wkt() if dataset.crs else None
    dtypes = {dataset.dtypes[band - 1] for band in bands}
    version = _version(location, files_of(dataset))
    changed_at = version.changed_at or _checksum(dataset, location)
    return RasterInfo(
        location=location,
        driver=dataset.driver,
        height=dataset.height,
        width=dataset.width,
        crs=crs,
        transform=dataset.transform,
        gsd_m=ground_sample_distance(crs, dataset.transform, shape=dataset.shape),
        dtype=dtypes.pop() if len(dtypes) == 1 else "float32",
        bands=bands,
        band_count=dataset.count,
        nodata=dataset.nodatavals[bands[0] - 1],
        size_bytes=version.size_bytes,
        changed_at=changed_at,
        acquired=_acquired(dataset),
        pages=max(1, len(dataset.subdatasets)),
    )


def ground_sample_distance(
    crs: str | None, transform: Affine, *, shape: tuple[int, int]
) -> float | None:
    """Measure the centre pixel on the ellipsoid: a CRS may be in degrees or feet, or distorted."""
    to_lonlat = None if crs is None else lonlat_transformer(crs)
    if to_lonlat is None:
        return None
    column, row = shape[1] / 2, shape[0] / 2
    corners = [transform @ (column + x, row + y) for x, y in ((0, 0), (1, 0), (0, 1))]
    try:
        xs, ys = ([corner[axis] for corner in corners] for axis in (0, 1))
        lons, lats = to_lonlat.transform(xs, ys, errcheck=True)
    except ProjError:
        return None
    geod = Geod(ellps="WGS84")
    _, _, across = geod.inv(lons[0], lats[0], lons[1], lats[1])
    _, _, down = geod.inv(lons[0], lats[0], lons[2], lats[2])
    side = float((across * down) ** 0.5)
    return side if math.isfinite(side) else None


def server_version(location: str) -> tuple[int | None, str | None]:
    """Ask a web server for size and version (ETag) of a raster; None for what it does not say."""
    address = location.removeprefix("/vsicurl/")
    is_web = address.lower().startswith(("http://", "https://"))
    return _ask_server(address) if is_web else _Version(None, None)


def _version(location: str, files: list[str]) -> _Version:
    if is_remote(location):
        return _Version(*server_version(location))
    # A raster may consist of several files: a VRT and its sources, or an image and its mask.
    names = set(files) or {location}
    found = [Path(name).stat() for name in names if is_file(Path(name))]
    if len(found) < len(names):
        return _Version(None, None)
    changed = datetime.fromtimestamp(max(status.st_mtime for status in found), UTC)
    return _Version(sum(status.st_size for status in found), changed.isoformat())


def _ask_server(address: str) -> _Version:
    """Ask for one byte: a signed address may forbid the shorter question (HEAD)."""
    request = urllib.request.Request(address, headers={"Range": "bytes=0-0"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            headers = answer.headers
    except (OSError, http.client.HTTPException, ValueError):
        return _Version(None, None)
    total = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    changed = headers.get("ETag") or headers.get("Last-Modified")
    return _Version(int(total) if total.isdigit() else None, changed)


def _checksum(dataset: rasterio.DatasetReader, location: str) -> str:
    """Sum up the header, samples of the pixels, and the smallest overview if it is small.

    Whichever bands are chosen, the same file has the same sum.
    """
    header = (
        dataset.shape,
        tuple(dataset.transform),
        dataset.crs and dataset.crs.to_wkt(),
        dataset.dtypes,
        dataset.nodatavals,
        sorted(dataset.tags().items()),
    )
    digest = hashlib.sha256(repr(header).encode())
    try:
        with gdal_environment():
            for window in _samples(*dataset.shape):
                for band in dataset.indexes[:_SAMPLED_BANDS]:
                    digest.update(dataset.read(band, window=window).tobytes())
            factor = max(dataset.overviews(1), default=1)
            shape = -(-dataset.height // factor), -(-dataset.width // factor)
            if max(shape) <= _OVERVIEW_PX:
                digest.update(dataset.read(1, out_shape=shape).tobytes())
    except GDAL_FAULTS as error:
        raise reading_error(location, error) from error
    return f"sha256:{digest.hexdigest()}"


def _samples(height: int, width: int) -> Iterator[RasterWindow]:
    for top in _places(height):
        for left in _places(width):
            size = min(_SAMPLE_PX, width - left), min(_SAMPLE_PX, height - top)
            yield RasterWindow(left, top, *size)


def _places(side: int) -> list[int]:
    middles = ((2 * cell + 1) * side // (2 * _SAMPLES) for cell in range(_SAMPLES))
    return sorted({middle // _SAMPLE_PX * _SAMPLE_PX for middle in middles})


def _acquired(dataset: rasterio.DatasetReader) -> str | None:
    """Find the date among the tags that GDAL's drivers set, the surest one first."""
    texts = (
        dataset.tags(ns="IMAGERY").get("ACQUISITIONDATETIME"),
        dataset.tags().get("ACQUISITIONDATETIME"),
        dataset.tags().get("TIFFTAG_DATETIME"),
    )
    return next((date for text in texts if text and (date := _iso_date(text))), None)


def _iso_date(text: str) -> str | None:
    # TIFF 6.0 writes "YYYY:MM:DD HH:MM:SS".
    text = re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", text.strip())
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return date.isoformat().replace("+00:00", "Z")
