"""Read pixels of one raster, and which of them hold data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioIOError
from rasterio.windows import Window as RasterioWindow

from changedet.raster.bands import alpha_bands
from changedet.raster.open import reading_error

if TYPE_CHECKING:
    import rasterio

    from changedet.raster.geo_grid import Window

#: Larger float values stand for "no data" whatever the file says: files that name the lowest
#: float32 as nodata often store it rounded.
_LARGEST = 1e38


#: What is read: 8 bit as stored, anything else as float32.
PixelValues: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]


class Pixels(NamedTuple):
    """Pixels of one raster.

    Attributes:
        values: (C, h, w), uint8 if the file stores 8 bit, else float32; 0 where not valid.
        valid: (h, w), True where there is data, see :class:`PixelSource`.
    """

    values: PixelValues
    valid: NDArray[np.bool_]


class PixelSource:
    """Chosen bands of an open raster.

    A pixel is valid if all chosen bands hold data there: none is NaN or infinite or masked, the
    alpha band, if any, is not zero, and none has its nodata value. Of unsigned integers, where all
    chosen bands share one nodata value, only a pixel that has it in all of them is missing: there
    it is a common brightness, mostly 0 or 255, and a dark pixel without any blue is no hole.
    """

    def __init__(
        self, dataset: rasterio.DatasetReader, bands: tuple[int, ...], *, location: str
    ) -> None:
        self.dataset = dataset
        self.count = len(bands)
        self._bands = bands
        self._location = location
        self._alpha = [band for band in alpha_bands(dataset) if band not in bands]
        flags = [set(dataset.mask_flag_enums[band - 1]) for band in bands]
        # Alpha and nodata are looked at here; GDAL shows only one of several kinds of masks.
        known = {MaskFlags.all_valid, MaskFlags.nodata, MaskFlags.alpha}
        self._is_masked = any(not (flag & known) for flag in flags)
        self._nodata = [dataset.nodatavals[band - 1] for band in bands]
        dtypes = {dataset.dtypes[band - 1] for band in bands}
        is_shared = len(set(self._nodata)) == 1
        is_unsigned = all(dtype.startswith("uint") for dtype in dtypes)
        self._is_missing_together = is_shared and is_unsigned
        self.dtype = np.dtype(np.uint8 if dtypes == {"uint8"} else np.float32)

    def read(self, window: Window, *, decimation: int = 1) -> Pixels:
        """Read a window.

        Args:
            window: In pixels of the raster, inside it, its sides multiples of ``decimation``.
            decimation: Average this many pixels along each axis, from overviews if there are any;
                missing pixels do not count, nor does the nodata value in a single band, which is
                how GDAL averages and builds overviews.

        Raises:
            ImageError: If the file is damaged or its server fails.
        """
        place = RasterioWindow(window.left, window.top, window.width, window.height)
        shape = (window.height // decimation, window.width // decimation)
        # One call can read bands of one type only.
        wanted = [*self._bands, *self._alpha]
        is_one_type = len({self.dataset.dtypes[band - 1] for band in wanted}) == 1
        groups = [wanted] if is_one_type else [[band] for band in wanted]
        try:
            bands = [self._read_bands(group, place, shape=shape) for group in groups]
            mask = self._read_mask(place, shape=shape)
        except RasterioIOError as error:
            raise reading_error(self._location, error) from error
        stored = np.concatenate(bands) if len(bands) > 1 else bands[0]
        return self._separate(stored, mask)

    def _read_bands(
        self, bands: list[int], place: RasterioWindow, *, shape: tuple[int, int]
    ) -> NDArray[np.generic]:
        values: NDArray[np.generic] = self.dataset.read(
            bands,
            window=place,
            out_shape=(len(bands), *shape),
            resampling=Resampling.average,
        )
        return values

    def _read_mask(
        self, place: RasterioWindow, *, shape: tuple[int, int]
    ) -> NDArray[np.bool_] | None:
        if not self._is_masked:
            return None
        masks = self.dataset.read_masks(
            list(self._bands),
            window=place,
            out_shape=(len(self._bands), *shape),
            resampling=Resampling.average,
        )
        return np.asarray((masks > 0).all(axis=0))

    def _separate(self, stored: NDArray[np.generic], mask: NDArray[np.bool_] | None) -> Pixels:
        """Find the valid pixels, and put zeros elsewhere."""
        count = len(self._bands)
        valid = np.ones(stored.shape[1:], np.bool_) if mask is None else mask
        for alpha in stored[count:]:
            valid &= alpha > 0
        bands = zip(stored[:count], self._nodata, strict=True)
        holes = [band == nodata for band, nodata in bands if nodata is not None]
        if holes:
            join = np.logical_and if self._is_missing_together else np.logical_or
            valid &= ~join.reduce(holes)
        with np.errstate(over="ignore", invalid="ignore"):
            values = stored[:count].astype(self.dtype, copy=False)
        if stored.dtype.kind == "f":
            # NaN compares as False.
            valid &= (np.abs(values) < _LARGEST).all(axis=0)
        if not valid.all():
            values = np.where(valid, values, np.zeros((), self.dtype))
        return Pixels(values, valid)
