"""A label raster as it is stored: all of its values, where there are any, and its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rasterio.errors import RasterioError

from changedet.raster.bands import alpha_bands, has_palette
from changedet.raster.environment import gdal_environment
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.open import open_raster, reading_error

if TYPE_CHECKING:
    import rasterio
    from numpy.typing import NDArray

#: Compressions (and drivers) that change values a little.
LOSSY: Final = ("JPEG", "WEBP")


@dataclass(frozen=True)
class LabelFile:
    """What a label raster holds.

    Attributes:
        values: Its bands but alpha, (bands, h, w), of the stored type.
        known: Where it says anything: not at its nodata value, nor where it is masked, (h, w).
        colours: Colours of a palette, red, green and blue of each value, (N, 3); None: no palette.
        nodata: Value that means nothing is known, if the file names one.
        is_lossy: Whether its compression alters values.
        is_transparent: Whether an alpha band hides some of it.
        grid: Its place; None without one.
    """

    values: NDArray[Any]
    known: NDArray[np.bool_]
    colours: NDArray[np.uint8] | None
    nodata: float | None
    is_lossy: bool
    is_transparent: bool
    grid: GeoGrid | None


def read_label_file(location: str) -> LabelFile:
    """Read a label raster whole.

    Raises:
        ImageError: If it cannot be opened or read.
    """
    with gdal_environment(), open_raster(location) as dataset:
        alpha = alpha_bands(dataset)
        bands = [band for band in dataset.indexes if band not in alpha]
        try:
            values = dataset.read(bands)
            known = (dataset.read_masks(bands) > 0).all(axis=0)
        except RasterioError as error:
            raise reading_error(location, error) from error
        return LabelFile(
            values,
            known,
            palette_of(dataset, bands[0]) if has_palette(dataset, bands) else None,
            dataset.nodatavals[bands[0] - 1],
            is_lossy(dataset),
            bool(alpha) and not known.all(),
            place_of(dataset),
        )


def is_lossy(dataset: rasterio.DatasetReader) -> bool:
    """Tell whether a raster's compression alters its values."""
    # "YCbCr JPEG" is one, too.
    compression = dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "").upper()
    return dataset.driver in LOSSY or compression.endswith(LOSSY)


def place_of(dataset: rasterio.DatasetReader) -> GeoGrid | None:
    """Give the grid of an open raster; None if it has neither a CRS nor a geotransform."""
    if dataset.crs is None and dataset.transform.is_identity:
        return None
    crs = None if dataset.crs is None else dataset.crs.to_wkt()
    return GeoGrid(crs, dataset.transform, *dataset.shape)


def palette_of(dataset: rasterio.DatasetReader, band: int) -> NDArray[np.uint8]:
    """Give red, green and blue of each value of a band with a palette, (N, 3)."""
    entries = dataset.colormap(band)
    colours = np.zeros((max(entries) + 1, 3), np.uint8)
    for value, colour in entries.items():
        colours[value] = colour[:3]
    return colours
