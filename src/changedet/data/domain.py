"""What is known of the images of a data set that a model is trained on."""

from __future__ import annotations

from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Final

from changedet.data.appearance import describe_appearance, read_features
from changedet.data.images import is_raster
from changedet.data.mixture import MixturePair, by_set, member_of
from changedet.data.pair import PairPaths
from changedet.data.parallel import map_in_order
from changedet.domain import ValueRange, describe_range, shared_gsd, zoom_to

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from changedet.data.labelled import LabelledPair
    from changedet.data.pixel_sums import Sums
    from changedet.domain import Appearance

# Pairs that are looked at, spread over the data set.
_LOOKED_AT: Final = 64
_PERCENT: Final = (1.0, 50.0, 99.0)
# Ground sample distances of a data set that differ by less are one.
_ALIKE: Final = 1.25


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


def measure_sets(
    name: str,
    pairs: Sequence[LabelledPair],
    held_out: Sequence[LabelledPair],
    *,
    units: Sequence[ValueRange] | None,
    gsd_m: float | None = None,
    working_gsd_m: tuple[float, float] | None = None,
) -> tuple[Appearance, ...]:
    """Measure what training images look like, see :mod:`changedet.data.appearance`.

    Args:
        name: Of the training set.
        pairs: Those that are trained on; some of them, spread evenly, are read.
        held_out: Those that are not, if there are any.
        units: Range of the values of each band, see :func:`measure_values`.
        gsd_m: Ground sample distance of the images in metres, where they are of no mixture.
        working_gsd_m: Range of ground sample distances to which the model resamples images.

    Returns:
        One entry, or one for each set of a mixture; none for those with too few or too small
        images.

    Raises:
        ImageError: If an image cannot be read.
    """
    if units is None:
        return ()
    sets = by_set(pairs) or {name: list(range(len(pairs)))}
    others = by_set(held_out) or {name: list(range(len(held_out)))}
    found = []
    for one, places in sets.items():
        member = member_of(pairs[places[0]])
        zoom = zoom_to(working_gsd_m, gsd_m if member is None else member.gsd_m)
        read = partial(read_features, units=units, zoom=zoom)
        found.append(
            describe_appearance(
                one,
                bands=len(units),
                pairs=list(map_in_order(read, _spread([pairs[place] for place in places]))),
                held_out=list(
                    map_in_order(read, _spread([held_out[place] for place in others.get(one, ())]))
                ),
            )
        )
    return tuple(look for look in found if look is not None)


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


def measure_shared_gsd(
    pairs: Sequence[LabelledPair], *, say: Callable[[str], None] = lambda message: None
) -> float | None:
    """Find the ground sample distance that georeferenced images of a data set have in common.

    Training, validation, calibration and evaluation all resample the images of a data set by what
    this function says, unless the user says something else.

    Args:
        pairs: Of the data set.
        say: Gets a warning if the images differ much.

    Returns:
        In metres; None if no image has a place on Earth.

    Raises:
        ImageError: If an image cannot be opened.
    """
    found = measure_gsd(pairs)
    if found is None:
        return None
    warn_of_unlike_lengths(found, say=say)
    return shared_gsd(found)


def warn_of_unlike_lengths(gsd_m: tuple[float, float], *, say: Callable[[str], None]) -> None:
    """Say that images are treated alike although their ground sample distances differ much.

    Args:
        gsd_m: The smallest and the largest one, in metres.
        say: Gets the warning.
    """
    low, high = gsd_m
    if high > _ALIKE * low:
        say(
            f"warning: the images have pixels of {describe_range(gsd_m)} m, and are all "
            f"treated as if they had {shared_gsd(gsd_m):.3g} m; split them by length"
        )


def _gsd(pair: LabelledPair) -> float | None:
    if isinstance(pair, PairPaths) and not is_raster(pair.before):
        return None
    if isinstance(pair, MixturePair):
        return _gsd(pair.pair)
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
