"""Polygons to be judged: those of the result, or traced anew at another threshold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import shapely

from changedet.errors import DataError
from changedet.raster.geo_grid import Window
from changedet.vector.polygon_file import NumberedPolygons, read_polygon_file
from changedet.vector.table import PolygonTable
from changedet.view.geometry import Box, to_pixels
from changedet.view.layers import lowest_code

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from changedet.view.item import Item
    from changedet.view.layers import LayerReader

Order: TypeAlias = Literal["id", "area", "mean_score", "max_score", "gain", "random"]
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
#: Pixels of a window in which polygons are traced at another threshold.
MOST_TRACED_PX: Final = 2**22
# Pixels of an image pair that is traced whole, a strip at a time.
_STRIP_PX: Final = 2**22
_FIGURES: Final = ("pixels", "area_m2", "mean_score", "max_score", "bbox", "gain")


class Candidates(NamedTuple):
    """Polygons with what they are ordered by; all in pixels.

    Attributes:
        ids: Numbers in the result; 0 where they were traced anew.
        geometry: Polygons, (N,).
        pixels: Changed pixels, (N,).
        area_m2: On the ellipsoid, (N,); None without CRS.
        mean_score: In [0, 1], (N,).
        max_score: In [0, 1], (N,).
        gain: What a verdict is worth, in [0, 1], (N,), see :func:`expected_gain`.
        boxes: Left, top, right, bottom, (N, 4).
    """

    ids: NDArray[np.int64]
    geometry: NDArray[np.object_]
    pixels: NDArray[np.int64]
    area_m2: NDArray[np.float64] | None
    mean_score: NDArray[np.float64]
    max_score: NDArray[np.float64]
    gain: NDArray[np.float64]
    boxes: NDArray[np.float64]

    def where(self, box: Box | None) -> NDArray[np.intp]:
        """Give the places of those that touch a box of pixels; None: of all."""
        if box is None:
            return np.arange(len(self.ids))
        left, top, right, bottom = box
        b = self.boxes
        touches = (b[:, 0] < right) & (b[:, 2] > left) & (b[:, 1] < bottom) & (b[:, 3] > top)
        return np.flatnonzero(touches)

    def ordered(self, places: NDArray[np.intp], order: Order) -> NDArray[np.intp]:
        """Sort places: the largest figure first, or by number."""
        if order == "random":
            # The same every time: whoever goes on tomorrow judges the next ones.
            shuffled = np.random.default_rng(0).permutation(len(self.ids))
            return places[np.argsort(shuffled[places], kind="stable")]
        keys = {
            "id": self.ids,
            "area": -self.pixels if self.area_m2 is None else -self.area_m2,
            "mean_score": -self.mean_score,
            "max_score": -self.max_score,
            "gain": -self.gain,
        }[order]
        return places[np.argsort(keys[places], kind="stable")]

    def to_json(self, places: NDArray[np.intp]) -> list[str]:
        """Give some of them as the browser gets them, a JSON object each."""
        shapes = shapely.to_geojson(self.geometry[places])
        count = len(places)
        figures = zip(
            self.ids[places].tolist(),
            self.pixels[places].tolist(),
            [None] * count if self.area_m2 is None else self.area_m2[places].round(3).tolist(),
            self.mean_score[places].round(6).tolist(),
            self.max_score[places].round(6).tolist(),
            self.boxes[places].tolist(),
            self.gain[places].round(6).tolist(),
            strict=True,
        )
        texts = []
        for (number, *values), shape in zip(figures, shapes, strict=True):
            entry = dict(zip(_FIGURES, values, strict=True))
            names = {"id": number or None, "uid": f"r{number}" if number else None}
            # The outline is JSON already.
            texts.append(f'{json.dumps({**names, **entry})[:-1]}, "geometry": {shape}}}')
        return texts


def expected_gain(mean_score: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Say how uncertain polygons are: 1 for a mean score at the threshold, 0 for a score of 1.

    A verdict on a polygon of which the model is sure teaches it little.
    """
    above = (mean_score - threshold) / max(1.0 - threshold, 1e-9)
    return np.asarray(1.0 - above.clip(0.0, 1.0), dtype=np.float64)


def load_candidates(item: Item, scores: LayerReader) -> Candidates:
    """Read the polygons of a result; of an image pair, trace them from its scores.

    Args:
        item: The result.
        scores: Its scores, of an image pair only.

    Raises:
        DataError: If they cannot be read.
    """
    if item.polygons is not None:
        found = read_polygon_file(item.polygons, crs=item.grid.crs)
        return _candidates(item, found, threshold=item.threshold)
    first = lowest_code(item.threshold, item.steps)
    table = _trace(item, scores, item.grid.window, first_code=first)
    ids = np.arange(1, len(table.geometry) + 1, dtype=np.int64)
    return _candidates(item, NumberedPolygons(ids, table), threshold=item.threshold)


def trace_candidates(
    item: Item, scores: LayerReader, window: Window, *, threshold: float
) -> Candidates:
    """Trace polygons in a window at another threshold; they end at its edge.

    Args:
        item: The result.
        scores: Its scores.
        window: Inside the result, of :data:`MOST_TRACED_PX` at most.
        threshold: Score from which on a pixel counts as changed.

    Raises:
        DataError: If the scores cannot be read.
    """
    first = lowest_code(threshold, item.steps)
    table = _trace(item, scores, window, first_code=first)
    ids = np.zeros(len(table.geometry), np.int64)
    return _candidates(item, NumberedPolygons(ids, table), threshold=threshold)


def _trace(item: Item, scores: LayerReader, window: Window, *, first_code: int) -> PolygonTable:
    # Polygons of a scene need not be traced, and SciPy takes half a second.
    from changedet.vector.outlines import Outliner
    from changedet.vector.selection import PolygonOptions, Selection

    grid = item.grid.crop(window)
    outliner, changes = Outliner(grid), []
    rows = max(1, _STRIP_PX // window.width)
    for top in range(window.top, window.bottom, rows):
        strip = Window(top, window.left, min(rows, window.bottom - top), window.width)
        part = scores.read(strip, 1)
        codes = part.values[0]
        mask = ((codes >= first_code) & part.valid).astype(np.uint8)
        changes += outliner.add(mask, (codes / np.float32(item.steps)).astype(np.float32))
    changes += outliner.finish()
    # Limits in pixels: those of the result, which its whole grid has settled.
    limits = PolygonOptions(min_area=item.min_area_px, fill_holes=item.min_area_px)
    selection = Selection(replace(grid, crs=None), limits)
    tables = list(selection.tables(changes, folder=Path()))
    if not tables:
        nothing = np.zeros(0)
        empty = np.zeros(0, dtype=object)
        return PolygonTable(empty, nothing, nothing.astype(np.int64), nothing, nothing)
    return PolygonTable(*(np.concatenate(column) for column in zip(*tables, strict=True)))


def _candidates(item: Item, found: NumberedPolygons, *, threshold: float) -> Candidates:
    table = found.table
    if len(np.unique(found.ids)) != len(found.ids) and found.ids.any():
        raise DataError(f"{item.polygons}: has polygons of the same number; predict again")
    geometry = to_pixels(table.geometry, item.grid)
    count = len(geometry)
    return Candidates(
        ids=found.ids,
        geometry=geometry,
        pixels=table.pixels,
        area_m2=None if item.grid.crs is None else table.area,
        mean_score=table.mean_score,
        max_score=table.max_score,
        gain=expected_gain(table.mean_score, threshold),
        boxes=shapely.bounds(geometry).reshape(count, 4),
    )
