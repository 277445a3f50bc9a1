"""Sums over pixels that add up: means and standard deviations of any number of images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

# Pixels of an image that are kept, and of many images together.
_SAMPLED = 1000
_KEPT = 50_000

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

    def percentiles(self, percent: Sequence[float]) -> npt.NDArray[np.float64] | None:
        """Values below which these shares of each channel lie, (C, N); None if not known."""

    def __add__(self, other: Self, /) -> Self: ...


@dataclass(frozen=True)
class PixelSums:
    """Exact sums over the pixels of 8-bit images, per channel; they add up without rounding."""

    pixels: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]
    #: Pixels by value, (C, 256).
    histograms: npt.NDArray[np.int64] | None = field(default=None, compare=False, repr=False)

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
            np.stack(histograms),
        )

    def __add__(self, other: PixelSums) -> PixelSums:
        return PixelSums(
            self.pixels + other.pixels,
            tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            tuple(a + b for a, b in zip(self.squares, other.squares, strict=True)),
            None
            if self.histograms is None or other.histograms is None
            else self.histograms + other.histograms,
        )

    def percentiles(self, percent: Sequence[float]) -> npt.NDArray[np.float64] | None:
        """Values below which these shares of each channel lie, (C, N), in 0..255."""
        if self.histograms is None or not self.pixels:
            return None
        shares = np.cumsum(self.histograms, axis=1) / self.pixels
        return np.stack(
            [np.searchsorted(share, np.divide(percent, 100)) for share in shares]
        ).astype(np.float64)

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
    #: Some of the pixels, (N, C).
    sample: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, image: Pixels) -> WideSums:
        """Sum up one image, (H, W, C), or any pixels, (N, C)."""
        channels = image.shape[-1]
        values = image.reshape(-1, channels).astype(np.float64)
        if not len(values):
            return cls(0, (0.0,) * channels, (0.0,) * channels)
        means = values.mean(axis=0)
        squares = ((values - means) ** 2).sum(axis=0)
        sample = values[:: max(1, len(values) // _SAMPLED)].astype(np.float32)
        return cls(len(values), tuple(means.tolist()), tuple(squares.tolist()), sample)

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
            self._join_samples(other),
        )

    def _join_samples(self, other: WideSums) -> npt.NDArray[np.float32] | None:
        known = [sums.sample for sums in (self, other) if sums.sample is not None]
        if not known:
            return None
        joined = np.concatenate(known)
        return joined[::2] if len(joined) > _KEPT else joined

    def percentiles(self, percent: Sequence[float]) -> npt.NDArray[np.float64] | None:
        """Values below which these shares of each channel lie, (C, N), from some of the pixels."""
        if self.sample is None or not len(self.sample):
            return None
        found: npt.NDArray[np.float64] = np.percentile(
            self.sample.astype(np.float64), percent, axis=0
        ).T
        return found

    @property
    def deviations(self) -> tuple[float, ...]:
        """Standard deviation per channel (of the population), in units of the stored values."""
        return tuple(math.sqrt(squares / self.pixels) for squares in self.squares)
