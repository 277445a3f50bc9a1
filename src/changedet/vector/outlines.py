"""Outline the objects of a change mask strip by strip, keeping only those that may still grow."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from changedet.raster.geo_grid import GeoGrid
from changedet.vector.area import areas_m2
from changedet.vector.rings import Corners, find_corners, trace

# Scores are added up as multiples of 2**-24, the resolution of float32 below 1: such sums are exact
# in float64 for up to 2**29 pixels, so that they do not depend on where the strips end.
_UNITS: Final = float(2**24)


class Change(NamedTuple):
    """One object of changed pixels that are connected by their edges.

    Attributes:
        geometry: Outline along the pixel edges, in the grid's CRS; not changed inside is a hole.
        pixels: Number of changed pixels.
        area_m2: Area on the ellipsoid; None without CRS.
        mean_score: Mean score of the pixels, in [0, 1].
        max_score: Highest score of the pixels, in [0, 1].
    """

    geometry: shapely.Polygon
    pixels: int
    area_m2: float | None
    mean_score: float
    max_score: float


@dataclass
class _Counts:
    """Per object: number of pixels, sum of scores in units, highest score; each (K,)."""

    pixels: NDArray[np.int64]
    total: NDArray[np.float64]
    highest: NDArray[np.float64]

    @classmethod
    def zero(cls, count: int) -> "_Counts":
        return cls(np.zeros(count, dtype=np.int64), np.zeros(count), np.zeros(count))

    def add(self, index: NDArray[np.int32], other: "_Counts") -> None:
        """Add every object of ``other`` to the one at the same place of ``index``."""
        np.add.at(self.pixels, index, other.pixels)
        np.add.at(self.total, index, other.total)
        np.maximum.at(self.highest, index, other.highest)

    def take(self, index: NDArray[np.int64]) -> "_Counts":
        return _Counts(self.pixels[index], self.total[index], self.highest[index])


@dataclass
class _Open:
    """Objects that reach the last row seen, numbered from 1 as in ``row``.

    Attributes:
        row: Numbers along the last row, (W,), 0 where nothing changed.
        counts: What was counted so far.
        codes: Corners found so far, a list of arrays for each object.
    """

    row: NDArray[np.int32]
    counts: _Counts = field(default_factory=lambda: _Counts.zero(0))
    codes: list[list[NDArray[np.int64]]] = field(default_factory=list)


class Outliner:
    """Turn a mask that comes in strips from top to bottom into polygons.

    The objects, their order and their figures do not depend on the heights of the strips. Memory
    is bounded by a strip and the outlines of what still reaches the last row, not by the scene.
    """

    def __init__(self, grid: GeoGrid) -> None:
        self._grid = grid
        self._rows_seen = 0
        self._open = _Open(np.zeros(grid.width, dtype=np.int32))

    def add(self, mask: NDArray[np.uint8], score: NDArray[np.float32]) -> list[Change]:
        """Take in the next strip.

        Args:
            mask: Mask strip, (n, W): 1 changed, anything else (0 unchanged, 255 nodata) not.
            score: Scores, (n, W), in [0, 1] where the mask is 1.

        Returns:
            The objects that cannot grow any more, by their lowest row, then by their first pixel.

        Raises:
            ValueError: If the strip is not as wide as the grid, or goes beyond its last row.
        """
        rows = len(mask)
        if mask.shape != score.shape or mask.shape != (rows, self._grid.width):
            raise ValueError(
                f"a strip must be {self._grid.width} pixels wide, got mask {mask.shape} "
                f"and score {score.shape}"
            )
        if self._rows_seen + rows > self._grid.height:
            raise ValueError(
                f"the grid has {self._grid.height} rows, got {self._rows_seen + rows} so far"
            )
        changes = self._take(mask == 1, score) if rows else []
        self._rows_seen += rows
        return changes

    def finish(self) -> list[Change]:
        """Give the objects that reach the last row.

        Raises:
            ValueError: If there are rows of the grid that were not added.
        """
        if self._rows_seen != self._grid.height:
            raise ValueError(
                f"the grid has {self._grid.height} rows, got only {self._rows_seen} of them"
            )
        nothing = np.zeros((1, self._grid.width), dtype=bool)
        return self._take(nothing, nothing.astype(np.float32))

    def _take(self, changed: NDArray[np.bool_], score: NDArray[np.float32]) -> list[Change]:
        """Join a strip to what is open, and close what does not reach its last row."""
        before = self._open
        labels, _ = label(changed)
        renumbered, count = _join(before.row, labels[0], int(labels.max()))
        index = renumbered[1 : len(before.codes) + 1]

        owners = np.zeros((len(changed) + 1, self._grid.width + 2), dtype=np.int32)
        owners[0, 1:-1] = renumbered[before.row]
        owners[1:, 1:-1] = np.concatenate([[0], renumbered[len(before.codes) + 1 :]])[labels]
        counts = _count(owners[1:, 1:-1][changed], score[changed], count=count + 1)
        counts.add(index, before.counts)
        codes = _merge_codes(index, before.codes)
        corners = find_corners(owners, top=self._rows_seen)

        stays = np.zeros(count + 1, dtype=bool)
        stays[owners[-1]] = True
        stays[0] = False
        here = stays[corners.owner]
        _append(codes, Corners(corners.owner[here], corners.code[here]))
        numbers = np.cumsum(stays, dtype=np.int32) * stays
        remaining = np.flatnonzero(stays)
        self._open = _Open(
            numbers[owners[-1, 1:-1]],
            counts.take(remaining),
            [codes.pop(number, []) for number in remaining.tolist()],
        )
        # What is left in the dictionary belongs to objects that end here.
        owner, code = [corners.owner[~here]], [corners.code[~here]]
        for number, parts in codes.items():
            code.extend(parts)
            owner.extend(np.full(len(part), number) for part in parts)
        return self._outline(Corners(np.concatenate(owner), np.concatenate(code)), counts)

    def _outline(self, corners: Corners, counts: _Counts) -> list[Change]:
        """Make the polygons of closed objects, all of them at once."""
        if len(corners.owner) == 0:
            return []
        width = self._grid.width
        outlines = trace(corners, width=width)
        closed = counts.take(np.unique(corners.owner))
        points = outlines.points.astype(np.float64)
        columns, rows = points[:, 0], points[:, 1]
        t = self._grid.transform
        placed = np.stack(
            [t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f], axis=1
        )
        geometries = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON,
            placed,
            (outlines.ring_starts, outlines.polygon_starts),
        )
        crs = self._grid.crs
        areas = [None] * len(geometries) if crs is None else areas_m2(geometries, crs).tolist()
        first = outlines.points[outlines.ring_starts[outlines.polygon_starts[:-1]]]
        order = np.lexsort((first[:, 0], first[:, 1], outlines.bottoms)).tolist()
        pixels, highest = closed.pixels.tolist(), closed.highest.tolist()
        means = (closed.total / (closed.pixels * _UNITS)).tolist()
        return [Change(geometries[k], pixels[k], areas[k], means[k], highest[k]) for k in order]


def _join(
    above: NDArray[np.int32], below: NDArray[np.int32], labels: int
) -> tuple[NDArray[np.int32], int]:
    """Number what belongs together across the border of two strips.

    Args:
        above: Object numbers along the row above the border, (W,), 0 where there is none.
        below: Labels along the row below it, (W,).
        labels: Highest label of the strip below.

    Returns:
        New numbers, from 1, by old number (0 stays 0), then by label (from 1); and how many.
    """
    old = int(above.max())
    meet = (above > 0) & (below > 0)
    ends = (above[meet] - 1, below[meet] - 1 + old)
    graph = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(old + labels,) * 2)
    count, numbers = connected_components(graph, directed=False) if old + labels else (0, [])
    return np.concatenate([[0], np.asarray(numbers, dtype=np.int32) + 1]).astype(np.int32), count


def _count(owner: NDArray[np.int32], score: NDArray[np.float32], *, count: int) -> _Counts:
    units = np.rint(score.astype(np.float64) * _UNITS)
    highest = np.zeros(count)
    np.maximum.at(highest, owner, score)
    return _Counts(
        np.bincount(owner, minlength=count),
        np.bincount(owner, weights=units, minlength=count).astype(np.float64),
        highest,
    )


def _merge_codes(
    index: NDArray[np.int32], codes: list[list[NDArray[np.int64]]]
) -> dict[int, list[NDArray[np.int64]]]:
    """Put the corners of objects that met together, always the shorter list to the longer one."""
    merged: dict[int, list[NDArray[np.int64]]] = {}
    for number, parts in zip(index.tolist(), codes, strict=True):
        known = merged.setdefault(number, parts)
        if known is not parts:
            short, long = sorted((known, parts), key=len)
            long.extend(short)
            merged[number] = long
    return merged


def _append(codes: dict[int, list[NDArray[np.int64]]], corners: Corners) -> None:
    """Add corners to what is known of their objects."""
    if len(corners.owner) == 0:
        return
    order = np.argsort(corners.owner, kind="stable")
    owners, starts = np.unique(corners.owner[order], return_index=True)
    parts = np.split(corners.code[order], starts[1:])
    for owner, part in zip(owners.tolist(), parts, strict=True):
        # A view would keep the corners of all other objects of the strip alive.
        codes.setdefault(owner, []).append(part.copy())
