"""Which tiles a scene needs, and how their scores become rows of the scene. No I/O, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from changedet.raster.geo_grid import Window
from changedet.raster.grid import blend_weights, starts

Scores: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]
#: Scores in the memory of whatever computed them: a NumPy array or a tensor on a device. All that
#: is asked of it is slicing, ``*``, ``+=`` and ``reshape``.
Resident: TypeAlias = Any


class Run(NamedTuple):
    """Neighbouring tiles of one row of tiles, which are read and scored together.

    Attributes:
        row: Number of the row of tiles.
        columns: Numbers of the tiles along the row.
        window: The pixels that these tiles cover, cut off at the scene's edge.
    """

    row: int
    columns: range
    window: Window


@dataclass(frozen=True)
class TilePlan:
    """Equal tiles over a scene, of which those that touch a target are needed.

    The tiles are placed from the scene's top left corner whatever the target, so that the scores
    inside a target are those of the whole scene.

    Attributes:
        shape: Height and width of the scene in pixels.
        tile_shape: Height and width of a tile; larger than a small scene, never cut.
        overlap_px: Pixels that neighbouring tiles share at least; an axis that holds a single tile
            ignores it.
        target: The part of the scene that is wanted.

    Raises:
        ValueError: If the overlap leaves no step between tiles, or the target is not inside.
    """

    shape: tuple[int, int]
    tile_shape: tuple[int, int]
    overlap_px: int
    target: Window

    def __post_init__(self) -> None:
        for length, size in zip(self.shape, self.tile_shape, strict=True):
            if self.overlap_px < 0 or (length > size and self.overlap_px >= size):
                raise ValueError(f"overlap must be in [0, {size}), got {self.overlap_px}")
        if self.target.intersect(Window(0, 0, *self.shape)) != self.target:
            raise ValueError(f"{self.target} is not inside a scene of {self.shape}")

    @cached_property
    def tops(self) -> list[int]:
        """First pixel row of each row of tiles."""
        return self._starts(0)

    @cached_property
    def lefts(self) -> list[int]:
        """First pixel column of each column of tiles."""
        return self._starts(1)

    @property
    def rows(self) -> range:
        """Numbers of the rows of tiles that touch the target."""
        target = self.target
        return _touching(self.tops, self.tile_shape[0], start=target.top, stop=target.bottom)

    @property
    def columns(self) -> range:
        """Numbers of the columns of tiles that touch the target."""
        target = self.target
        return _touching(self.lefts, self.tile_shape[1], start=target.left, stop=target.right)

    @property
    def count(self) -> int:
        """Number of tiles that touch the target."""
        return len(self.rows) * len(self.columns)

    def tile(self, row: int, column: int) -> Window:
        """Give the window of one tile; it may reach over the edge of a small scene."""
        return Window(self.tops[row], self.lefts[column], *self.tile_shape)

    def runs(self, row: int, length: int) -> Iterator[Run]:
        """Cut a row of tiles into runs of at most ``length`` tiles, left to right."""
        columns = self.columns
        for start in range(columns.start, columns.stop, length):
            part = range(start, min(start + length, columns.stop))
            first, last = self.tile(row, part[0]), self.tile(row, part[-1])
            height = min(first.bottom, self.shape[0]) - first.top
            width = min(last.right, self.shape[1]) - first.left
            yield Run(row, part, Window(first.top, first.left, height, width))

    def finished_below(self, row: int) -> int:
        """First pixel row to which a later row of tiles still contributes."""
        return self.tops[row + 1] if row + 1 < len(self.tops) else self.shape[0]

    def _starts(self, axis: int) -> list[int]:
        size = self.tile_shape[axis]
        return starts(self.shape[axis], size, min(self.overlap_px, size - 1))


class OpenRows(NamedTuple):
    """Unfinished scores: what a killed run needs to resume (see :class:`RowBlender`).

    ``scores`` is (K classes, n, W of the target), NaN where none is wanted; ``top`` is their first
    pixel row.
    """

    top: int
    scores: Scores


class Memory(Protocol):
    """Where scores are blended: main memory, or that of the device that computed them."""

    def zeros(self, shape: tuple[int, ...]) -> Resident:
        """Make an array of zeros, float32."""

    def resident(self, values: NDArray[np.float32]) -> Resident:
        """Bring an array there."""

    def clip(self, scores: Resident) -> None:
        """Limit scores to [0, 1] in place; NaN stays."""


class MainMemory:
    """Arrays of NumPy."""

    def zeros(self, shape: tuple[int, ...]) -> Scores:
        """Make an array of zeros, float32."""
        return np.zeros(shape, np.float32)

    def resident(self, values: Scores) -> Scores:
        """Give the array itself."""
        return values

    def clip(self, scores: Scores) -> None:
        """Limit scores to [0, 1] in place; NaN stays."""
        np.clip(scores, 0.0, 1.0, out=scores)


class RowBlender:
    """Blends the scores of tiles and hands out the rows of the target that are final.

    Only as many pixel rows as a tile is high are held, once. Rows of tiles come from top to bottom;
    the order of the tiles within a row changes no more than the rounding of sums. Every class is
    blended for itself.

    Args:
        plan: The tiles.
        classes: Scores that a pixel has, K.
        resumed: The state of an earlier blender, to resume from.
        memory: Where the scores lie; their rows are handed out there, too.
    """

    def __init__(
        self,
        plan: TilePlan,
        *,
        classes: int = 1,
        resumed: OpenRows | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._plan = plan
        self._memory = memory = memory or MainMemory()
        self._row_weights, self._column_weights = (
            memory.resident(
                blend_weights(length, size=size, overlap=plan.overlap_px).astype(np.float32)
            )
            for length, size in zip(plan.shape, plan.tile_shape, strict=True)
        )
        # A NumPy array or its like: all that follows holds for tensors, too.
        self._scores = memory.zeros((classes, plan.tile_shape[0], plan.target.width))
        self._top = plan.tops[plan.rows.start]
        self._begun = 0
        if resumed is not None:
            self._top, self._begun = resumed.top, resumed.scores.shape[1]
            self._scores[:, : self._begun] = resumed.scores

    @property
    def open_rows(self) -> OpenRows:
        """The state between two rows of tiles; valid until the next call of a method."""
        return OpenRows(self._top, self._scores[:, : self._begun])

    def add_scores(self, row: int, column: int, scores: Scores) -> None:
        """Blend the scores of one tile in, (K, tile height, tile width), in [0, 1].

        With a single class they may also be (tile height, tile width).
        """
        tile = self._plan.tile(row, column)
        scores = scores.reshape(len(self._scores), *tile.shape)
        weighted = scores * self._row_weights[row, :, None] * self._column_weights[column]
        place, source = self._places(tile)
        self._scores[:, *place] += weighted[:, *source]

    def leave_out(self, window: Window, unwanted: Mask) -> None:
        """Tell which pixels of a window get no score, (window height, window width)."""
        place, source = self._places(window)
        # Nothing that is added to NaN changes it.
        self._scores[:, *place][:, unwanted[source]] = np.nan

    def finish_row(self, row: int) -> tuple[int, Scores]:
        """End a row of tiles and hand out the pixel rows that no later tile touches.

        Returns:
            First of these rows, counted from the target's top, and their scores, (K, n, W),
            float32 in [0, 1], NaN where none is wanted; n may be 0. They may be changed, and are
            valid until :meth:`go_on`.
        """
        target = self._plan.target
        first = max(self._top, target.top)
        last = max(first, min(self._plan.finished_below(row), target.bottom))
        scores = self._scores[:, first - self._top : last - self._top]
        # The blend may leave [0, 1] by a rounding error.
        self._memory.clip(scores)
        return first - target.top, scores

    def go_on(self, row: int) -> None:
        """Make room for the next row of tiles."""
        top = self._plan.finished_below(row)
        held = self._scores.shape[1]
        step = min(top - self._top, held)
        kept = held - step
        for start in range(0, kept, step):
            # Pieces that do not overlap are copied without a third place to keep them.
            stop = min(start + step, kept)
            self._scores[:, start:stop] = self._scores[:, start + step : stop + step]
        self._scores[:, kept:] = 0.0
        self._top, self._begun = top, kept

    def _places(self, window: Window) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where a window lies in the open rows, and which part of the window that is."""
        target = self._plan.target
        held = Window(self._top, target.left, *self._scores.shape[1:])
        common = window.intersect(held)
        if common is None:
            return (slice(0), slice(0)), (slice(0), slice(0))
        place, source = (common.moved(-origin.top, -origin.left) for origin in (held, window))
        return (
            (slice(place.top, place.bottom), slice(place.left, place.right)),
            (slice(source.top, source.bottom), slice(source.left, source.right)),
        )


def _touching(places: list[int], size: int, *, start: int, stop: int) -> range:
    touching = [index for index, at in enumerate(places) if at < stop and at + size > start]
    return range(touching[0], touching[-1] + 1)
