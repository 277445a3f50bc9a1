"""One date of a finished scene, read to be looked at: on the result's grid, at any resolution."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from rasterio.windows import Window as RasterWindow

from changedet.errors import ImageError
from changedet.raster.environment import gdal_environment
from changedet.raster.open import open_raster, reading
from changedet.raster.pixels import Pixels, PixelSource
from changedet.raster.readers import AfterReader, BeforeReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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

    def read(self, window: Window, step: int = 1) -> NDArray[np.generic]:
        """Read a window, from overviews if there are any.

        Args:
            window: Inside the raster, its sides multiples of ``step``.
            step: Pixels along each axis of which the one of an overview is taken.

        Returns:
            (h / step, w / step), as stored: scores with NaN where there is no data, or a mask.

        Raises:
            ImageError: If the file is damaged.
        """
        place = RasterWindow(window.left, window.top, window.width, window.height)
        shape = window.height // step, window.width // step
        with gdal_environment(), reading(self._location):
            values: NDArray[np.generic] = self._dataset.read(1, window=place, out_shape=shape)
        return values

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()
