"""Read pixels of one raster, and which of them hold data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.windows import Window as RasterioWindow

from changedet.raster.bands import alpha_bands
from changedet.raster.geo_grid import Window
from changedet.raster.open import reading_error
from changedet.raster.pixel_rules import PixelRules
from changedet.raster.usable import GDAL_FAULTS

if TYPE_CHECKING:
    import rasterio

#: Larger float values stand for "no data" whatever the file says: files that name the lowest
#: float32 as nodata often store it rounded.
LARGEST = 1e38
# Rows that are averaged at once, at full resolution.
_STRIP_PX = 512
# Columns that are averaged at once: a row of a file's blocks stays in GDAL's cache.
_STRIP_WIDTH_PX = 8192
# Ways to compress that give all pixels of a block or none.
_ALWAYS_WHOLE = (None, "DEFLATE", "LZW", "ZSTD", "PACKBITS", "LZMA")
_FULL_LEVEL = 255


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


def may_have_gaps(dataset: rasterio.DatasetReader, bands: tuple[int, ...]) -> bool:
    """Tell from the header whether pixels of these bands may hold no data."""
    return bool(set(alpha_bands(dataset)) - set(bands)) or any(
        dataset.dtypes[band - 1].startswith("float")
        or MaskFlags.all_valid not in dataset.mask_flag_enums[band - 1]
        for band in bands
    )


class StoredPixels(NamedTuple):
    """Pixels of one raster as the file holds them.

    Attributes:
        values: (C, h, w), the chosen bands, of any type.
        alpha: (A, h, w), the alpha bands that are not chosen.
        mask: (h, w), True where the file's mask shows the pixel; None: it has none.
    """

    values: NDArray[np.generic]
    alpha: NDArray[np.generic]
    mask: NDArray[np.bool_] | None


class PixelSource:
    """Chosen bands of an open raster.

    A pixel is valid if all chosen bands hold data there: none is NaN or infinite or masked, the
    alpha band, if any, is not zero, and none has its nodata value. Of unsigned integers, where all
    chosen bands share one nodata value, only a pixel that has it in all of them is missing: there
    it is a common brightness, mostly 0 or 255, and a dark pixel without any blue is no hole.
    Rules add what the file does not declare.
    """

    def __init__(
        self,
        dataset: rasterio.DatasetReader,
        bands: tuple[int, ...],
        *,
        location: str,
        rules: PixelRules | None = None,
    ) -> None:
        self.dataset = dataset
        self.rules = rules or PixelRules()
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
        # A JPEG inside decodes to a smaller image by itself; other formats have smaller ones, too.
        self._is_plain = (
            dtypes == {"uint8"}
            and not (self._alpha or self._is_masked)
            and set(self._nodata) == {None}
            and dataset.driver == "GTiff"
            and dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION") in _ALWAYS_WHOLE
            and not any(dataset.overviews(band) for band in bands)
        )

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
        if decimation > 1 and self.rules.has_missing:
            return self._average(window, decimation)
        if decimation > 1 and self._is_plain:
            return self.separate(self._means(window, decimation))
        return self.separate(self.stored(window, decimation=decimation))

    def stored(self, window: Window, *, decimation: int = 1) -> StoredPixels:
        """Read what the file holds in a window; arguments and errors as of :meth:`read`."""
        place = RasterioWindow(window.left, window.top, window.width, window.height)
        shape = (window.height // decimation, window.width // decimation)
        # One call can read bands of one type only.
        wanted = [*self._bands, *self._alpha]
        is_one_type = len({self.dataset.dtypes[band - 1] for band in wanted}) == 1
        groups = [wanted] if is_one_type else [[band] for band in wanted]
        try:
            bands = [self._read_bands(group, place, shape=shape) for group in groups]
            mask = self._read_mask(place, shape=shape)
        except GDAL_FAULTS as error:
            raise reading_error(self._location, error) from error
        stored = np.concatenate(bands) if len(bands) > 1 else bands[0]
        return StoredPixels(stored[: self.count], stored[self.count :], mask)

    def _average(self, window: Window, decimation: int) -> Pixels:
        """Average valid pixels; GDAL does not know which ones are missing."""
        step = decimation
        strips: list[Pixels] = []
        rows = max(1, _STRIP_PX // step) * step
        for top in range(0, window.height, rows):
            height = min(rows, window.height - top)
            strip = Window(window.top + top, window.left, height, window.width)
            values, valid = self.separate(self.stored(strip))
            shape = height // step, step, window.width // step, step
            counts = valid.reshape(shape).sum(axis=(1, 3))
            sums = values.reshape(self.count, *shape).sum(axis=(2, 4), dtype=np.float64)
            means = sums / np.maximum(counts, 1)
            if self.dtype == np.uint8:
                means = np.rint(means)
            strips.append(Pixels(means.astype(self.dtype), counts > 0))
        return Pixels(
            np.concatenate([strip.values for strip in strips], axis=1),
            np.concatenate([strip.valid for strip in strips]),
        )

    def _means(self, window: Window, step: int) -> StoredPixels:
        """Average 8 bit without gaps as GDAL does, to the same values and three times as fast."""
        shape = (self.count, window.height // step, window.width // step)
        means = np.empty(shape, np.uint8)
        rows, columns = (max(1, side // step) for side in (_STRIP_PX, _STRIP_WIDTH_PX))
        for top in range(0, shape[1], rows):
            for left in range(0, shape[2], columns):
                height, width = min(rows, shape[1] - top), min(columns, shape[2] - left)
                place = Window(
                    window.top + top * step, window.left + left * step, height * step, width * step
                )
                stored = np.asarray(self.stored(place).values, np.uint8)
                sums = stored[..., ::step].astype(np.uint32)
                for column in range(1, step):
                    sums += stored[..., column::step]
                total = sums.reshape(self.count, height, step, width).sum(axis=2, dtype=np.uint64)
                # Halves are rounded up.
                mean = (total + step * step // 2) // (step * step)
                means[:, top : top + height, left : left + width] = mean
        return StoredPixels(means, np.empty((0, *shape[1:]), np.uint8), None)

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

    def separate(self, stored: StoredPixels) -> Pixels:
        """Find the valid pixels, put zeros elsewhere, and convert units."""
        valid = self.valid(stored)
        with np.errstate(over="ignore", invalid="ignore"):
            values = stored.values.astype(self.dtype, copy=False)
        if self.rules.units is not None:
            values = self._convert(stored.values, valid)
        if not valid.all():
            values = np.where(valid, values, np.zeros((), self.dtype))
        return Pixels(values, valid)

    def valid(self, stored: StoredPixels) -> NDArray[np.bool_]:
        """Tell which pixels hold data, (h, w)."""
        values, alphas, mask = stored
        valid = np.ones(values.shape[1:], np.bool_) if mask is None else mask.copy()
        if self.rules.uses_alpha:
            for alpha in alphas:
                valid &= alpha > 0
        bands = zip(values, self._nodata, strict=True)
        holes = [band == nodata for band, nodata in bands if nodata is not None]
        if holes:
            join = np.logical_and if self._is_missing_together else np.logical_or
            valid &= ~join.reduce(holes)
        for value in self.rules.missing_in_all:
            valid &= ~(values == value).all(axis=0)
        for value in self.rules.missing_in_any:
            valid &= ~(values == value).any(axis=0)
        if values.dtype.kind == "f":
            with np.errstate(over="ignore", invalid="ignore"):
                read = values.astype(self.dtype, copy=False)
            # NaN compares as False.
            valid &= (np.abs(read) < LARGEST).all(axis=0)
        return valid

    def _convert(self, stored: NDArray[np.generic], valid: NDArray[np.bool_]) -> PixelValues:
        """Convert units in double precision; 8 bit stays 8 bit."""
        converted = np.empty(stored.shape, self.dtype)
        for index, unit in enumerate(self.rules.units or ()):
            exact = np.where(valid, stored[index], 0).astype(np.float64)
            exact = exact * unit.factor + unit.offset
            if self.dtype == np.uint8:
                exact = np.rint(exact).clip(0, _FULL_LEVEL)
            converted[index] = exact
        return converted
