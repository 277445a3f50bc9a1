"""Scores and mask as Cloud-Optimised GeoTIFF (COG), in memory that does not grow with the scene."""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterWindow

from changedet.errors import StorageError
from changedet.palette import CHANGED_COLOUR
from changedet.raster.place import describe_place, keep_place, sidecar_of
from changedet.raster.score_store import describe_size
from changedet.storage.atomic import sync_folder
from changedet.threads import stated_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from changedet.raster.geo_grid import GeoGrid
    from changedet.raster.score_store import ScoreFile

#: Value of the mask where there is no data in one of the dates.
MASK_NODATA: Final = 255
_STRIP_PIXELS: Final = 4 << 20
# Pixels along one side of a COG's block, what GDAL and rio-cogeo take by default.
_BLOCK: Final = 512
# Blocks that are read at once, side by side or of several bands: 8 MB of scores, whatever the width
# of the scene.
_BLOCKS_AT_ONCE: Final = 8
# Bytes. A larger cache of blocks makes copying no faster: every block is used once.
_CACHE: Final = 16 << 20
# Bytes per pixel of result and temporary files: the result measured on scores of real scenes, up to
# 1.5 with its overviews, and beside it the overviews as they are, a third of the pixels.
_SCORE_ROOM: Final = 1.5 + 4 / 3
_MASK_ROOM: Final = 0.05 + 1 / 3
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Of GDAL's errors there are words only.
_NOT_FULL: Final = tuple(
    os.strerror(number)
    for number in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
)
# SystemError is what rasterio makes of a failure for which GDAL gave no reason.
_GDAL_ERRORS: Final = (OSError, RasterioError, CPLE_BaseError, SystemError)
_COG_OPTIONS: Final = {
    "driver": "COG",
    "BLOCKSIZE": _BLOCK,
    # Every reader of GeoTIFF knows it, unlike ZSTD, which makes files no smaller here.
    "COMPRESS": "DEFLATE",
    # Of scores of real scenes, a tenth larger than at level 6, for less than half of the time.
    "LEVEL": 1,
    "BIGTIFF": "IF_SAFER",
}
# Colour maps of TIFF know no transparency: readers show "no data" as transparent, 0 is white.
_COLOURS: Final = {0: (255, 255, 255, 255), 1: (*CHANGED_COLOUR, 255), MASK_NODATA: (0, 0, 0, 0)}


@dataclass(frozen=True)
class MaskCounts:
    """Pixels of a mask by their value; together all pixels of the scene."""

    changed: int
    unchanged: int
    nodata: int


