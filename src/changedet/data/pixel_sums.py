"""Sums over pixels that add up: means and standard deviations of any number of images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

#: Stored pixels, (H, W, C): uint8, or float32 for every wider type.
Pixels: TypeAlias = "npt.NDArray[Any]"


class Sums(Protocol):
    """Statistics of pixels, per channel; those of two images add up to those of both."""

    @property
    def pixels(self) -> int:
        """Number of pixels."""

    @property
    def means(self) -> tuple[float, ...]:
        """Mean per channel, in units of the stored values."""

    @property
    def deviations(self) -> tuple[float, ...]:
        """Standard deviation per channel (of the population)."""

    def __add__(self, other: Self, /) -> Self: ...


@dataclass(frozen=True)
class PixelSums:
    """Exact sums over the pixels of 8-bit images, per channel; they add up without rounding."""

    pixels: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]

    @classmethod
    def of(cls, image: npt.NDArray[np.uint8]) -> PixelSums:
        """Sum up one image, (H, W, C), or any pixels, (N, C)."""
        channels = image.shape[-1]
        values = np.arange(256, dtype=np.int64)
        histograms = [
            np.bincount(image[..., channel].ravel(), minlength=256) for channel in range(channels)
        ]
        return cls(
            image.size // channels,
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


@dataclass(frozen=True)
class WideSums:
    """Mean and squared distance from it of pixels of any other type, per channel, in float64.

    Merged by Chan, Golub and LeVeque's rule (1979), which does not cancel as sums of squares do.
    """

    pixels: int
    means: tuple[float, ...]
    squares: tuple[float, ...]

    @classmethod
    def of(cls, image: Pixels) -> WideSums:
        """Sum up one image, (H, W, C), or any pixels, (N, C)."""
        channels = image.shape[-1]
        values = image.reshape(-1, channels).astype(np.float64)
        if not len(values):
            return cls(0, (0.0,) * channels, (0.0,) * channels)
        means = values.mean(axis=0)
        squares = ((values - means) ** 2).sum(axis=0)
        return cls(len(values), tuple(means.tolist()), tuple(squares.tolist()))

    def __add__(self, other: WideSums) -> WideSums:
        total = self.pixels + other.pixels
        if not total:
            return self
        share = other.pixels / total
        apart = [theirs - own for own, theirs in zip(self.means, other.means, strict=True)]
        return WideSums(
            total,
            tuple(own + by * share for own, by in zip(self.means, apart, strict=True)),
            tuple(
                own + theirs + by * by * self.pixels * share
                for own, theirs, by in zip(self.squares, other.squares, apart, strict=True)
            ),
        )

    @property
    def deviations(self) -> tuple[float, ...]:
        """Standard deviation per channel (of the population), in units of the stored values."""
        return tuple(math.sqrt(squares / self.pixels) for squares in self.squares)
