"""Per-date means and deviations of the training images (spec 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from changedet.data.images import read_image
from changedet.data.parallel import Observer, map_in_order
from changedet.errors import DataError
from changedet.types import Bands, Normalisation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from changedet.data.layouts import PairPaths

Scale = Literal["mean", "mean_std"]


@dataclass(frozen=True)
class PixelSums:
    """Exact sums over the pixels of 8-bit images, per channel; they add up without rounding."""

    pixels: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]

    @classmethod
    def of(cls, image: npt.NDArray[np.uint8]) -> PixelSums:
        """Sum up one image, (H, W, C)."""
        channels = image.shape[2]
        values = np.arange(256, dtype=np.int64)
        histograms = [
            np.bincount(image[:, :, channel].ravel(), minlength=256) for channel in range(channels)
        ]
        return cls(
            image.shape[0] * image.shape[1],
            tuple(int(histogram @ values) for histogram in histograms),
            tuple(int(histogram @ values**2) for histogram in histograms),
        )

    def __add__(self, other: PixelSums) -> PixelSums:
        return PixelSums(
            self.pixels + other.pixels,
            tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            tuple(a + b for a, b in zip(self.squares, other.squares, strict=True)),
        )

    @property
    def means(self) -> tuple[float, ...]:
        """Mean per channel, in 0..255."""
        return tuple(total / self.pixels for total in self.sums)

    @property
    def deviations(self) -> tuple[float, ...]:
        """Standard deviation per channel (of the population), in 0..127.5."""
        # n * sum(x^2) - sum(x)^2 in whole numbers: no cancellation however many pixels there are.
        return tuple(
            math.sqrt(self.pixels * squares - total**2) / self.pixels
            for total, squares in zip(self.sums, self.squares, strict=True)
        )


def measure_normalisation(
    pairs: Sequence[PairPaths],
    *,
    bands: Bands = "rgb",
    scale: Scale = "mean_std",
    channels: int = 3,
    observer: Observer | None = None,
) -> Normalisation:
    """Measure per-date, per-channel statistics; every pixel of every pair counts the same.

    Args:
        pairs: The training split, and nothing else.
        bands: Order in which the statistics are listed and the network sees the channels.
        scale: ``mean`` leaves the deviation at 1, as the seed does.
        channels: Channels of the images.
        observer: Told after every pair.

    Raises:
        DataError: If there is no pair, an image cannot be read, or a band is constant while the
            deviation is wanted.
    """
    if not pairs:
        raise DataError("there are no pairs to measure means from; add some to the train split")
    both = map_in_order(partial(_sums_of_pair, channels=channels), pairs, observer=observer)
    before, after = next(both)
    for more_before, more_after in both:
        before, after = before + more_before, after + more_after
    order = slice(None, None, -1) if bands == "bgr" else slice(None)
    ones = (1.0,) * channels
    if scale == "mean_std" and min(*before.deviations, *after.deviations) == 0:
        raise DataError(
            "a band has the same value in all training images of a date, so it cannot be divided "
            "by its deviation; check the images or choose the scale 'mean'"
        )
    return Normalisation(
        mean_before=before.means[order],
        mean_after=after.means[order],
        std_before=before.deviations[order] if scale == "mean_std" else ones,
        std_after=after.deviations[order] if scale == "mean_std" else ones,
        bands=bands,
    )


def _sums_of_pair(pair: PairPaths, *, channels: int) -> tuple[PixelSums, PixelSums]:
    return (
        PixelSums.of(read_image(pair.before, channels=channels)),
        PixelSums.of(read_image(pair.after, channels=channels)),
    )