def read_strips(
    scores: ScoreFile, *, max_pixels: int = _STRIP_PIXELS
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Read a scene from top to bottom in strips of full rows.

    Args:
        scores: What to read.
        max_pixels: Of a strip, all bands together; a single row may have more.

    Yields:
        The first row of the strip and its scores, (K, n, W).

    Raises:
        StorageError: If the scores cannot be read.
    """
    height, width = scores.grid.shape
    count = max(1, max_pixels // (scores.bands * width))
    for top in range(0, height, count):
        yield top, scores.read_rows(top, min(count, height - top))


def write_score_cog(scores: ScoreFile, path: Path, *, tags: Mapping[str, str]) -> None:
    """Write the scores as float32 COG: NaN = no data, overviews are averages, K bands.

    The file is read back before it gets its name, values, CRS and position, so it is there whole or
    not at all. What GeoTIFF keys cannot say of the CRS stands in a file ``.aux.xml`` next to it.

    Args:
        scores: Of the whole scene, in [0, 1].
        path: Of the GeoTIFF; an older one is replaced.
        tags: GDAL metadata of the file.

    Raises:
        StorageError: If it cannot be written, for example on a full disk.
    """
    with _workshop(path, room=_SCORE_ROOM * _count(scores)) as folder:
        source = folder / "scores.vrt"
        rasterio.shutil.copy(_name(scores.path), _name(source), driver="VRT")
        with rasterio.open(_name(source), "r+") as dataset:
            dataset.nodata = np.nan
            _describe(dataset, scores.grid, tags)
            _name_bands(dataset, "change score")
        product = folder / path.name
        _copy(source, product, PREDICTOR="YES", OVERVIEW_RESAMPLING="AVERAGE")
        _compare(product, scores, lambda values: values)
        _publish(product, path, has_sidecar=keep_place(product, scores.grid))


def read_reduced(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Read a raster of scores that :func:`write_score_cog` wrote at a lower resolution.

    Args:
        path: Of the GeoTIFF.
        shape: Height and width of the result.

    Returns:
        Average scores, (h, w); NaN where no pixel has data.

    Raises:
        StorageError: If the file cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(_name(path)) as dataset:
                scores: NDArray[np.float32] = dataset.read(
                    1, out_shape=shape, resampling=Resampling.average
                )
    except _GDAL_ERRORS as error:
        raise StorageError(f"cannot read {path}: {_reason(error)}") from error
    return scores


def write_mask_cog(
    scores: ScoreFile, path: Path, *, threshold: float, tags: Mapping[str, str]
) -> tuple[MaskCounts, ...]:
    """Write where the scores reach a threshold: 1 changed, 0 unchanged, 255 no data, uint8.

    Every band of scores makes one of the mask. A COG of a single band has a colour table (TIFF
    knows none for several), and its overviews hold the most frequent value. It is read back before
    it gets its name, so it is there whole or not at all.

    Args:
        scores: Of the whole scene, in [0, 1].
        path: Of the GeoTIFF; an older one is replaced.
        threshold: A pixel is changed whose score is at least this, compared in float32.
        tags: GDAL metadata of the file.

    Returns:
        The pixels of every band by their value.

    Raises:
        StorageError: If it cannot be written, for example on a full disk.
    """
    limit = np.float32(threshold)

    def to_mask(values: NDArray[np.float32]) -> NDArray[np.uint8]:
        return np.where(np.isnan(values), MASK_NODATA, values >= limit).astype(np.uint8)

    with _workshop(path, room=_MASK_ROOM * _count(scores)) as folder:
        source, product = folder / "source.tif", folder / path.name
        counts = _write_mask(source, scores, to_mask=to_mask, tags=tags)
        _copy(source, product, PREDICTOR="NO", OVERVIEW_RESAMPLING="MODE")
        _compare(product, scores, to_mask)
        _publish(product, path, has_sidecar=keep_place(product, scores.grid))
    return tuple(
        MaskCounts(changed=int(band[1]), unchanged=int(band[0]), nodata=int(band[MASK_NODATA]))
        for band in counts
    )


@contextmanager
def _workshop(path: Path, *, room: float) -> Iterator[Path]:
    """Return a folder next to ``path`` for unfinished files, and translate errors that occur there.

    Its name is always the same: what a killed run left is cleared away by the next one.
    """
    folder = path.with_name(f".{path.name}.part")
    settings = {
        "GDAL_CACHEMAX": _CACHE,
        "CPL_TMPDIR": _name(folder),
        # GDAL packs the overviews into a temporary file, and unpacks them again for the result.
        "COG_TMP_COMPRESSION": "NONE",
        # GDAL must see the header next to the scores, and must leave no files next to the results.
        "GDAL_DISABLE_READDIR_ON_OPEN": "FALSE",
        "GDAL_PAM_ENABLED": "NO",
    }
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        # Before minutes of work; GDAL's own words for a full disk are obscure.
        free = shutil.disk_usage(folder).free
        if free < room:
            needed = f"it takes about {describe_size(room)} and {describe_size(free)} are free"
            raise OSError(errno.ENOSPC, needed)
        with rasterio.Env(**settings), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield folder
    except _GDAL_ERRORS as error:
        raise StorageError(
            f"cannot write {path}: {_reason(error)}; {_advice(error)}, then run the command again"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _advice(error: BaseException) -> str:
    """Suspect a full disk where the reason is that or unknown: GDAL often does not know it."""
    # Rasterio's exceptions have GDAL's own error numbers, if any.
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL:
        return "make room or choose another folder"
    if number is not None or any(words in _reason(error) for words in _NOT_FULL):
        return "check the folder or choose another one"
    return "is the disk full? Make room or choose another folder"


def _reason(error: BaseException) -> str:
    """Give the first cause in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(getattr(error, "strerror", None) or error).split())


