"""Tiny rasters of any kind, written where a test wants them."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

UTM = "EPSG:32633"
NORTH_UP = Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 5_500_000.0)

WriteRaster: TypeAlias = Callable[..., str]


@pytest.fixture
def write_raster(tmp_path: Path) -> WriteRaster:
    """Make a function that writes (C, h, w) pixels as a GeoTIFF and gives its path."""

    def write(
        name: str,
        pixels: NDArray[Any],
        *,
        crs: str | None = UTM,
        transform: Affine | None = NORTH_UP,
        colours: tuple[ColorInterp, ...] | None = None,
        mask: NDArray[np.bool_] | None = None,
        tags: dict[str, str] | None = None,
        **profile: Any,
    ) -> str:
        path = tmp_path / name
        count, height, width = pixels.shape
        place = {} if transform is None else {"transform": transform}
        with (
            warnings.catch_warnings(),
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        ):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                height=height,
                width=width,
                count=count,
                dtype=pixels.dtype,
                crs=crs,
                **place,
                **profile,
            ) as dataset:
                if colours is not None:
                    dataset.colorinterp = colours
                dataset.write(pixels)
                if mask is not None:
                    dataset.write_mask(mask)
                if tags:
                    dataset.update_tags(**tags)
        return str(path)

    return write


@pytest.fixture
def texture() -> NDArray[np.uint8]:
    """Pixels of three bands without a zero, (3, 300, 280)."""
    return np.random.default_rng(0).integers(1, 255, (3, 300, 280), dtype=np.uint8)
