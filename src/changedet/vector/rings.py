"""Trace the outlines of labelled pixels as rings of integer pixel corners. No I/O, no geometry.

Only the corners where an outline turns are looked at. Seen by row they come in pairs that are the
ends of horizontal edges, seen by column in pairs that are the ends of vertical edges; going from
pair to pair gives the rings. So corners may be collected strip by strip and in any order.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

# What the four pixels around a pixel corner say, as bits: 1 upper left, 2 upper right, 4 lower
# left, 8 lower right. One or three pixels: the outline turns; two on a diagonal: two turns.
_NOTHING, _TURN, _FALLING, _RISING = 0, 1, 2, 3
_KINDS: Final = np.full(16, _NOTHING, dtype=np.uint8)
_KINDS[[1, 2, 4, 8, 7, 11, 13, 14]] = _TURN
_KINDS[1 | 8] = _FALLING
_KINDS[2 | 4] = _RISING
_KIND_BITS: Final = 2


class Corners(NamedTuple):
    """Turns of outlines.

    Attributes:
        owner: Number of the object whose outline it is, (K,), from 1.
        code: Place and kind of the corner, (K,), see :func:`find_corners`.
    """

    owner: NDArray[np.int64]
    code: NDArray[np.int64]


class Outlines(NamedTuple):
    """Rings of polygons, as ragged arrays; the exterior ring of a polygon comes first.

    Attributes:
        points: Column and row of pixel corners, (V, 2); the last point of a ring is its first.
        ring_starts: First point of every ring and the number of points, (R + 1,).
        polygon_starts: First ring of every polygon and the number of rings, (P + 1,).
        bottoms: Row below every polygon's lowest pixel, (P,).
    """

    points: NDArray[np.int64]
    ring_starts: NDArray[np.int64]
    polygon_starts: NDArray[np.int64]
    bottoms: NDArray[np.int64]


def find_corners(owners: NDArray[np.int32], *, top: int) -> Corners:
    """Find the corners between the rows of a strip.

    Args:
        owners: Object numbers, (n + 1, W + 2), 0 where there is none: the row above the strip, the
            n rows of the strip, and an empty column on either side. Pixels that share an edge have
            the same number.
        top: Row number of the strip's first row, which is that of its upper pixel corners.
    """
    filled = (owners > 0).view(np.uint8)
    pattern = filled[:-1, :-1] | filled[:-1, 1:] << 1
    pattern |= filled[1:, :-1] << 2
    pattern |= filled[1:, 1:] << 3
    kinds = _KINDS[pattern]
    places = np.flatnonzero(kinds)
    kind = kinds.ravel()[places].astype(np.int64)
    rows, columns = np.divmod(places, pattern.shape[1])
    codes = (places + top * pattern.shape[1]) << _KIND_BITS | kind
    upper_left, upper_right = owners[rows, columns], owners[rows, columns + 1]
    lower_left, lower_right = owners[rows + 1, columns], owners[rows + 1, columns + 1]
    first = np.maximum(np.maximum(upper_left, upper_right), np.maximum(lower_left, lower_right))
    # Two pixels on a diagonal may belong to two objects, or to one without anybody knowing yet.
    falling, rising = kind == _FALLING, kind == _RISING
    first = np.where(falling, upper_left, np.where(rising, upper_right, first))
    return Corners(
        np.concatenate([first, lower_right[falling], lower_left[rising]]).astype(np.int64),
        np.concatenate([codes, codes[falling], codes[rising]]),
    )


def trace(corners: Corners, *, width: int) -> Outlines:
    """Join all corners of whole objects to rings.

    Every ring is simple; rings of a polygon meet in single points at most, so that the polygons
    are valid by construction. Exterior rings run counter-clockwise as seen with rows going down,
    interior rings clockwise; each starts at its first corner by row, then by column.

    Args:
        corners: Corners of at least one object, all of each, in any order.
        width: Width of the grid in pixels.

    Returns:
        The outlines, one polygon an object in ascending order of their numbers.
    """
    place = corners.code >> _KIND_BITS
    by_row = np.lexsort((place, corners.owner))
    owner, place = corners.owner[by_row], place[by_row]
    falling = (corners.code[by_row] & 3) == _FALLING
    rows, columns = np.divmod(place, width + 1)
    by_column = np.lexsort((rows, columns, owner))
    _part_diagonals(by_column, place=place, falling=falling, owner=owner)
    vertical = np.empty_like(by_column)
    vertical[by_column[0::2]], vertical[by_column[1::2]] = by_column[1::2], by_column[0::2]

    is_first = np.ones(len(owner), dtype=bool)
    is_first[1:] = owner[1:] != owner[:-1]
    order, starts = _follow(vertical.tolist(), is_first.tolist())
    starts_at = np.array(starts, dtype=np.int64)
    number = np.cumsum(is_first) - 1
    ring_polygon = number[np.array(order, dtype=np.int64)[starts_at]]
    last = np.append(np.flatnonzero(is_first)[1:] - 1, len(owner) - 1)
    return Outlines(
        np.stack([columns[order], rows[order]], axis=1),
        np.append(starts_at, len(order)),
        np.searchsorted(ring_polygon, np.arange(number[-1] + 2)),
        rows[last],
    )


def _part_diagonals(
    by_column: NDArray[np.intp],
    *,
    place: NDArray[np.int64],
    falling: NDArray[np.bool_],
    owner: NDArray[np.int64],
) -> None:
    """Give both turns of an object in one place the right vertical edges, in place.

    Where an object touches itself across a diagonal, the rings must keep to the two pixels that are
    *not* in the object: a ring that kept to the object's own pixels could meet itself.
    Of two equal places the first by row has the edge to the left, which belongs to the pixel at
    the lower left for a falling diagonal (edge downwards), to the upper left for a rising one.
    """
    above, below = by_column[:-1], by_column[1:]
    same = (place[above] == place[below]) & (owner[above] == owner[below]) & falling[above]
    pairs = np.flatnonzero(same)
    by_column[pairs], by_column[pairs + 1] = by_column[pairs + 1], by_column[pairs]


def _follow(vertical: list[int], is_first: list[bool]) -> tuple[list[int], list[int]]:
    """Walk along all rings; the horizontal neighbour of corner k is k ^ 1.

    Returns:
        Corners in the order of the walk, the first one of each ring again at its end; and where in
        this list the rings start.
    """
    order: list[int] = []
    starts: list[int] = []
    seen = bytearray(len(vertical))
    for start, is_exterior in enumerate(is_first):
        if seen[start]:
            continue
        starts.append(len(order))
        corner = start
        while True:
            order.append(corner)
            other = vertical[corner] if is_exterior else corner ^ 1
            order.append(other)
            seen[corner] = seen[other] = 1
            corner = other ^ 1 if is_exterior else vertical[other]
            if corner == start:
                break
        order.append(start)
    return order, starts
