"""GDAL's warper on pixels in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject

from changedet.raster.pixels import Pixels

if TYPE_CHECKING:
    from rasterio.crs import CRS
    from rasterio.io import DatasetWriter

    from changedet.raster.pixels import PixelValues

_OPAQUE: Final = 255
# Pictures in memory grow in such steps: neighbouring cells need almost the same size.
_GROWTH_PX: Final = 64
_ANYWHERE: Final = Affine(1.0, 0.0, 1.0, 0.0, -1.0, 1.0)


class Warper:
    """Carry pictures from one grid to another, square by square. One thread may use it.

    Its two pictures in memory are kept from call to call. Given arrays, rasterio would make them
    anew and switch off Python's warnings meanwhile, which belong to the whole process.

    Args:
        count: Bands, without alpha.
        dtype: Their type.
        crs: CRS of what is given, and of what is made.
        side_px: Side of the squares that are made.
        settings: Options of GDAL's warper; ``resampling`` is one of rasterio's names.
    """

    def __init__(
        self,
        *,
        count: int,
        dtype: np.dtype[Any],
        crs: tuple[CRS, CRS],
        side_px: int,
        settings: dict[str, Any],
    ) -> None:
        self._bands = list(range(1, count + 2))
        self._dtype = dtype
        self._crs = crs
        self._settings = {**settings, "resampling": Resampling[settings["resampling"]]}
        self._given: DatasetWriter | None = None
        self._made = self._open_picture((side_px, side_px), crs[1])

    def warp(self, pixels: Pixels, given: Affine, made: Affine) -> Pixels:
        """Resample one square; missing pixels are left out and not blended in.

        Args:
            pixels: What is given.
            given: Its place.
            made: Place of the square.

        Returns:
            The square, of (side, side); a pixel is valid if the given pixel that holds its centre
            is.
        """
        source = self._put(pixels, given)
        self._made.transform = made
        alpha = self._bands[-1]
        reproject(
            rasterio.band(source, self._bands),
            rasterio.band(self._made, self._bands),
            src_alpha=alpha,
            dst_alpha=alpha,
            num_threads=1,
            SRC_ALPHA_MAX=_OPAQUE,
            DST_ALPHA_MAX=_OPAQUE,
            **self._settings,
        )
        stack: PixelValues = self._made.read()
        valid: NDArray[np.bool_] = stack[-1] > 0
        values = stack[:-1]
        values[:, ~valid] = 0
        return Pixels(values, valid)

    def close(self) -> None:
        """Free the pictures."""
        self._made.close()
        if self._given is not None:
            self._given.close()

    def _put(self, pixels: Pixels, place: Affine) -> DatasetWriter:
        height, width = pixels.valid.shape
        source = self._with_room_for(height, width)
        # What lies beyond the given pixels is transparent.
        stack = np.zeros((len(self._bands), source.height, source.width), self._dtype)
        stack[:-1, :height, :width] = pixels.values
        stack[-1, :height, :width] = pixels.valid
        stack[-1] *= _OPAQUE
        source.write(stack)
        source.transform = place
        return source

    def _with_room_for(self, height: int, width: int) -> DatasetWriter:
        if self._given is not None:
            if height <= self._given.height and width <= self._given.width:
                return self._given
            height, width = max(height, self._given.height), max(width, self._given.width)
            self._given.close()
        shape = -(-height // _GROWTH_PX) * _GROWTH_PX, -(-width // _GROWTH_PX) * _GROWTH_PX
        self._given = self._open_picture(shape, self._crs[0])
        return self._given

    def _open_picture(self, shape: tuple[int, int], crs: CRS) -> DatasetWriter:
        return rasterio.open(
            "warped",
            "w+",
            driver="MEM",
            height=shape[0],
            width=shape[1],
            count=len(self._bands),
            dtype=self._dtype,
            crs=crs,
            transform=_ANYWHERE,
        )
