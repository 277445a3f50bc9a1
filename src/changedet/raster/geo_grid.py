"""Where pixels lie on Earth: pixel windows and georeferenced grids. No I/O, no GDAL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from affine import Affine


class Window(NamedTuple):
    """Rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """First row below the window."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """First column right of the window."""
        return self.left + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def intersect(self, other: Window) -> Window | None:
        """Give the common rectangle, or None if there is no common pixel."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        height = min(self.bottom, other.bottom) - top
        width = min(self.right, other.right) - left
        return Window(top, left, height, width) if height > 0 and width > 0 else None

    def moved(self, down: int, right: int) -> Window:
        """Give the window of the same size that lies so many pixels further."""
        return Window(self.top + down, self.left + right, self.height, self.width)

    def cut(self, size: int) -> list[Window]:
        """Cover it once with windows of at most ``size`` pixels a side, row by row."""
        return [
            Window(top, left, min(size, self.bottom - top), min(size, self.right - left))
            for top in range(self.top, self.bottom, size)
            for left in range(self.left, self.right, size)
        ]


@dataclass(frozen=True)
class GeoGrid:
    """Pixel grid with its place on Earth.

    Attributes:
        crs: Coordinate reference system as WKT; None: what coordinates mean is not known.
        transform: From (column, row) of pixel corners to CRS coordinates.
        height: In pixels.
        width: In pixels.
    """

    crs: str | None
    transform: Affine
    height: int
    width: int

    @property
    def window(self) -> Window:
        """All of the grid."""
        return Window(0, 0, self.height, self.width)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top of the grid's bounding box in CRS coordinates."""
        corners = [
            self.transform @ (x, y) for x in (0.0, float(self.width)) for y in (0.0, self.height)
        ]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return min(xs), min(ys), max(xs), max(ys)

    def crop(self, window: Window) -> GeoGrid:
        """Give the grid of a window of this one.

        Raises:
            ValueError: If the window does not lie inside the grid.
        """
        if window.intersect(self.window) != window:
            raise ValueError(f"{window} does not lie inside a grid of {self.height}x{self.width}")
        origin = self.transform.translation(window.left, window.top)
        return GeoGrid(self.crs, self.transform @ origin, window.height, window.width)
