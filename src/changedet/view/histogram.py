"""Scores of a whole result counted step by step, in the background."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from changedet.errors import ChangeDetError
from changedet.raster.environment import gdal_environment
from changedet.raster.geo_grid import Window
from changedet.view.geometry import pixel_areas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from changedet.view.item import Item

# Rows and columns of blocks of the file that are read at once.
_ROWS: Final = 512
_COLUMNS: Final = 2048


class Histogram:
    """Counts the codes of the scores of one result, in a thread of its own.

    Args:
        item: The result.

    Attributes:
        progress: Share of the pixels that are counted, in [0, 1].
        error: Why it was given up; None: it was not.
    """

    def __init__(self, item: Item) -> None:
        self.progress = 0.0
        self.error: ChangeDetError | None = None
        self._item = item
        self._counts = np.zeros(item.steps + 1, np.int64)
        self._areas: NDArray[np.float64] | None = None
        self._nodata = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="histogram")

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def stop(self) -> None:
        """Give up; waits until the file is closed."""
        self._stop.set()
        self._thread.join()

    def join(self) -> None:
        """Wait until all is counted."""
        self._thread.join()

    @property
    def is_ready(self) -> bool:
        """Whether all is counted."""
        return self.progress == 1.0

    def describe(self) -> dict[str, Any]:
        """Give what is known as the browser gets it."""
        if not self.is_ready:
            return {"state": "computing", "progress": round(self.progress, 3)}
        return {
            "state": "ready",
            "steps": self._item.steps,
            "counts": self._counts.tolist(),
            "area_m2": None if self._areas is None else self._areas.round(3).tolist(),
            "valid": int(self._counts.sum()),
            "nodata": self._nodata,
        }

    def _run(self) -> None:
        try:
            with gdal_environment():
                self._count()
        except ChangeDetError as error:
            self.error = error

    def _count(self) -> None:
        grid = self._item.grid
        windows = [
            Window(top, left, min(_ROWS, grid.height - top), min(_COLUMNS, grid.width - left))
            for top in range(0, grid.height, _ROWS)
            for left in range(0, grid.width, _COLUMNS)
        ]
        sizes = pixel_areas(grid, windows)
        areas = None if sizes is None else np.zeros(self._item.steps + 1)
        scores = self._item.open_layer("score")
        try:
            for number, window in enumerate(windows, 1):
                if self._stop.is_set():
                    return
                part = scores.read(window, 1)
                found = np.bincount(part.values[0][part.valid], minlength=len(self._counts))
                self._counts += found
                self._nodata += part.valid.size - int(found.sum())
                if areas is not None and sizes is not None:
                    areas += found * sizes[number - 1]
                if number < len(windows):
                    self.progress = number / len(windows)
        finally:
            scores.close()
        self._areas = areas
        self.progress = 1.0
