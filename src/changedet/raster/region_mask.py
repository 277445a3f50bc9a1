"""An area of interest as pixels of a grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import bounds, rasterize

from changedet.errors import DataError
from changedet.raster.environment import gdal_environment
from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.open import WARNING_FILTERS

if TYPE_CHECKING:
    from collections.abc import Mapping


class RegionMask:
    """Polygon on a pixel grid; a pixel is inside if its centre is.

    Args:
        geometry: GeoJSON-like polygon or multipolygon in the CRS of the grid.
        grid: The grid.

    Attributes:
        window: The pixels that the polygon's bounds touch, in pixels of the grid, cut off at its
            edges.

    Raises:
        DataError: If the polygon is empty or lies outside the grid.
    """

    def __init__(self, geometry: Mapping[str, Any], grid: GeoGrid) -> None:
        self._geometry = dict(geometry)
        self._grid = grid
        self.window = self._find_window()

    def read(self, window: Window) -> NDArray[np.bool_]:
        """Tell which pixels of a window of the grid are inside, (h, w)."""
        origin = Affine.translation(window.left, window.top)
        with gdal_environment(), WARNING_FILTERS:
            inside: NDArray[np.uint8] = rasterize(
                [(self._geometry, 1)],
                out_shape=window.shape,
                transform=self._grid.transform @ origin,
                fill=0,
                dtype=np.uint8,
            )
        return inside.astype(np.bool_)

    def _find_window(self) -> Window:
        if not self._geometry.get("coordinates"):
            raise DataError("the area of interest is empty; give a polygon with an area")
        left, bottom, right, top = bounds(self._geometry)
        to_pixels = ~self._grid.transform
        corners = [to_pixels @ (x, y) for x in (left, right) for y in (bottom, top)]
        columns, rows = [x for x, _ in corners], [y for _, y in corners]
        first_row, first_column = math.floor(min(rows)), math.floor(min(columns))
        window = Window(
            first_row,
            first_column,
            math.ceil(max(rows)) - first_row,
            math.ceil(max(columns)) - first_column,
        ).intersect(self._grid.window)
        if window is None:
            west, south, east, north = self._grid.bounds
            raise DataError(
                f"the area of interest ({_range(left, right, 'x')}, {_range(bottom, top, 'y')}) "
                "lies outside the common area of the rasters "
                f"({_range(west, east, 'x')}, {_range(south, north, 'y')}); give it "
                "in the CRS of the earlier raster, or choose another area"
            )
        return window


def _range(low: float, high: float, name: str) -> str:
    return f"{name} {low:.7g}..{high:.7g}"
