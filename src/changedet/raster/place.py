"""CRS, position and size of what is written are those of its grid: compared, and kept.

The keys of GeoTIFF cannot say every CRS: not rotated poles and other derived ones, heights in a
projected CRS, the terms of a local one, TOWGS84 parameters beside an EPSG code. GDAL reads them
from a file ``.aux.xml`` next to the image, and so do the programs that build on it.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from changedet.errors import DataError
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.lonlat import crs_name
from changedet.raster.open import WARNING_FILTERS, one_line
from changedet.raster.pixel_map import is_same_crs

if TYPE_CHECKING:
    from affine import Affine

#: Ending of the file that GDAL reads beside an image.
SIDECAR: Final = ".aux.xml"
# Corners may differ by this after they were written as numbers.
_SAME_PX: Final = 1e-3
_TRIAL_PX: Final = 16


def sidecar_of(product: Path) -> Path:
    """Name the file beside a product that may say its place."""
    return product.with_name(product.name + SIDECAR)


def keep_place(product: Path, grid: GeoGrid) -> bool:
    """Read a finished file back, and say its place in a sidecar where the file itself says another.

    Args:
        product: GeoTIFF of the grid; its sidecar comes next to it.
        grid: What it must say.

    Returns:
        Whether a sidecar was needed.

    Raises:
        RasterioError: If the place is lost even so, or the size is another one.
    """
    sidecar_of(product).unlink(missing_ok=True)
    with WARNING_FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        if _lost(product, grid) is None:
            return False
        _write_sidecar(product, grid)
        lost = _lost(product, grid)
    if lost is not None:
        raise RasterioError(f"the file does not keep {lost}")
    return True


def try_place(grid: GeoGrid, *, name: str) -> bool:
    """Find out before the work whether the place of a grid can be kept, by writing a tiny file.

    Args:
        grid: Of what will be written.
        name: Of the raster whose place it is, for the message.

    Returns:
        Whether it takes a sidecar.

    Raises:
        DataError: If the place cannot be kept.
    """
    tiny = GeoGrid(grid.crs, grid.transform, _TRIAL_PX, _TRIAL_PX)
    folder = Path(tempfile.mkdtemp(prefix="changedet_place_"))
    try:
        plain, product = folder / "plain.tif", folder / "product.tif"
        with rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_DISABLE_READDIR_ON_OPEN="FALSE"):
            with WARNING_FILTERS, warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                _write(plain, tiny, driver="GTiff")
                rasterio.shutil.copy(str(plain), str(product), driver="COG")
            return keep_place(product, tiny)
    except (RasterioError, CPLE_BaseError, SystemError) as error:
        system = "" if grid.crs is None else f" ({crs_name(grid.crs)})"
        raise DataError(
            f"{name}: its coordinate reference system{system} or its position cannot be stored "
            f"with the results ({one_line(error)}); bring it to another system first: gdalwarp "
            "-t_srs EPSG:CODE"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def describe_place(dataset: rasterio.io.DatasetWriter, grid: GeoGrid) -> None:
    """Set CRS and transform of a GDAL data set that is open for writing."""
    if grid.crs is not None:
        dataset.crs = CRS.from_user_input(grid.crs)
    if not grid.transform.is_identity:
        dataset.transform = grid.transform


def _lost(product: Path, grid: GeoGrid) -> str | None:
    """Say in words what a file does not keep of its grid."""
    with (
        rasterio.Env(GDAL_PAM_ENABLED="YES", GDAL_DISABLE_READDIR_ON_OPEN="FALSE"),
        rasterio.open(str(product.resolve())) as dataset,
    ):
        if dataset.shape != grid.shape:
            return "its size"
        if not _is_same_system(dataset.crs, grid.crs):
            return "its coordinate reference system"
        if not _is_same_position(dataset.transform, grid):
            return "its position"
    return None


def _is_same_system(found: CRS | None, expected: str | None) -> bool:
    if not found or expected is None:
        return not found and expected is None
    return is_same_crs(found.to_wkt(), CRS.from_user_input(expected).to_wkt())


def _is_same_position(found: Affine, grid: GeoGrid) -> bool:
    """Compare where the corners lie, in pixels."""
    corners = np.array([(x, y) for x in (0, grid.width) for y in (0, grid.height)], np.float64)
    back = ~grid.transform @ found
    moved = np.array([back @ (x, y) for x, y in corners])
    return bool(np.abs(moved - corners).max() < _SAME_PX)


def _write_sidecar(product: Path, grid: GeoGrid) -> None:
    """Have GDAL write CRS and transform as it does for formats that cannot hold them."""
    picture = product.with_name(f"{product.name}.place.png")
    with rasterio.Env(GDAL_PAM_ENABLED="YES"):
        _write(picture, GeoGrid(grid.crs, grid.transform, 1, 1), driver="PNG")
    sidecar_of(picture).replace(sidecar_of(product))
    picture.unlink()


def _write(path: Path, grid: GeoGrid, *, driver: str) -> None:
    with rasterio.open(
        str(path.resolve()),
        "w",
        driver=driver,
        height=grid.height,
        width=grid.width,
        count=1,
        dtype="uint8",
    ) as dataset:
        describe_place(dataset, grid)
        dataset.write(np.zeros((1, *grid.shape), np.uint8))
