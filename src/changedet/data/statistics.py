"""Per-date means and standard deviations of the training images (spec 3)."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Final, Literal

from changedet.data.parallel import map_in_order
from changedet.errors import DataError
from changedet.types import Bands, Normalisation, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from changedet.data.labelled import LabelledPair
    from changedet.data.pixel_sums import Sums

Scale = Literal["mean", "mean_std"]
#: A band that varies less than this, as a share of its mean, holds rounding errors only.
_CONSTANT: Final = 1e-6


def measure_normalisation(
    pairs: Sequence[LabelledPair],
    *,
    bands: Bands = "rgb",
    scale: Scale = "mean_std",
    channels: int = 3,
    progress: Progress | None = None,
) -> Normalisation:
    """Measure per-date, per-channel statistics; every pixel that holds an image counts the same.

    Args:
        pairs: The training split, and nothing else.
        bands: Order in which the statistics are listed and the network sees the channels.
        scale: ``mean`` leaves the standard deviation at 1, as the public code does.
        channels: Channels of the images.
        progress: Told after every pair.

    Raises:
        DataError: If there is no pair, an image cannot be read, or a band is constant while the
            standard deviation is wanted.
    """
    if not pairs:
        raise DataError("there are no pairs to compute means from; add some to the train split")
    both = list(
        map_in_order(lambda pair: pair.sum_pixels(channels=channels), pairs, progress=progress)
    )
    before: Sums = reduce(add, (first for first, _ in both))
    after: Sums = reduce(add, (second for _, second in both))
    order = slice(None, None, -1) if bands == "bgr" else slice(None)
    ones = (1.0,) * channels
    if scale == "mean_std" and any(
        deviation <= _CONSTANT * abs(mean)
        for sums in (before, after)
        for mean, deviation in zip(sums.means, sums.deviations, strict=True)
    ):
        raise DataError(
            "a band has the same value in all training images of a date, so its standard "
            "deviation is 0; check the images or set the scale to 'mean'"
        )
    return Normalisation(
        mean_before=before.means[order],
        mean_after=after.means[order],
        std_before=before.deviations[order] if scale == "mean_std" else ones,
        std_after=after.deviations[order] if scale == "mean_std" else ones,
        bands=bands,
    )
