"""What a training loop asks of the processes that train one model together."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from torch import Tensor, nn

from changedet.losses.loss_sum import LossSum
from changedet.losses.supervision import LossPart

_Value = TypeVar("_Value")


class Ranks(Protocol):
    """What a training loop needs to know about the other processes.

    Methods are called by every process at the same place of its loop, so that an implementation
    may let them wait for each other.

    Attributes:
        rank: Number of this process, from 0.
        world: Number of processes.
        is_main: Whether this is the process that writes files and tells the callbacks; of several
            it is the one.
    """

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def world(self) -> int:
        """Number of processes."""

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes files and tells the callbacks."""

    def any(self, flag: bool) -> bool:  # noqa: FBT001 - the value that is shared
        """Whether the flag is set in any of the processes, the same answer in all of them."""

    def highest(self, number: int) -> int:
        """The highest of the numbers of all processes, the same in all of them."""

    def gather(self, value: _Value) -> list[_Value]:
        """The values of all processes, in the order of their ranks, the same in all of them."""

    def from_main(self, compute: Callable[[], _Value]) -> _Value:
        """What the main process computes; the others wait for it, however long it takes."""

    def after_main(self, compute: Callable[[], _Value]) -> _Value:
        """What each computes, the main process first, such as what it leaves in a cache."""

    def whole(self, sums: Mapping[LossPart, LossSum]) -> Mapping[LossPart, LossSum] | None:
        """Loss sums of all processes together, without graph; None: this one is all there is."""

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors the values that they have in the main process, in place."""

    def wrap(self, module: nn.Module, *, sync_batch_norm: bool) -> nn.Module:
        """Give what is called in place of a module, so that gradients are those of all processes.

        The gradients of the processes are added up, not averaged, while they are computed.

        Args:
            module: What is trained; its batch norms may be replaced, names and values stay.
            sync_batch_norm: Whether batch norms use the statistics of the batches of all processes.
        """

    def apart(self, module: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Leave gradients that :meth:`wrap` would add up to the first batch after the block."""

    def attend(self, *, own: int, whole: int) -> None:
        """Say how many samples of the next batch are this process's, and how many all have.

        One without any computes all the same, to keep step with the others; what it computes must
        have no weight in the loss, and batch statistics leave it out.
        """


class OneProcess:
    """Training in a single process."""

    rank = 0
    world = 1
    is_main = True

    def any(self, flag: bool) -> bool:  # noqa: FBT001
        """Return the flag."""
        return flag

    def highest(self, number: int) -> int:
        """Return the number."""
        return number

    def gather(self, value: _Value) -> list[_Value]:
        """Return the one value."""
        return [value]

    def from_main(self, compute: Callable[[], _Value]) -> _Value:
        """Compute it."""
        return compute()

    def after_main(self, compute: Callable[[], _Value]) -> _Value:
        """Compute it."""
        return compute()

    def whole(self, sums: Mapping[LossPart, LossSum]) -> Mapping[LossPart, LossSum] | None:
        """Return None, for there are no others."""
        return None

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Leave them as they are."""

    def wrap(self, module: nn.Module, *, sync_batch_norm: bool) -> nn.Module:
        """Return the module itself."""
        return module

    def apart(self, module: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Change nothing."""
        return contextlib.nullcontext()

    def attend(self, *, own: int, whole: int) -> None:
        """Change nothing: all samples are its own."""
