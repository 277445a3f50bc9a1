"""Polygons in columns, the form in which they are filtered, simplified and written."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np
import shapely

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from changedet.vector.outlines import Change

#: Columns of every format besides the geometry, in this order.
COLUMNS: Final = (
    "id",
    "area_m2",
    "pixels",
    "mean_score",
    "max_score",
    "left",
    "bottom",
    "right",
    "top",
)


class PolygonTable(NamedTuple):
    """A batch of polygons.

    Attributes:
        geometry: Polygons, (N,).
        area: In m², in pixels where there is no CRS, (N,).
        pixels: Number of changed pixels, (N,).
        mean_score: In [0, 1], (N,).
        max_score: In [0, 1], (N,).
    """

    geometry: NDArray[np.object_]
    area: NDArray[np.float64]
    pixels: NDArray[np.int64]
    mean_score: NDArray[np.float64]
    max_score: NDArray[np.float64]

    def take(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> PolygonTable:
        """Give some of the rows."""
        return PolygonTable(
            self.geometry[index],
            self.area[index],
            self.pixels[index],
            self.mean_score[index],
            self.max_score[index],
        )


class Layer(Protocol):
    """An unfinished file that takes one batch after the other."""

    def write(self, geometry: NDArray[np.object_], columns: Sequence[NDArray[np.generic]]) -> None:
        """Append polygons, (N,), and their :data:`COLUMNS`, each (N,); NaN stands for no value."""

    def complete(self) -> None:
        """Finish the file.

        Raises:
            OSError: If something is missing in it.
        """

    def close(self) -> None:
        """Let go of the file, complete or not."""


def batches(changes: Iterable[Change], size: int) -> Iterator[PolygonTable]:
    """Put changes into tables of ``size`` rows, the last one may be smaller."""
    rest = iter(changes)
    while batch := list(islice(rest, size)):
        geometry, pixels, area, mean_score, max_score = zip(*batch, strict=True)
        counts = np.array(pixels, dtype=np.int64)
        yield PolygonTable(
            np.array(geometry, dtype=object),
            np.array(
                [c if a is None else a for a, c in zip(area, pixels, strict=True)], dtype=float
            ),
            counts,
            np.array(mean_score, dtype=float),
            np.array(max_score, dtype=float),
        )


def columns_of(table: PolygonTable, *, first_id: int, crs: str | None) -> list[NDArray[np.generic]]:
    """Give the columns of a table as they are written, numbered from ``first_id``."""
    count = len(table.geometry)
    area = table.area if crs is not None else np.full(count, np.nan)
    bounds = shapely.bounds(table.geometry).reshape(count, 4)
    return [
        np.arange(first_id, first_id + count, dtype=np.int64),
        area,
        table.pixels,
        table.mean_score,
        table.max_score,
        *(np.ascontiguousarray(bounds[:, side]) for side in range(4)),
    ]
