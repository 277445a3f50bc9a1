"""Simplify outlines so that polygons stay valid, and apart from each other.

Polygons are simplified together with all those that might get into their way. A simplified ring
lies within the convex hull of the ring, so these are the polygons whose bounding boxes meet, and
those whose boxes meet theirs. As a polygon may come much later than others that lie in its box, all
of them wait in a temporary file; in memory are bounding boxes, figures and a cluster at a time.
"""

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final, Self

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from changedet.vector.errors import storing
from changedet.vector.table import PolygonTable

#: Polygons that are simplified at once, unless more hang together.
AT_ONCE: Final = 10_000
#: Most work (see :func:`work`) at once. Scattered patches come to a few times the number of their
#: corners; only long outlines around each other, such as spirals, come near.
MOST_WORK: Final = 30_000_000
# Rings whose boxes are compared at once.
_RINGS: Final = 100


def simplify(polygons: NDArray[np.object_], *, tolerance: float) -> NDArray[np.object_]:
    """Simplify polygons that do not overlap, keeping them so.

    Visvalingam and Whyatt's algorithm on all of them at once (``coverage_simplify`` of GEOS): the
    corner that makes the smallest triangle with its neighbours goes first, unless a line would be
    crossed, until all triangles are larger than the tolerance squared.

    Args:
        polygons: Polygons, (N,).
        tolerance: In units of the coordinates.
    """
    return np.asarray(shapely.coverage_simplify(polygons, tolerance), dtype=object)


def work(polygons: NDArray[np.object_], *, limit: float = math.inf) -> float:
    """Estimate what :func:`simplify` has to look at: for each corner, the rings around it.

    That is the sum of the corners of each ring, times the share of its box that each ring's box
    covers. A single outline has as much work as corners; n outlines around each other n times it.

    Args:
        polygons: Polygons, (N,).
        limit: Once the work is beyond this, the rest is not looked at.
    """
    rings = shapely.get_rings(polygons)
    corners, bounds = shapely.get_num_coordinates(rings), shapely.bounds(rings)
    size = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])
    boxes = shapely.box(*bounds.T)
    tree = shapely.STRtree(boxes)
    total = 0.0
    for first in range(0, len(rings), _RINGS):
        one, other = tree.query(boxes[first : first + _RINGS])
        one += first
        sides = np.minimum(bounds[one, 2:], bounds[other, 2:])
        sides -= np.maximum(bounds[one, :2], bounds[other, :2])
        total += float((corners[one] * sides.prod(axis=1) / size[one]).sum())
        if total > limit:
            break
    return total


def clusters(bounds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number boxes so that those that meet, also through others, have the same number.

    Args:
        bounds: Left, bottom, right and top of boxes, (N, 4).

    Returns:
        Numbers, (N,), from 0, in the order of each cluster's first box.
    """
    boxes = shapely.box(*bounds.T)
    one, other = shapely.STRtree(boxes).query(boxes)
    graph = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(len(bounds),) * 2)
    labels = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def simplify_tables(
    tables: Iterable[PolygonTable],
    *,
    tolerance: float,
    folder: Path,
    at_once: int = AT_ONCE,
    keep: Callable[[int], None] = lambda count: None,
) -> Iterator[PolygonTable]:
    """Simplify all polygons of all tables, in their order.

    Polygons that would take more than :data:`MOST_WORK` together are kept as they are.

    Args:
        tables: Polygons that do not overlap.
        tolerance: See :func:`simplify`.
        folder: Place for temporary files, which have no name there.
        at_once: About how many polygons are in memory; those that hang together always are.
        keep: Gets the number of polygons that are kept as they are, each time there are some.

    Yields:
        Tables with new geometries; the areas are still the old ones.

    Raises:
        StorageError: If the temporary files cannot be written.
    """
    with _Store(folder) as store, _Store(folder) as results:
        figures: list[PolygonTable] = []
        bounds: list[NDArray[np.float64]] = []
        for table in tables:
            store.append(table.geometry)
            bounds.append(shapely.bounds(table.geometry))
            figures.append(table._replace(geometry=np.zeros(len(table.geometry), dtype=object)))
        if not figures:
            return
        order, ends = _in_clusters(clusters(np.concatenate(bounds)), at_once)
        for numbers in np.split(order, ends):
            polygons = store.read(numbers)
            if work(polygons, limit=MOST_WORK) > MOST_WORK:
                keep(len(polygons))
                results.append(polygons)
            else:
                results.append(simplify(polygons, tolerance=tolerance))
        place = np.argsort(order)
        first = 0
        for table in figures:
            count = len(table.geometry)
            yield table._replace(geometry=results.read(place[first : first + count]))
            first += count


def _in_clusters(
    cluster: NDArray[np.int64], at_once: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order polygons by cluster, and say where to part them into batches of whole clusters."""
    order = np.argsort(cluster, kind="stable")
    starts = np.flatnonzero(np.diff(cluster[order])) + 1
    batch = starts // at_once
    return order, starts[1:][batch[1:] != batch[:-1]]


class _Store:
    """Geometries in a temporary file, by number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with storing(folder):
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._ends = [np.zeros(1, dtype=np.int64)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def append(self, geometries: NDArray[np.object_]) -> None:
        blobs = shapely.to_wkb(geometries).tolist()
        with storing(self._folder):
            self._file.seek(0, 2)
            self._file.write(b"".join(blobs))
        self._ends.append(np.cumsum([len(blob) for blob in blobs]) + self._ends[-1][-1])

    def read(self, numbers: NDArray[np.intp]) -> NDArray[np.object_]:
        self._ends = [np.concatenate(self._ends)]
        ends, blobs = self._ends[0], []
        with storing(self._folder):
            for start, end in zip(ends[numbers].tolist(), ends[numbers + 1].tolist(), strict=True):
                self._file.seek(start)
                blobs.append(self._file.read(end - start))
        return np.asarray(shapely.from_wkb(blobs), dtype=object)
