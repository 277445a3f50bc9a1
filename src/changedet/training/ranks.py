"""The processes that train one model together; today there is one."""

from collections.abc import Mapping
from typing import Protocol

from changedet.losses.loss_sum import LossSum
from changedet.losses.supervision import LossPart


class Ranks(Protocol):
    """What a training loop needs to know about the other processes.

    Methods are called by every process at the same place of its loop, so that an implementation
    may let them wait for each other.

    Attributes:
        rank: Number of this process, from 0.
        is_main: Whether this is the process that writes files and tells the callbacks; of several
            it is the one.
    """

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes files and tells the callbacks."""

    def any(self, flag: bool) -> bool:  # noqa: FBT001 - the value that is shared
        """Whether the flag is set in any of the processes, the same answer in all of them."""

    def whole(self, sums: Mapping[LossPart, LossSum]) -> Mapping[LossPart, LossSum] | None:
        """Loss sums of all processes together, without graph; None: this one is all there is."""


class OneProcess:
    """Training in a single process."""

    rank = 0
    is_main = True

    def any(self, flag: bool) -> bool:  # noqa: FBT001
        """Return the flag."""
        return flag

    def whole(self, sums: Mapping[LossPart, LossSum]) -> None:
        """Return None, for there are no others."""
