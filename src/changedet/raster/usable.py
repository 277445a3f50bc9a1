"""Whether a raster can be placed, and be read in parts, whatever its header says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from changedet.errors import ImageError

if TYPE_CHECKING:
    import rasterio

#: What a damaged raster makes GDAL and rasterio raise; their messages need not be UTF-8.
GDAL_FAULTS: Final = (RasterioError, CPLE_BaseError, UnicodeDecodeError, SystemError, MemoryError)
# Some thirty times the largest mosaics of whole countries.
_MOST_PIXELS: Final = 2**43
# A block is read as a whole, of both dates.
_LARGEST_BLOCK: Final = 2**30
_BYTES_OF: Final = {
    **{"uint8": 1, "int8": 1, "uint16": 2, "int16": 2},
    **{"uint32": 4, "int32": 4, "float32": 4, "float64": 8},
}
_LARGEST_SAMPLE: Final = 16


def require_usable(dataset: rasterio.DatasetReader, name: str) -> None:
    """Refuse a raster whose pixels have no size, or that would fill the memory.

    It is closed then.

    Args:
        dataset: The open raster.
        name: What the message calls it.

    Raises:
        ImageError: If its pixels have no size, it claims more of them than there are, or it is
            stored in blocks that are too large to read one.
    """
    fault = _fault(dataset, name)
    if fault is not None:
        dataset.close()
        raise ImageError(f"{name}: {fault}")


def files_of(dataset: rasterio.DatasetReader) -> list[str]:
    """Names of the files that a raster consists of; none if one of them is no text."""
    try:
        return list(dataset.files)
    except GDAL_FAULTS:
        return []


def _fault(dataset: rasterio.DatasetReader, name: str) -> str | None:
    transform = tuple(dataset.transform)[:6]
    a, b, _, d, e, _ = transform
    determinant = a * e - b * d
    if not all(map(math.isfinite, (*transform, determinant))) or determinant == 0.0:
        listed = ", ".join(f"{number:g}" for number in transform)
        return (
            f"its pixels have no size (geotransform {listed}); set its corners: gdal_edit.py "
            "-a_ullr LEFT TOP RIGHT BOTTOM FILE"
        )
    height, width = dataset.shape
    if height * width > _MOST_PIXELS:
        return f"claims {width:,} x {height:,} pixels; it is damaged, or has to be cut into parts"
    is_mixed = dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL"
    for (rows, columns), dtype in zip(dataset.block_shapes, dataset.dtypes, strict=True):
        samples = rows * columns * (dataset.count if is_mixed else 1)
        if samples * _BYTES_OF.get(dtype, _LARGEST_SAMPLE) > _LARGEST_BLOCK:
            return (
                f"is stored in blocks of {columns:,} x {rows:,} pixels, too large to read a part "
                f"of it; write it in tiles: gdal_translate -co TILED=YES {name} NEW_FILE"
            )
    return None
