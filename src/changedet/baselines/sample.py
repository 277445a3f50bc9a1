"""A sample of the pixels of a pair whose number is not known beforehand."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class SampledPixels(NamedTuple):
    """Pixels of both dates, (N, C) each, and of how many they were taken."""

    before: NDArray[Any]
    after: NDArray[Any]
    population: int

    @property
    def share(self) -> float:
        """Share of the pixels that is in the sample, in [0, 1]."""
        return len(self.before) / max(self.population, 1)


class PixelSample:
    """Keeps pixels of blocks that come one after the other, each with the same probability.

    The same blocks always give the same sample. All pixels are kept as long as they are fewer than
    twice ``size``; after that there are about ``size`` at least, and always less than twice that.
    Pixels at regular steps would fall on few columns where the step fits the width of the blocks.

    Args:
        size: Pixels to keep at least, where there are so many.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._draws = np.random.default_rng(0)
        self._probability = 1.0
        self._population = 0
        self._count = 0
        self._kept: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]] = []

    def add(self, before: NDArray[Any], after: NDArray[Any]) -> None:
        """Take pixels from a block, (N, C) of each date."""
        draws = self._draws.random(len(before))
        chosen = draws < self._probability
        self._kept.append((before[chosen], after[chosen], draws[chosen]))
        self._population += len(before)
        self._count += int(chosen.sum())
        while self._count >= 2 * self._size:
            self._thin(self._probability * self._size / self._count)

    def pixels(self) -> SampledPixels:
        """Give the sample.

        Raises:
            ValueError: If nothing was added.
        """
        before, after, _ = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        return SampledPixels(before, after, self._population)

    def _thin(self, probability: float) -> None:
        self._probability = probability
        chosen = [draws < probability for _, _, draws in self._kept]
        self._kept = [
            (before[keep], after[keep], draws[keep])
            for (before, after, draws), keep in zip(self._kept, chosen, strict=True)
        ]
        self._count = sum(int(keep.sum()) for keep in chosen)
