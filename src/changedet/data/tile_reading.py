"""How the images of a pair are read where they are rasters, settled once for a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from changedet.raster.pixel_rules import PixelRules
    from changedet.types import PixelType


class TileReading(NamedTuple):
    """How both images of a pair are read.

    Attributes:
        channels: Bands that the model gets.
        bands: Their numbers in ``before``, from 1, in the model's order.
        bands_after: Their numbers in ``after``.
        pixel_type: Kind of the stored values.
        has_gaps: Whether pixels may be missing: a nodata value, a mask, an alpha band or NaN.
        rules: Values that mark missing pixels although the files do not say so; None: none do.
        has_units: Whether the dates declare different scales or offsets, so that one has to be
            converted.
    """

    channels: int
    bands: tuple[int, ...]
    bands_after: tuple[int, ...]
    pixel_type: PixelType = "uint8"
    has_gaps: bool = False
    rules: PixelRules | None = None
    has_units: bool = False


class TileFiles(NamedTuple):
    """Files of a pair, of which an image is a raster, and how they are read."""

    before: Path
    after: Path
    label: Path | None
    reading: TileReading
