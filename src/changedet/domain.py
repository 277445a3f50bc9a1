"""On what kind of images a model was trained, as far as that is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen

from changedet.errors import ConfigError


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
class Domain:
    """What a model has seen, so that a pair that is far from it can be told.

    Attributes:
        gsd_m: Smallest and largest ground sample distance of the training images, in metres.
        change: Kind of change that was labelled, in words.
        region: Where the images were taken, in words.
        values: For each band, the values of both dates together.
        is_generated: Whether the images were drawn by a program.

    Raises:
        ConfigError: If the ground sample distances are no range of lengths.
    """

    gsd_m: tuple[float, float] | None = None
    change: Annotated[str, MaxLen(1_000)] | None = None
    region: Annotated[str, MaxLen(1_000)] | None = None
    values: tuple[ValueRange, ...] | None = None
    is_generated: bool = False

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


def zoom_to(working_gsd_m: tuple[float, float], gsd_m: float) -> float:
    """Tell by how much images must be enlarged to come into a range of ground sample distances.

    Args:
        working_gsd_m: The smallest and the largest one, in metres.
        gsd_m: That of the images, in metres.

    Returns:
        Factor of height and width: below 1 for finer images, above 1 for coarser ones, else 1.
    """
    low, high = working_gsd_m
    return gsd_m / min(max(gsd_m, low), high)
