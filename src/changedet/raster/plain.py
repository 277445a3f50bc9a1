"""A plain tiled GeoTIFF, written block by block."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from changedet.raster.place import describe_place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    from changedet.raster.geo_grid import GeoGrid, Window

_BLOCK_PX: Final = 512


def write_raster(
    path: Path,
    grid: GeoGrid,
    read: Callable[[Window], NDArray[np.generic]],
    *,
    bands: int,
    dtype: DTypeLike,
) -> None:
    """Write a raster whose pixels are asked for in blocks, in memory that does not grow with it.

    Args:
        path: Of the GeoTIFF; an older one is replaced.
        grid: Where the pixels lie.
        read: Gives the pixels of a window of ``grid``, (h, w, C).
        bands: Their number, C.
        dtype: Type of the pixels.

    Raises:
        OSError: If it cannot be written.
    """
    profile = {
        "driver": "GTiff",
        "dtype": dtype,
        "count": bands,
        "height": grid.height,
        "width": grid.width,
        "tiled": True,
        "blockxsize": _BLOCK_PX,
        "blockysize": _BLOCK_PX,
        "compress": "DEFLATE",
        "zlevel": 1,
        "bigtiff": "IF_SAFER",
    }
    with warnings.catch_warnings():
        # It gets its place once it is open.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(path, "w", **profile)
    with dataset:
        describe_place(dataset, grid)
        for window in grid.window.cut(_BLOCK_PX):
            place = RasterWindow(window.left, window.top, window.width, window.height)
            dataset.write(read(window).transpose(2, 0, 1), window=place)
