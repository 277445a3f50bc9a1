"""Which sample comes when: a permutation per epoch that worker count and resume cannot change."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from changedet.errors import ConfigError, DataError

# SeedSequence pads short entropy with zeros, so (seed, epoch) alone would give the very stream of
# (seed, epoch, index 0); the spawn key keeps the order apart from what samples draw.
_ORDER_STREAM = (1,)
_REDRAW_STREAM = 2
_PASTE_STREAM = 3


class SampleKey(NamedTuple):
    """Names one sample of one epoch; with the seed it decides everything random about it."""

    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no one calls


def sample_generator(
    seed: int, key: SampleKey, *, attempt: int = 0, stream: int | None = None
) -> np.random.Generator:
    """Make the source of all that is random about a sample.

    Args:
        seed: Seed of the run.
        key: Names the sample.
        attempt: How many times it was drawn in vain.
        stream: Index of the sample that a part of this one is pasted into; None: its own use.
    """
    again = (_REDRAW_STREAM, attempt) if attempt else ()
    if stream is not None:
        again = (_PASTE_STREAM, stream, *again)
    entropy = np.random.SeedSequence([seed, key.epoch, key.index], spawn_key=again)
    return np.random.default_rng(entropy)


class EpochSampler(Sampler[SampleKey]):
    """Walk once through all samples in an order given by the seed and the epoch alone.

    Call :meth:`set_epoch` before each epoch; until then the sampler stands at epoch 0.

    Args:
        length: Number of samples.
        seed: Seed of the run, at least 0.

    Raises:
        DataError: If there are no samples.
        ConfigError: If the seed is negative.
    """

    def __init__(self, length: int, *, seed: int) -> None:
        if length < 1:
            raise DataError(f"there must be at least one pair to draw from, got {length}")
        if seed < 0:
            raise ConfigError(f"seed must be 0 or more, got {seed}")
        self._length = length
        self._seed = seed
        self._epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Choose the epoch that the next iteration walks through.

        Args:
            epoch: Epoch, at least 0.
            start: Number of samples at the front that are left out, because an interrupted run
                has already seen them: [0, length].

        Raises:
            ConfigError: If either is out of range.
        """
        if epoch < 0:
            raise ConfigError(f"epoch must be 0 or more, got {epoch}")
        if not 0 <= start <= self._length:
            raise ConfigError(
                f"start must be in [0, {self._length}], the number of samples, got {start}"
            )
        self._epoch = epoch
        self._start = start

    def __len__(self) -> int:
        return self._length - self._start

    def __iter__(self) -> Iterator[SampleKey]:
        entropy = np.random.SeedSequence([self._seed, self._epoch], spawn_key=_ORDER_STREAM)
        order = np.random.default_rng(entropy).permutation(self._length)
        epoch = self._epoch
        return (SampleKey(epoch, int(index)) for index in order[self._start :])
