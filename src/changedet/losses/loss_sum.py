"""A loss before its division: parts of a batch add up, then one place divides."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class LossSum:
    """A loss as a fraction of two sums over pixels, so that it can be computed in parts.

    A mean of means is not the mean where parts hold different numbers of ignored pixels. So no
    loss divides: each gives the two sums of the pixels that it was shown, those of all parts are
    added, and :meth:`value` divides. N processes with a part each, or N pieces of a batch, then
    give the loss and the gradients of one process with the whole batch, up to rounding.

    Attributes:
        total: Sum over the pixels, a float32 scalar with a graph.
        count: What it is divided by, a scalar: the number of pixels, or another sum over them.
        smoothing: Added to the count; where it is 0, the count is taken to be at least 1, so that
            a batch in which every pixel is ignored costs 0.
    """

    total: Tensor
    count: Tensor
    smoothing: float = 0.0

    def __add__(self, other: "LossSum") -> "LossSum":
        """Join the sums of two parts."""
        return LossSum(self.total + other.total, self.count + other.count, self.smoothing)

    def detach(self) -> "LossSum":
        """Give the same numbers without their graph."""
        return LossSum(self.total.detach(), self.count.detach(), self.smoothing)

    def value(self, whole: "LossSum | None" = None) -> Tensor:
        """Divide.

        Args:
            whole: The sums of all parts together where this is one of several whose graphs are
                apart, as in data-parallel training.

        Returns:
            The loss, a float32 scalar. With ``whole`` it is the loss of all parts, and its
            gradient is this part's share: the shares of all parts add up to the whole gradient
            (they are not to be averaged).
        """
        if whole is None:
            return self.total / self._divisor()
        whole = whole.detach()
        divisor = whole._divisor()
        loss = whole.total / divisor
        # d(S / C) = dS / C - S / C^2 dC, where only this part's dS and dC are known here.
        share = self.total / divisor
        if self.count.is_floating_point():
            share = share - loss / divisor * self.count
        return loss + (share - share.detach())

    def _divisor(self) -> Tensor:
        return self.count + self.smoothing if self.smoothing else self.count.clamp(min=1)


def sum_over(cost: Tensor, counted: Tensor) -> LossSum:
    """Sum the cost of the pixels that count, so that the loss is their mean.

    Args:
        cost: (B, H, W), float32; what it holds at other pixels does not matter.
        counted: (B, H, W), bool.
    """
    return LossSum(torch.where(counted, cost, 0.0).sum(), counted.sum())


def add_sums(*parts: Mapping[_Key, LossSum]) -> dict[_Key, LossSum]:
    """Join the named sums of several parts, which must have the same names."""
    joined = dict(parts[0])
    for part in parts[1:]:
        joined = {name: loss + part[name] for name, loss in joined.items()}
    return joined
