"""Make polygons of any file safe to work with: closed, finite and valid, in bounded time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from changedet.errors import DataError
from changedet.storage.text import first_few

_COLLECTION: Final = shapely.GeometryType.GEOMETRYCOLLECTION
_POLYGON: Final = shapely.GeometryType.POLYGON
_MULTIPOLYGON: Final = shapely.GeometryType.MULTIPOLYGON
# Repairing takes some 40 microseconds a crossing, and its memory grows likewise.
_MOST_CROSSINGS: Final = 100_000
_MOST_CROSSINGS_TOGETHER: Final = 400_000
# With fewer edges there are few crossings at most.
_FEW_EDGES: Final = 16
_SAMPLED_EDGES: Final = 128
# Of the sampled edges: a single long one may cross many others, where most cross none.
_CROSSING_EDGES: Final = 3
# Nothing on Earth has larger coordinates, in whatever unit; squares of them are still exact enough.
_LARGEST_COORDINATE: Final = 1e15


def parse_polygons(
    blobs: NDArray[np.object_],
    names: Sequence[str],
    *,
    path: Path,
    tell: Callable[[str], None],
) -> NDArray[np.object_]:
    """Read features' geometries, and give the polygons among them, valid or not.

    Collections are taken apart. Rings that do not end where they began are closed, which is said.

    Args:
        blobs: Well-known binary of each feature, (N,); None for one without geometry.
        names: What messages call each feature, N of them.
        path: The file, for messages.
        tell: Gets what was repaired.

    Returns:
        Polygons and multipolygons, (K,), none of them empty.

    Raises:
        DataError: If a geometry cannot be read, or has coordinates that are no place.
    """
    try:
        with np.errstate(invalid="ignore"):
            geometry = np.asarray(shapely.from_wkb(blobs, on_invalid="ignore"), dtype=object)
            missing = np.flatnonzero(shapely.is_missing(geometry)).tolist()
            unread = [i for i in missing if blobs[i]]
            geometry[unread] = shapely.from_wkb(blobs[unread], on_invalid="fix")
    except (shapely.errors.ShapelyError, NotImplementedError) as error:
        raise DataError(
            f"{path}: has geometries that cannot be read ({error}); "
            f"write plain polygons: ogr2ogr -nlt CONVERT_TO_LINEAR NEW_FILE {path}"
        ) from error
    lost = [names[i] for i in unread if geometry[i] is None]
    if lost:
        raise DataError(
            f"{path}: {first_few(lost)}: the geometry cannot be read, a ring may have too few "
            "points; correct or remove it"
        )
    if unread:
        tell(f"{path}: {first_few([names[i] for i in unread])}: closed rings that were not closed")
    points, owner = shapely.get_coordinates(geometry, return_index=True)
    usable = np.isfinite(points) & (np.abs(points) <= _LARGEST_COORDINATE)
    if not usable.all():
        wrong = int(np.argmin(usable.all(axis=1)))
        x, y = points[wrong]
        raise DataError(
            f"{path}: {names[int(owner[wrong])]}: the coordinates {x:g}, {y:g} are not a position; "
            "correct or remove it"
        )
    return _polygons_of(geometry)


def valid_polygons(
    geometry: NDArray[np.object_],
    *,
    name: str,
    tell: Callable[[str], None] = lambda message: None,
) -> NDArray[np.object_]:
    """Repair what crosses itself, and give the single polygons.

    Args:
        geometry: Polygons and multipolygons, (N,).
        name: What the message calls them all.
        tell: Gets how many were repaired.

    Raises:
        DataError: If they cross themselves too often to be repaired.
    """
    invalid = np.flatnonzero(~shapely.is_valid(geometry))
    if sum(count_crossings(geometry[i : i + 1]) for i in invalid) > _MOST_CROSSINGS:
        raise DataError(
            f"{name}: has polygons that cross themselves more than {_MOST_CROSSINGS:,} times in "
            "all; check how they were made, or simplify them"
        )
    geometry = geometry.copy()
    try:
        geometry[invalid] = shapely.make_valid(geometry[invalid], method="structure")
    except shapely.errors.ShapelyError as error:
        raise DataError(
            f"{name}: has polygons that cross themselves and cannot be repaired ({error}); "
            "correct or remove them"
        ) from error
    if len(invalid):
        tell(
            f"{name}: {len(invalid)} of {len(geometry)} polygons cross themselves and were "
            "repaired; check that they still cover what is meant"
        )
    parts = _polygons_of(geometry)
    return np.asarray(shapely.get_parts(parts), dtype=object)


def united(polygons: NDArray[np.object_], *, name: str) -> shapely.Geometry:
    """Unite valid polygons.

    Raises:
        DataError: If they cross each other too often to be united.
    """
    if count_crossings(polygons) > _MOST_CROSSINGS_TOGETHER:
        raise DataError(
            f"{name}: its polygons cross each other more than {_MOST_CROSSINGS_TOGETHER:,} times; "
            "unite or simplify them first"
        )
    try:
        return shapely.union_all(polygons)
    except shapely.errors.ShapelyError as error:
        raise DataError(
            f"{name}: its polygons cannot be united ({error}); check how they were made"
        ) from error


def count_crossings(geometry: NDArray[np.object_]) -> int:
    """Estimate how often edges of these geometries cross or overlap each other, from a sample.

    Counting all of them may take as long as repairing does: a star of N points has N^2 / 2.
    """
    rings = shapely.get_rings(geometry)
    points, owner = shapely.get_coordinates(rings, return_index=True)
    same_ring = np.flatnonzero(owner[1:] == owner[:-1])
    starts, ends = points[same_ring], points[same_ring + 1]
    count = len(starts)
    if count < _FEW_EDGES:
        return 0
    sample = np.linspace(0, count - 1, min(count, _SAMPLED_EDGES)).astype(np.intp)
    found = np.array([_meeting(starts, ends, edge=int(edge)) for edge in sample])
    # Every edge meets its two neighbours.
    found = np.maximum(found - 2, 0)
    if np.count_nonzero(found) < _CROSSING_EDGES:
        return int(found.sum())
    return int(found.mean() * count / 2)


def _meeting(starts: NDArray[np.float64], ends: NDArray[np.float64], *, edge: int) -> int:
    """Count the edges that an edge has a point in common with, itself left out."""
    a, b = starts[edge], ends[edge]
    near = np.flatnonzero(
        (np.minimum(starts, ends) <= np.maximum(a, b)).all(axis=1)
        & (np.maximum(starts, ends) >= np.minimum(a, b)).all(axis=1)
    )
    c, d = starts[near], ends[near]
    apart = (_side(a, b, c) * _side(a, b, d) > 0) | (_side(c, d, a) * _side(c, d, b) > 0)
    return int((~apart).sum()) - 1


def _side(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Tell on which side of the line from a to b the points c lie, as a sign."""
    (ax, ay), (bx, by), (cx, cy) = a.T, b.T, c.T
    return np.asarray(np.sign((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)))


def _polygons_of(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give polygons and multipolygons, also those inside of collections; none of them empty."""
    while np.any(shapely.get_type_id(geometry) == _COLLECTION):
        is_collection = shapely.get_type_id(geometry) == _COLLECTION
        inside = [
            shapely.get_parts(one) if is_one else [one]
            for one, is_one in zip(geometry, is_collection, strict=True)
        ]
        geometry = np.array([part for parts in inside for part in parts], dtype=object)
    is_polygon = np.isin(shapely.get_type_id(geometry), (_POLYGON, _MULTIPOLYGON))
    return np.asarray(geometry[is_polygon & ~shapely.is_empty(geometry)], dtype=object)
