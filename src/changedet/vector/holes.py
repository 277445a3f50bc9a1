"""Fill small holes of polygons, but never over another polygon that lies inside."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

Measure: TypeAlias = Callable[[NDArray[np.object_]], NDArray[np.float64]]


class HoleFiller:
    """Fills holes batch by batch; polygons inside a hole must come before the one around them.

    That is the order in which :class:`~changedet.vector.outlines.Outliner` gives them. Of small
    polygons a point is remembered, nothing else.
    """

    def __init__(self, limit: float, *, smallest: float, measure: Measure) -> None:
        """Set the limits.

        Args:
            limit: Holes up to this area are filled.
            smallest: Polygons of less area do not count as lying in a hole, filled or not.
            measure: Gives areas of polygons, in the unit of both.
        """
        self._limit = limit
        self._smallest = smallest
        self._measure = measure
        self._islands: list[shapely.STRtree] = []

    def fill(self, polygons: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
        """Give the polygons, (N,), with small holes filled; and which were changed, (N,)."""
        self._remember(polygons)
        filled, is_changed = polygons.copy(), np.zeros(len(polygons), dtype=bool)
        with_holes = np.flatnonzero(shapely.get_num_interior_rings(polygons))
        if len(with_holes) == 0:
            return filled, is_changed
        rings, owner = shapely.get_rings(polygons[with_holes], return_index=True)
        is_hole = np.append([False], owner[1:] == owner[:-1])
        holes = shapely.polygons(rings[is_hole])
        closes = np.zeros(len(rings), dtype=bool)
        closes[is_hole] = (self._measure(holes) <= self._limit) & ~self._are_inhabited(holes)
        for number in np.unique(owner[closes]):
            exterior, *left = rings[(owner == number) & ~closes]
            filled[with_holes[number]] = shapely.Polygon(exterior, left)
            is_changed[with_holes[number]] = True
        return filled, is_changed

    def _remember(self, polygons: NDArray[np.object_]) -> None:
        area = self._measure(shapely.polygons(shapely.get_exterior_ring(polygons)))
        fits = (area <= self._limit) & (area >= self._smallest)
        if fits.any():
            self._islands.append(shapely.STRtree(shapely.point_on_surface(polygons[fits])))

    def _are_inhabited(self, holes: NDArray[np.object_]) -> NDArray[np.bool_]:
        inhabited = np.zeros(len(holes), dtype=bool)
        for tree in self._islands:
            inhabited[tree.query(holes, predicate="contains")[0]] = True
        return inhabited
