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
        epoch = self._epoch
        return (SampleKey(epoch, int(index)) for index in self.order()[self._start :])

    def order(self) -> npt.NDArray[np.intp]:
        """Tell the indices of all samples in the order of the epoch, (length,)."""
        entropy = np.random.SeedSequence([self._seed, self._epoch], spawn_key=_ORDER_STREAM)
        return np.random.default_rng(entropy).permutation(self._length)


class EpochBatches(Sampler[list[SampleKey]]):
    """Cut the order of an epoch into batches, and every batch into the shares of the processes.

    The n-th batch holds the same samples however many processes share it, so that a run is a
    function of its settings alone and can go on with another number of processes. Of a batch every
    N-th sample belongs to one of N processes: shares differ by one sample at most. The last batch
    of an epoch may have fewer samples than there are processes; those without a share get the
    batch's first sample, to keep step with the others, and :meth:`own_size` is 0 for them.

    Call :meth:`set_epoch` before each epoch; until then it stands at epoch 0.

    Args:
        length: Number of samples.
        batch_size: Samples of a batch, of all processes together.
        seed: Seed of the run, at least 0.
        rank: Number of this process, in [0, world).
        world: Number of processes, at most ``batch_size``.

    Raises:
        DataError: If there are no samples.
        ConfigError: If a number is out of range.
    """

    def __init__(
        self, length: int, *, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        if not 0 <= rank < world:
            raise ConfigError(f"rank must be in [0, {world}), the number of processes, got {rank}")
        if batch_size < world:
            raise ConfigError(
                f"batch_size must be at least {world}, the number of processes, got {batch_size}"
            )
        self._samples = EpochSampler(length, seed=seed)
        self._total = length
        self._batch_size = batch_size
        self._rank = rank
        self._world = world
        self._epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Choose the epoch that the next iteration walks through.

        Args:
            epoch: Epoch, at least 0.
            start: Number of batches at the front that are left out, because an interrupted run
                has already seen them.

        Raises:
            ConfigError: If either is out of range.
        """
        self._samples.set_epoch(epoch)
        if not 0 <= start <= self._batches:
            raise ConfigError(
                f"start must be in [0, {self._batches}], the number of batches, got {start}"
            )
        self._epoch = epoch
        self._start = start

    @property
    def _batches(self) -> int:
        return -(-self._total // self._batch_size)

    def __len__(self) -> int:
        return self._batches - self._start

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order, epoch = self._samples.order(), self._epoch
        for number in range(self._start, self._batches):
            batch = self._of(order, number)
            own = batch[self._rank :: self._world]
            yield [SampleKey(epoch, int(index)) for index in (own if own.size else batch[:1])]

    def size(self, batch: int) -> int:
        """Number of samples of a batch, of all processes together."""
        return min(self._batch_size, self._total - batch * self._batch_size)

    def own_size(self, batch: int) -> int:
        """Number of samples of a batch that belong to this process; 0: it has no share."""
        return len(range(self._rank, self.size(batch), self._world))

    def _of(self, order: npt.NDArray[np.intp], batch: int) -> npt.NDArray[np.intp]:
        return order[batch * self._batch_size : (batch + 1) * self._batch_size]
