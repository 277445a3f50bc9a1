"""Whether a pair is far from what its model was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from changedet.domain import Domain, ValueRange
    from changedet.raster.pair_values import PairValueFacts

#: A ground sample distance this many times beyond those of the training is far.
FAR_GSD: Final = 2.0
#: So are values that reach this many times further, or less far, than those of the training.
FAR_SPREAD: Final = 4.0
#: Percentiles that are compared, those of :class:`changedet.domain.ValueRange`.
PERCENTILES: Final = (1.0, 50.0, 99.0)
# Pixels of an image that are looked at.
_LOOKED_AT: Final = 20_000
_BYTE: Final = 255.0

#: Low, middle and high value of each band, (C, 3).
Levels = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class FarBand:
    """A band whose values are far from those of the training.

    Attributes:
        channel: From 1, in the model's order.
        found: Its low, middle and high value.
        trained: Those of the training images.
    """

    channel: int
    found: tuple[float, ...]
    trained: ValueRange


@dataclass(frozen=True)
class FarGsd:
    """A ground sample distance, in metres, that is far from those of the training."""

    found: float
    trained: tuple[float, float]

    @property
    def factor(self) -> float:
        """How many times it is beyond them."""
        low, high = self.trained
        return max(self.found / high, low / self.found)


def far_gsd(gsd_m: float | None, domain: Domain | None) -> FarGsd | None:
    """Compare a ground sample distance; None if it is near, or one of the two is not known."""
    if gsd_m is None or domain is None or domain.gsd_m is None:
        return None
    far = FarGsd(gsd_m, domain.gsd_m)
    return far if far.factor > FAR_GSD else None


def far_bands(levels: Levels | None, domain: Domain | None) -> tuple[FarBand, ...]:
    """Give the bands of a date that are far, if that holds for half of all bands at least.

    A band is far if its median lies beyond the range in which 98 % of the training's values lie,
    or if its values spread much more, or much less, than those.

    Args:
        levels: As the model is given them; None: no pixel was valid.
        domain: What the model was trained on.
    """
    if levels is None or domain is None or domain.values is None:
        return ()
    if len(levels) != len(domain.values):
        return ()
    far = tuple(
        FarBand(channel, found, trained)
        for channel, (found, trained) in enumerate(zip(levels, domain.values, strict=True), 1)
        if _is_far(found, trained)
    )
    return far if 2 * len(far) >= len(levels) else ()


def _is_far(found: Sequence[float], trained: ValueRange) -> bool:
    low, middle, high = found
    if not trained.low <= middle <= trained.high:
        return True
    spread, usual = high - low, trained.high - trained.low
    return spread > FAR_SPREAD * usual or spread * FAR_SPREAD < usual


def levels_of_scene(values: PairValueFacts) -> Iterator[Levels | None]:
    """Give the levels of both dates of a scene as the model is given them, stretched if need be."""
    for date, stretch in zip((values.before, values.after), values.stretches, strict=True):
        levels = date.percentiles
        if stretch is not None and levels is not None:
            low, high = stretch.limits
            scaled = (np.array(levels) - low) * (_BYTE / (high - low))
            levels = tuple(tuple(row) for row in scaled.clip(0, _BYTE).tolist())
        yield levels


def levels_of_image(image: NDArray[Any]) -> Levels:
    """Give the levels of an image, (H, W, C), from some of its pixels."""
    pixels = image.reshape(-1, image.shape[-1])
    some = pixels[:: max(1, len(pixels) // _LOOKED_AT)]
    found = np.percentile(some, PERCENTILES, axis=0)
    return tuple(tuple(float(value) for value in band) for band in found.T)
