"""Fill small holes of polygons, but never over another polygon that lies inside."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

#: Says of each polygon, (N,), whether its area is within a limit.
Test: TypeAlias = Callable[[NDArray[np.object_]], NDArray[np.bool_]]


class HoleFiller:
    """Fills holes batch by batch; polygons inside a hole must come before the one around them.

    That is the order in which :class:`~changedet.vector.outlines.Outliner` gives them. Of small
    polygons a point is remembered, nothing else.
    """

    def __init__(self, *, is_small: Test, is_kept: Test) -> None:
        """Set the limits.

        Args:
            is_small: Holes of such an area are filled.
            is_kept: Polygons of any other area do not count as lying in a hole, filled or not.
        """
        self._is_small = is_small
        self._is_kept = is_kept
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
        closes[is_hole] = self._is_small(holes) & ~self._are_inhabited(holes)
        first = np.searchsorted(owner, np.arange(len(with_holes) + 1))
        for number in np.unique(owner[closes]):
            own = slice(first[number], first[number + 1])
            exterior, *left = rings[own][~closes[own]]
            filled[with_holes[number]] = shapely.Polygon(exterior, left)
            is_changed[with_holes[number]] = True
        return filled, is_changed

    def _remember(self, polygons: NDArray[np.object_]) -> None:
        whole = shapely.polygons(shapely.get_exterior_ring(polygons))
        fits = self._is_small(whole) & self._is_kept(whole)
        if fits.any():
            self._islands.append(shapely.STRtree(shapely.point_on_surface(polygons[fits])))

    def _are_inhabited(self, holes: NDArray[np.object_]) -> NDArray[np.bool_]:
        inhabited = np.zeros(len(holes), dtype=bool)
        for tree in self._islands:
            inhabited[tree.query(holes, predicate="contains")[0]] = True
        return inhabited
