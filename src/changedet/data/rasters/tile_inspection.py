"""Look at the files of a pair of rasters for ``data check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from changedet.data.images import content_digest
from changedet.data.labelled import Inspection
from changedet.data.labels.masks import count_values, read_mask
from changedet.data.rasters.tiles import (
    TilePart,
    TilePixels,
    in_one_unit,
    read_tile,
    require_same_place,
    sum_of,
)
from changedet.errors import DataError, ImageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from changedet.data.labels.masks import MaskHistogram
    from changedet.data.pixel_sums import Sums
    from changedet.data.tile_reading import TileFiles


_DATES = ("before", "after")


def inspect_tiles(pair: TileFiles) -> Inspection:
    """Read every file of a pair of rasters once; what is wrong with it is a fault."""
    reading = pair.reading
    faults: list[str] = []
    tiles: dict[str, TilePixels] = {}
    for date, path, bands in (
        ("before", pair.before, reading.bands),
        ("after", pair.after, reading.bands_after),
    ):
        try:
            tiles[date] = read_tile(path, bands, channels=reading.channels, rules=reading.rules)
        except ImageError as error:
            faults.append(str(error))
    if reading.has_units and len(tiles) == len(_DATES):
        both = in_one_unit(tiles["before"], tiles["after"], pixel_type=reading.pixel_type)
        tiles = dict(zip(_DATES, both, strict=True))
    parts = [tile.part for tile in tiles.values()]
    valid = _common(tiles)
    counts: MaskHistogram | None = None
    if pair.label is not None:
        try:
            mask = read_mask(pair.label)
            counts = count_values(pair.label, mask, has_image=valid)
            parts.append(TilePart(pair.label, (counts.height, counts.width), mask.grid))
        except ImageError as error:
            faults.append(str(error))
    faults += _misplaced(parts)
    sizes = {date: tile.part.shape for date, tile in tiles.items()}
    if counts is not None:
        sizes["label"] = counts.height, counts.width
    return Inspection(
        tuple(faults),
        sizes,
        {date: _sums(tile, valid) for date, tile in tiles.items()},
        {date: content_digest(tile.path) for date, tile in tiles.items()},
        counts,
    )


def _common(tiles: dict[str, TilePixels]) -> npt.NDArray[np.bool_] | None:
    """Where all dates that could be read hold an image; None if they do not fit each other."""
    valid = [tile.valid for tile in tiles.values()]
    if not valid or len({part.shape for part in valid}) > 1:
        return None
    return valid[0] & valid[-1]


def _sums(tile: TilePixels, valid: npt.NDArray[np.bool_] | None) -> Sums:
    return sum_of(tile.values, tile.valid if valid is None else valid)


def _misplaced(parts: list[TilePart]) -> list[str]:
    placed = [part for part in parts if part.grid is not None]
    faults = []
    for part in placed[1:]:
        try:
            require_same_place(placed[0], part)
        except DataError as error:
            faults.append(str(error))
    return faults
