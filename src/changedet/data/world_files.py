"""World files beside pictures (.pgw, .jgw, .wld): parts of a pair that they place apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from changedet.data.images import image_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from changedet.data.pair import PairPaths

_SUFFIXES: Final = frozenset({".pgw", ".pngw", ".jgw", ".jpgw", ".jpegw", ".wld", ".bpw", ".gfw"})
_NUMBERS: Final = 6
# Half a pixel is what edges may be rounded by.
_SAME_PX: Final = 0.5


def misplaced_pictures(pairs: Iterable[PairPaths]) -> Iterator[str]:
    """Say which parts of pairs lie apart by their world files; a part without one lies anywhere.

    Args:
        pairs: Pairs of pictures.
    """
    listed: dict[Path, dict[str, Path]] = {}
    for pair in pairs:
        if pair.reading is not None:
            continue
        parts = [pair.before, pair.after, *([] if pair.label is None else [pair.label])]
        placed = [(path, place) for path in parts if (place := _place(path, listed)) is not None]
        for path, place in placed[1:]:
            first, origin = placed[0]
            apart = _distance_px(origin, place, shape=image_size(first))
            if apart >= _SAME_PX:
                yield (
                    f"{path} lies up to {apart:,.1f} pixels away from {first}, by their world "
                    "files; before, after and label must cover the same ground: cut them alike, or "
                    "remove the world files if they are wrong"
                )


def _place(path: Path, listed: dict[Path, dict[str, Path]]) -> tuple[float, ...] | None:
    folder = path.parent
    if folder not in listed:
        listed[folder] = {
            file.stem: file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES
        }
    file = listed[folder].get(path.stem)
    if file is None:
        return None
    try:
        numbers = tuple(float(part) for part in file.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    usable = len(numbers) == _NUMBERS and all(map(math.isfinite, numbers))
    return numbers if usable else None


def _distance_px(
    first: tuple[float, ...], other: tuple[float, ...], *, shape: tuple[int, int]
) -> float:
    """Measure how far corners lie apart, in pixels of the first."""
    pixel = math.sqrt(abs(first[0] * first[3] - first[1] * first[2]))
    if pixel == 0.0:
        return 0.0
    height, width = shape
    return max(
        math.dist(_at(first, x, y), _at(other, x, y)) / pixel
        for x in (0, width - 1)
        for y in (0, height - 1)
    )


def _at(place: tuple[float, ...], x: float, y: float) -> tuple[float, float]:
    """Coordinates of the centre of a pixel: a world file lists A, D, B, E, C, F."""
    a, d, b, e, c, f = place
    return a * x + b * y + c, d * x + e * y + f
