"""What is known of the images of a data set that a model is trained on."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Final

from changedet.data.images import is_raster
from changedet.data.pair import PairPaths
from changedet.data.parallel import map_in_order
from changedet.domain import ValueRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from changedet.data.labelled import LabelledPair
    from changedet.data.pixel_sums import Sums

# Pairs that are looked at, spread over the data set.
_LOOKED_AT: Final = 64
_PERCENT: Final = (1.0, 50.0, 99.0)


def measure_values(
    pairs: Sequence[LabelledPair], *, channels: int
) -> tuple[ValueRange, ...] | None:
    """Measure, for each band, the range of the values of both dates together.

    Args:
        pairs: The training split; some of them, spread evenly, are read.
        channels: Channels of the images.

    Returns:
        None if no pixel holds an image.

    Raises:
        ImageError: If an image cannot be read.
    """
    sums = list(map_in_order(lambda pair: pair.sum_pixels(channels=channels), _spread(pairs)))
    both: list[Sums] = [part for dates in sums for part in dates if part.pixels]
    if not both:
        return None
    found = reduce(add, both).percentiles(_PERCENT)
    if found is None:
        return None
    return tuple(ValueRange(*map(float, band)) for band in found)


def measure_gsd(pairs: Sequence[LabelledPair]) -> tuple[float, float] | None:
    """Find the smallest and the largest ground sample distance of georeferenced images, in metres.

    Args:
        pairs: Blocks of scenes or files; some of them, spread evenly, are looked at.

    Returns:
        None if no image has a place on Earth.

    Raises:
        ImageError: If an image cannot be opened.
    """
    found = {gsd_m for pair in _spread(pairs) if (gsd_m := _gsd(pair)) is not None}
    return (min(found), max(found)) if found else None


def _gsd(pair: LabelledPair) -> float | None:
    if isinstance(pair, PairPaths) and not is_raster(pair.before):
        return None
    # GDAL comes with these, which pairs of pictures do without.
    from changedet.data.rasters.source import RasterBlock
    from changedet.raster.environment import gdal_environment
    from changedet.raster.info import ground_sample_distance, read_info
    from changedet.raster.open import open_raster

    if isinstance(pair, RasterBlock):
        grid = pair.scene.grid
        return ground_sample_distance(grid.crs, grid.transform, shape=grid.shape)
    if not isinstance(pair, PairPaths):
        return None
    with gdal_environment(), open_raster(str(pair.before)) as dataset:
        return read_info(dataset, location=str(pair.before), bands=(1,)).gsd_m


def _spread(pairs: Sequence[LabelledPair]) -> list[LabelledPair]:
    count = min(len(pairs), _LOOKED_AT)
    return [pairs[index * len(pairs) // count] for index in range(count)]
