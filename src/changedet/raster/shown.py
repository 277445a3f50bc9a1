"""One date of a finished scene, read to be looked at: on the result's grid, at any resolution.

Files are read by rio-tiler. What it does not know stays with the reader of the prediction: which
values stand for no data, units, and AFTER on the pixels of BEFORE, so that all is shown as the
model saw it.
"""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

import numpy as np
from rasterio.windows import Window as RasterWindow

from changedet.errors import ImageError
from changedet.raster.environment import gdal_environment
from changedet.raster.open import open_raster, reading
from changedet.raster.pixels import Pixels, PixelSource
from changedet.raster.readers import AfterReader, BeforeReader

if TYPE_CHECKING:
    import rasterio
    from numpy.typing import NDArray
    from rio_tiler.models import ImageData

    from changedet.raster.geo_grid import Window
    from changedet.raster.pixel_rules import PixelRules
    from changedet.raster.read_plan import ReadPlan

#: Which of the two rasters.
Date = Literal["before", "after"]


class _ShownPixels(PixelSource):
    """Pixels that are averaged by GDAL, from overviews, also where rules mark missing ones.

    To average just the valid pixels, all of them would have to be read; where no whole pixel of
    the picture is missing, its edge may look a little darker.
    """

    def read(self, window: Window, *, decimation: int = 1) -> Pixels:
        return self.separate(self.stored(window, decimation=decimation))

    def _read_bands(
        self, bands: list[int], place: RasterWindow, *, shape: tuple[int, int]
    ) -> NDArray[np.generic]:
        return _read(self.dataset, bands, place, shape=shape, resampling_method="average").data


class ShownDate:
    """One date of a scene, opened for one thread.

    Args:
        plan: How both rasters lie over each other.
        date: Which one is read; the other file is not needed.
        rules: How its values are read.

    Raises:
        ImageError: If it cannot be opened, or is not as large as it was when the scene was made.
    """

    def __init__(self, plan: ReadPlan, date: Date, *, rules: PixelRules) -> None:
        raster = plan.before if date == "before" else plan.after
        with ExitStack() as opened:
            dataset = opened.enter_context(open_raster(raster.location))
            if dataset.shape != raster.shape or max(raster.bands) > dataset.count:
                raise ImageError(
                    f"{raster.name}: is another file than at the prediction: "
                    f"{dataset.width}x{dataset.height} px with {dataset.count} bands, it was "
                    f"{raster.width}x{raster.height} with {raster.band_count}; put that one back"
                )
            source = _ShownPixels(dataset, raster.bands, location=raster.location, rules=rules)
            self._reader: BeforeReader | AfterReader
            if date == "before":
                self._reader = BeforeReader(source, plan)
            else:
                self._reader = AfterReader(source, plan)
                opened.callback(self._reader.close)
            self._opened = opened.pop_all()

    def read(self, window: Window, step: int = 1) -> Pixels:
        """Read a window of the result's grid.

        Args:
            window: Inside the grid, its sides multiples of ``step``.
            step: Pixels of the grid along each axis that become one.

        Raises:
            ImageError: If the file is damaged or its server fails.
        """
        with gdal_environment():
            if step == 1:
                return self._reader.read(window)
            return self._reader.reduced(window, step)

    def close(self) -> None:
        """Close the file."""
        self._opened.close()


class ShownScores:
    """The scores of a finished scene, or its mask, opened for one thread.

    Raises:
        ImageError: If the file cannot be opened.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._dataset = open_raster(location)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self._dataset.shape
        return height, width

    def check_end(self) -> None:
        """Read the last pixel: of a file that is cut short, what comes last is missing.

        Raises:
            ImageError: If the file is damaged.
        """
        height, width = self.shape
        place = RasterWindow(width - 1, height - 1, 1, 1)
        with gdal_environment(), reading(self._location):
            # Not by rio-tiler, see load_reader().
            self._dataset.read(1, window=place)

    def read(self, window: Window, step: int = 1) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Read a window, from overviews if there are any.

        Args:
            window: Inside the raster, its sides multiples of ``step``.
            step: Pixels along each axis of which the one of an overview is taken.

        Returns:
            Scores or a mask as stored, (h / step, w / step), and where there is data.

        Raises:
            ImageError: If the file is damaged.
        """
        place = RasterWindow(window.left, window.top, window.width, window.height)
        shape = window.height // step, window.width // step
        with gdal_environment(), reading(self._location):
            image = _read(self._dataset, [1], place, shape=shape, resampling_method="nearest")
        return image.data[0], ~np.ma.getmaskarray(image.array)[0]

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()


def load_reader() -> None:
    """Import what reads the files, which takes a third of a second; reading does it as well."""
    importlib.import_module("rio_tiler.reader")


def _read(
    dataset: rasterio.DatasetReader,
    bands: list[int],
    place: RasterWindow,
    *,
    shape: tuple[int, int],
    resampling_method: Literal["nearest", "average"],
) -> ImageData:
    from rio_tiler.reader import read

    return read(
        dataset,
        indexes=bands,
        window=place,
        height=shape[0],
        width=shape[1],
        resampling_method=resampling_method,
    )
