"""Labels on a scene's grid: a label raster by nearest neighbour, polygons by pixel centres."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterioWindow

from changedet.errors import DataError, ImageError
from changedet.raster.environment import gdal_environment
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.label_file import is_lossy
from changedet.raster.lonlat import crs_name, transformer_between
from changedet.raster.open import WARNING_FILTERS, open_raster, reading_error
from changedet.raster.pixel_map import is_same_crs
from changedet.raster.usable import GDAL_FAULTS
from changedet.storage.secrets import without_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    import rasterio

    from changedet.raster.geo_grid import Window


class LabelPixels(NamedTuple):
    """Stored label values, (h, w), and where there are any, (h, w); elsewhere the value is 0."""

    values: NDArray[Any]
    known: NDArray[np.bool_]


class LabelLayer(Protocol):
    """Labels that can be read on a grid; any thread may read."""

    def read(self, window: Window) -> LabelPixels:
        """Read a window of the grid.

        Raises:
            ImageError: If pixels cannot be read.
        """


class PolygonLayer:
    """Polygons as a label: 1 where a pixel's centre lies inside of one, 0 elsewhere.

    Args:
        polygons: Objects with ``bounds`` and ``__geo_interface__`` in the grid's CRS (shapely's).
        grid: Grid of the scene.
    """

    def __init__(self, polygons: Sequence[Any], grid: GeoGrid) -> None:
        self._polygons = list(polygons)
        self._grid = grid
        # (N, 4): left, bottom, right, top; looked through for every window.
        self._bounds = np.array([shape.bounds for shape in self._polygons]).reshape(-1, 4)

    def read(self, window: Window) -> LabelPixels:
        """Burn the polygons that meet a window, (h, w), uint8; every pixel is known."""
        part = self._grid.crop(window)
        left, bottom, right, top = part.bounds
        boxes = self._bounds
        meets = (boxes[:, 0] <= right) & (boxes[:, 2] >= left)
        meets &= (boxes[:, 1] <= top) & (boxes[:, 3] >= bottom)
        near = [self._polygons[number] for number in np.flatnonzero(meets)]
        known = np.ones(part.shape, dtype=np.bool_)
        if not near:
            return LabelPixels(np.zeros(part.shape, dtype=np.uint8), known)
        with gdal_environment(), WARNING_FILTERS:
            values = rasterize(
                near, out_shape=part.shape, transform=part.transform, fill=0, dtype="uint8"
            )
        return LabelPixels(values, known)


class RasterLayer:
    """A label raster of one band on any grid, read by nearest neighbour.

    Args:
        location: Path or address.
        grid: Grid of the scene.

    Attributes:
        extent: Grid of the file itself.
        nodata: Value that means nothing is known, if the file names one.

    Raises:
        ImageError: If it cannot be opened or holds no labels.
        DataError: If it cannot be brought onto the grid.
    """

    def __init__(self, location: str, grid: GeoGrid) -> None:
        self._location = location
        self._grid = grid
        self._local = threading.local()
        with open_raster(location) as dataset:
            _check_labels(dataset, without_secrets(location))
            _check_place(dataset, grid, name=without_secrets(location))
            crs = None if dataset.crs is None else dataset.crs.to_wkt()
            self.extent = GeoGrid(crs, dataset.transform, *dataset.shape)
            self.nodata: float | None = dataset.nodata

    def read(self, window: Window) -> LabelPixels:
        """Read a window, (h, w), of the raster's integer type; outside of it nothing is known."""
        place = RasterioWindow(window.left, window.top, window.width, window.height)
        try:
            with gdal_environment():
                dataset = self._opened()
                values = dataset.read(1, window=place)
                known = dataset.read_masks(1, window=place) > 0
        except GDAL_FAULTS as error:
            raise reading_error(self._location, error) from error
        values[~known] = 0
        return LabelPixels(values, known)

    def _opened(self) -> rasterio.DatasetReader | WarpedVRT:
        """Give this thread's own handle: GDAL's are not for two threads at once."""
        if not hasattr(self._local, "dataset"):
            source = open_raster(self._location)
            if self._grid.crs is None:
                self._local.dataset = source
            else:
                has_mask = source.nodata is not None
                self._local.dataset = WarpedVRT(
                    source,
                    crs=self._grid.crs,
                    transform=self._grid.transform,
                    width=self._grid.width,
                    height=self._grid.height,
                    resampling=Resampling.nearest,
                    # Tells pixels outside of the raster from pixels that hold a 0.
                    add_alpha=not has_mask,
                )
        return self._local.dataset


def _check_labels(dataset: rasterio.DatasetReader, name: str) -> None:
    if dataset.count != 1:
        raise ImageError(
            f"{name}: a label raster must have one band, got {dataset.count}; select it with: "
            f"gdal_translate -b 1 {name} label.tif"
        )
    if not np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer):
        raise ImageError(
            f"{name}: a label raster must have whole numbers, got {dataset.dtypes[0]}; convert it "
            f"with: gdal_translate -ot Byte {name} label.tif"
        )
    if is_lossy(dataset):
        raise ImageError(
            f"{name}: lossy JPEG compression alters label values; use the original, stored "
            "losslessly (DEFLATE, LZW)"
        )


def _check_place(dataset: rasterio.DatasetReader, grid: GeoGrid, *, name: str) -> None:
    if (dataset.crs is None) != (grid.crs is None):
        lacking = "it has no" if dataset.crs is None else "only it has a"
        raise DataError(
            f"{name}: {lacking} coordinate reference system; give it to the one without: "
            "gdal_edit.py -a_srs EPSG:CODE FILE"
        )
    if grid.crs is not None:
        source = dataset.crs.to_wkt()
        if not is_same_crs(source, grid.crs) and transformer_between(source, grid.crs) is None:
            raise DataError(
                f"{name}: no way leads from its CRS ({crs_name(source)}) to that of the images "
                f"({crs_name(grid.crs)}); correct a wrong one with gdal_edit.py -a_srs"
            )
        return
    if dataset.shape != grid.shape:
        raise DataError(
            f"{name}: {dataset.width}x{dataset.height} pixels, the images are "
            f"{grid.width}x{grid.height} (width x height); without a CRS all must have the same "
            "size"
        )
    # What has no place at all lies where the others lie, as a mask drawn in an image editor.
    has_place = not (dataset.transform.is_identity or grid.transform.is_identity)
    if has_place and not dataset.transform.almost_equals(grid.transform):
        raise DataError(
            f"{name}: lies at another place than the images, and none has a CRS; set the CRS of "
            "all with gdal_edit.py -a_srs EPSG:CODE FILE, or remove the label's world file"
        )
