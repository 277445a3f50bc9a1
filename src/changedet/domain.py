"""On what kind of images a model was trained, as far as that is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Final

from annotated_types import Ge, MaxLen

from changedet.errors import ConfigError

#: Figures of a window of a pair that a card describes at most.
MOST_FEATURES: Final = 48
#: Images are enlarged by this at most, which cannot show what they do not hold; finer ones can be
#: shrunk to any size.
MOST_ENLARGED: Final = 4.0
# A network does not notice such a difference, and lengths measured in a map projection have one.
_EQUAL: Final = 1.03
#: Training sets whose looks a card describes at most.
MOST_SETS: Final = 64
# No figure of an image is larger; finite sums of squares stay finite.
_LARGEST: Final = 1e9


@dataclass(frozen=True)
class ValueRange:
    """Values of one band of the training images, as the network was given them.

    Attributes:
        low: 1 % of the pixels lie below.
        middle: The median.
        high: 1 % of the pixels lie above.

    Raises:
        ConfigError: If they are not finite, or not in this order.
    """

    low: float
    middle: float
    high: float

    def __post_init__(self) -> None:
        values = (self.low, self.middle, self.high)
        if not (all(map(math.isfinite, values)) and self.low <= self.middle <= self.high):
            raise ConfigError(f"a range of values must be finite and in order, got {values}")


@dataclass(frozen=True)
class Appearance:
    """What windows of the pairs of one training set look like in figures.

    Which figures these are says :mod:`changedet.data.window_features`, how the distance of a window
    is computed from what is stored here :mod:`changedet.data.appearance`.

    Attributes:
        name: Of the training set.
        bands: Bands of the images.
        mean: Mean of each of the F figures over windows of training pairs.
        whitening: The lower triangle, row by row, F (F + 1) / 2 numbers, of the matrix that turns
            differences from the mean into uncorrelated ones of variance 1.
        usual: 95 % of the windows of pairs that were held out are nearer than this distance.
        middle: Half of them are.
        windows: How many windows of training pairs were measured.
        held_out: How many of pairs that were held out.

    Raises:
        ConfigError: If a number is not finite or too large, the matrix has another size, or the
            distances are not in order.
    """

    name: Annotated[str, MaxLen(200)]
    bands: Annotated[int, Ge(1)]
    mean: Annotated[tuple[float, ...], MaxLen(MOST_FEATURES)]
    whitening: Annotated[tuple[float, ...], MaxLen(MOST_FEATURES * (MOST_FEATURES + 1) // 2)]
    usual: float
    middle: float
    windows: Annotated[int, Ge(1)]
    held_out: Annotated[int, Ge(1)]

    def __post_init__(self) -> None:
        numbers = (*self.mean, *self.whitening, self.usual, self.middle)
        if not all(abs(number) <= _LARGEST for number in numbers):
            raise ConfigError(
                f"figures of images must be finite and at most {_LARGEST:g}, got others for "
                f"{self.name[:80]!r}"
            )
        if not self.mean or 2 * len(self.whitening) != len(self.mean) * (len(self.mean) + 1):
            raise ConfigError(
                f"{len(self.mean)} figures of images need a triangle of that many rows, got "
                f"{len(self.whitening)} numbers for {self.name[:80]!r}"
            )
        if not 0.0 < self.middle <= self.usual:
            raise ConfigError(
                "usual distances must be positive and in order, got "
                f"{(self.middle, self.usual)} for {self.name[:80]!r}"
            )


@dataclass(frozen=True)
class Domain:
    """What a model has seen, so that a pair that is far from it can be told.

    Attributes:
        gsd_m: Smallest and largest ground sample distance of the training images, in metres.
        change: Kind of change that was labelled, in words.
        region: Where the images were taken, in words.
        values: For each band, the values of both dates together.
        is_generated: Whether the images were drawn by a program.
        sets: What the images of each training set look like; empty: that was not measured.

    Raises:
        ConfigError: If the ground sample distances are no range of lengths.
    """

    gsd_m: tuple[float, float] | None = None
    change: Annotated[str, MaxLen(1_000)] | None = None
    region: Annotated[str, MaxLen(1_000)] | None = None
    values: tuple[ValueRange, ...] | None = None
    is_generated: bool = False
    sets: Annotated[tuple[Appearance, ...], MaxLen(MOST_SETS)] = ()

    def __post_init__(self) -> None:
        if self.gsd_m is not None:
            low, high = self.gsd_m
            if not (math.isfinite(high) and 0 < low <= high):
                raise ConfigError(
                    "`gsd_m` must be a length in metres, or the smallest and the largest one, got "
                    f"{self.gsd_m}"
                )

    def describe(self) -> str | None:
        """Say it in one line; None if nothing is known but values."""
        parts = [part for part in (self.change, self.region) if part]
        if self.is_generated:
            parts.append("generated pictures")
        if self.gsd_m is not None:
            low, high = self.gsd_m
            lengths = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            parts.append(f"pixels of {lengths} m")
        return ", ".join(parts) or None


def zoom_to(working_gsd_m: tuple[float, float] | None, gsd_m: float | None) -> float:
    """Tell how images are resampled for a range of ground sample distances.

    Training and prediction both ask here, so that a network is shown what it was trained on.

    Args:
        working_gsd_m: The smallest and the largest one, in metres; None: images are taken as they
            are.
        gsd_m: That of the images, in metres; None: it is not known, and they are taken as they are.

    Returns:
        Factor of height and width: below 1 for images finer than the range, above 1, but at most
        :data:`MOST_ENLARGED`, for coarser ones; 1 within the range and next to it.
    """
    if working_gsd_m is None or gsd_m is None:
        return 1.0
    low, high = working_gsd_m
    factor = gsd_m / min(max(gsd_m, low), high)
    return 1.0 if 1 / _EQUAL <= factor <= _EQUAL else min(factor, MOST_ENLARGED)


def shared_gsd(gsd_m: tuple[float, float]) -> float:
    """Give the ground sample distance that all images of a data set are treated as having.

    All are resampled by the same factor: those of a data set are much alike.

    Args:
        gsd_m: The smallest and the largest one, in metres.
    """
    low, high = gsd_m
    return math.sqrt(low * high)


def describe_range(gsd_m: tuple[float, float]) -> str:
    """Write the smallest and the largest ground sample distance, without the unit."""
    low, high = gsd_m
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
