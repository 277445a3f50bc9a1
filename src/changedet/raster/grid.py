"""Tile arithmetic: where tiles lie, and how much each counts for a pixel. No I/O, no torch."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Tile(NamedTuple):
    """Place of one tile: its number along both axes, and its top left pixel."""

    row: int
    column: int
    top: int
    left: int


def round_up(length: int, multiple: int) -> int:
    """Give the smallest multiple of ``multiple`` that is at least ``length``."""
    return -(-length // multiple) * multiple


def default_overlap(tile_px: int) -> int:
    """Overlap that hides the seams: a quarter of the tile."""
    return tile_px // 4


def starts(length: int, size: int, overlap: int) -> list[int]:
    """Place equal tiles along one axis; the last one is moved inwards, never cut.

    Raises:
        ValueError: If the overlap is negative or leaves no step between tiles.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"overlap must be in [0, {size}), got {overlap}")
    if length <= size:
        return [0]
    return [*range(0, length - size, size - overlap), length - size]


def tiles(shape: tuple[int, int], *, size: tuple[int, int], overlap: int) -> Iterator[Tile]:
    """Cover an image with equal tiles, row by row.

    Args:
        shape: Height and width of the image.
        size: Height and width of a tile.
        overlap: Pixels that neighbours share at least; an axis that holds a single tile ignores it.
    """
    height, width = shape
    for row, top in enumerate(starts(height, size[0], _fitting(overlap, size[0]))):
        for column, left in enumerate(starts(width, size[1], _fitting(overlap, size[1]))):
            yield Tile(row, column, top, left)


def blend_weights(length: int, *, size: int, overlap: int) -> NDArray[np.float64]:
    """Say how much every tile of one axis counts at each of its pixels.

    With an overlap, the tiles are blended (squared sine window, positive everywhere);
    without, every pixel belongs to the first tile that covers it. The weight of a tile's pixel is
    the product of both axes' weights, so no weight map of the image is needed.

    Returns:
        Weights, (T, size) for the T tiles of :func:`starts`, in [0, 1]; over all tiles that
        cover a pixel they add up to 1. An axis with a single tile has weights of exactly 1.
    """
    overlap = _fitting(overlap, size)
    places = starts(length, size, overlap)
    weights = np.ones((len(places), size))
    if len(places) == 1:
        return weights
    if overlap == 0:
        # Only the last tile may have been moved inwards, over pixels its neighbour owns.
        weights[-1, : places[-2] + size - places[-1]] = 0.0
        return weights
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    total = np.zeros(length)
    for start in places:
        total[start : start + size] += window
    for index, start in enumerate(places):
        weights[index] = window / total[start : start + size]
    return weights


def mirror_to(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Continue an image that is smaller than a tile by its reflection, repeated as needed."""
    lacking = [(0, max(0, wanted - got)) for got, wanted in zip(image.shape, size, strict=False)]
    if not any(after for _, after in lacking):
        return image
    return np.pad(image, [*lacking, (0, 0)], mode="reflect")


def _fitting(overlap: int, size: int) -> int:
    """Limit the overlap of an axis whose single tile is smaller than the regular tile."""
    return min(overlap, size - 1)