def _name(path: Path) -> str:
    """Give GDAL a name that it cannot take for an address or an option."""
    return str(path.resolve())


def _count(scores: ScoreFile) -> int:
    return scores.bands * scores.grid.height * scores.grid.width


def _name_bands(dataset: Any, name: str) -> None:  # noqa: ANN401
    for band in dataset.indexes:
        dataset.set_band_description(band, name if dataset.count == 1 else f"{name} {band}")


def _describe(dataset: Any, grid: GeoGrid, tags: Mapping[str, str]) -> None:  # noqa: ANN401
    """Set the place on Earth and the metadata of a GDAL data set open for writing."""
    describe_place(dataset, grid)
    dataset.update_tags(**tags)


def _write_mask(
    path: Path,
    scores: ScoreFile,
    *,
    to_mask: Callable[[NDArray[np.float32]], NDArray[np.uint8]],
    tags: Mapping[str, str],
) -> NDArray[np.int64]:
    """Write the mask as plain GeoTIFF; give the number of pixels by value, (K, 256)."""
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": scores.bands,
        "height": scores.grid.height,
        "width": scores.grid.width,
        "nodata": MASK_NODATA,
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "DEFLATE",
        "zlevel": 1,
        "bigtiff": "IF_SAFER",
    }
    counts = np.zeros((scores.bands, 256), np.int64)
    with rasterio.open(_name(scores.path)) as source, rasterio.open(path, "w", **profile) as mask:
        _describe(mask, scores.grid, tags)
        if scores.bands == 1:
            mask.write_colormap(1, _COLOURS)
        _name_bands(mask, "change")
        for window in _windows(scores):
            values = to_mask(source.read(window=window))
            counts += [np.bincount(band.reshape(-1), minlength=256) for band in values]
            mask.write(values, window=window)
    return counts


def _windows(scores: ScoreFile) -> Iterator[RasterWindow]:
    """Cut the grid along the COG's blocks, so that every block is read and written once."""
    grid = scores.grid
    columns = _BLOCK * max(1, _BLOCKS_AT_ONCE // scores.bands)
    for top in range(0, grid.height, _BLOCK):
        for left in range(0, grid.width, columns):
            size = min(columns, grid.width - left), min(_BLOCK, grid.height - top)
            yield RasterWindow(left, top, *size)


def _copy(source: Path, product: Path, **options: str) -> None:
    threads = _threads()
    rasterio.shutil.copy(
        _name(source), _name(product), NUM_THREADS=threads, **_COG_OPTIONS, **options
    )


def _threads() -> str:
    """Say how many threads GDAL compresses with: no more than the user allows other libraries."""
    return str(stated_threads() or "ALL_CPUS")


def _compare(
    product: Path,
    scores: ScoreFile,
    expected: Callable[[NDArray[np.float32]], NDArray[Any]],
) -> None:
    """Read the finished file back: GDAL may not report that the disk was full.

    Raises:
        RasterioError: If it cannot be read or holds something else than the scores say.
    """
    with (
        rasterio.open(_name(scores.path)) as source,
        rasterio.open(_name(product), NUM_THREADS=_threads()) as written,
    ):
        levels = written.overviews(1)
        for window in _windows(scores):
            wanted = expected(source.read(window=window))
            # Bit by bit: NaN equals NaN.
            if not np.array_equal(_bits(written.read(window=window)), _bits(wanted)):
                raise RasterioError("the file does not contain what was written to it")
    for level in range(len(levels)):
        with rasterio.open(_name(product), overview_level=level) as overview:
            for _, window in overview.block_windows(1):
                overview.read(window=window)


def _bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Show what is in memory, byte by byte."""
    return np.ascontiguousarray(values).view(np.uint8)


def _publish(product: Path, path: Path, *, has_sidecar: bool) -> None:
    """Give the finished file its name, once the disk has all of it; its sidecar first."""
    # One that an earlier file had would move this one.
    sidecar_of(path).unlink(missing_ok=True)
    names = [(product, path)]
    if has_sidecar:
        names.insert(0, (sidecar_of(product), sidecar_of(path)))
    for finished, name in names:
        with finished.open("r+b") as file:
            os.fsync(file.fileno())
        finished.replace(name)
    sync_folder(path.parent)
