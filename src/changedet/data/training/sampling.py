"""Which sample comes when: a permutation per epoch that worker count and resume cannot change."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from changedet.errors import ConfigError, DataError

# SeedSequence pads short entropy with zeros, so (seed, epoch) alone would give the very stream of
# (seed, epoch, index 0); the spawn key keeps the order apart from what samples draw.
_ORDER_STREAM = (1,)
_REDRAW_STREAM = 2
_DONOR_STREAM = 3
_LAP_STREAM = (5,)


class SampleKey(NamedTuple):
    """Names one sample of one epoch; with the seed it decides everything random about it."""

    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no one calls


def sample_generator(
    seed: int,
    key: SampleKey,
    *,
    attempt: int = 0,
    receiver: int | None = None,
) -> np.random.Generator:
    """Make the source of all that is random about a sample.

    Args:
        seed: Seed of the run.
        key: Names the sample.
        attempt: How many times it was drawn in vain.
        receiver: Index of the sample that a part of this one is pasted into; None: none.
    """
    again = (_REDRAW_STREAM, attempt) if attempt else ()
    if receiver is not None:
        again = (_DONOR_STREAM, receiver, *again)
    entropy = np.random.SeedSequence([seed, key.epoch, key.index], spawn_key=again)
    return np.random.default_rng(entropy)


class SampleTable:
    """Tells which pair each sample of an epoch is cut out of.

    Pairs come in groups, such as the data sets of a mixture, each with a weight: how many times
    its pairs are seen in an epoch. What a fraction leaves over is drawn anew for every epoch, by
    the seed, the epoch and the group alone.

    Args:
        groups: For each group the pair of each of its samples, and its weight, above 0.
        seed: Seed of the run, at least 0.
    """

    def __init__(self, groups: Sequence[tuple[npt.NDArray[np.intp], float]], *, seed: int) -> None:
        self._pairs = [pairs for pairs, _ in groups]
        self._seed = seed
        lengths = [max(1, round(weight * len(pairs))) for pairs, weight in groups]
        self._ends = np.cumsum(lengths)
        # The order that the last laps of an epoch follow.
        self._epoch = -1
        self._orders: list[npt.NDArray[np.intp]] = []

    def __len__(self) -> int:
        return int(self._ends[-1])

    def pair_of(self, key: SampleKey) -> int:
        """Tell the pair of a sample, by its place in the list of pairs."""
        group = int(np.searchsorted(self._ends, key.index, side="right"))
        pairs = self._pairs[group]
        start = 0 if group == 0 else int(self._ends[group - 1])
        place = key.index - start
        whole_laps = (int(self._ends[group]) - start) // len(pairs)
        if place >= whole_laps * len(pairs):
            place = int(self._order(key.epoch, group)[place % len(pairs)])
        return int(pairs[place % len(pairs)])

    def _order(self, epoch: int, group: int) -> npt.NDArray[np.intp]:
        if epoch != self._epoch:
            self._orders = [
                np.random.default_rng(
                    np.random.SeedSequence([self._seed, epoch, number], spawn_key=_LAP_STREAM)
                ).permutation(len(pairs))
                for number, pairs in enumerate(self._pairs)
            ]
            self._epoch = epoch
        return self._orders[group]


class EpochSampler(Sampler[SampleKey]):
    """Walk once through all samples in an order given by the seed and the epoch alone.

    Call :meth:`set_epoch` before each epoch; until then the sampler stands at epoch 0.

    Of several processes that train together, each takes every N-th sample of that order: the n-th
    batches of B samples of N processes hold what the n-th batch of N * B samples of one process
    holds. All get equally many samples; the remainder, fewer than N samples and others in each
    epoch, is dropped.

    Args:
        length: Number of samples.
        seed: Seed of the run, at least 0.
        rank: Number of this process, in [0, world).
        world: Number of processes.

    Raises:
        DataError: If there are no samples, or fewer than processes.
        ConfigError: If the seed is negative, or there is no such rank.
    """

    def __init__(self, length: int, *, seed: int, rank: int = 0, world: int = 1) -> None:
        if length < 1:
            raise DataError(f"there must be at least one pair to draw from, got {length}")
        if seed < 0:
            raise ConfigError(f"seed must be 0 or more, got {seed}")
        if not 0 <= rank < world:
            raise ConfigError(f"rank must be in [0, {world}), the number of processes, got {rank}")
        if length < world:
            raise DataError(f"{world} processes need at least as many pairs, got {length}")
        self._total = length
        self._length = length // world
        self._seed = seed
        self._rank = rank
        self._world = world
        self._epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Choose the epoch that the next iteration walks through.

        Args:
            epoch: Epoch, at least 0.
            start: Number of this process's samples at the front that are left out, because an
                interrupted run has already seen them: [0, length // world].

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
        order = np.random.default_rng(entropy).permutation(self._total)
        own = order[self._rank :: self._world][: self._length]
        epoch = self._epoch
        return (SampleKey(epoch, int(index)) for index in own[self._start :])
