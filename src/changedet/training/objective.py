"""The loss of a network on a batch, as one module."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from changedet.losses.distillation import TaughtLoss
from changedet.losses.loss_sum import LossSum
from changedet.losses.supervision import BranchLoss, LossPart, LossTerms
from changedet.models.base import ChangeModel


class Objective(nn.Module):
    """Run the network on a batch and compare what it gives with the labels.

    One module, so that what adds up the gradients of several processes sees which weights the loss
    really depends on: a network may compute maps that have no weight in it.

    Args:
        model: The network.
        loss: Compares its maps with labels.
        autocast: bf16 where the device is faster with it; None: float32.
        whole: Gives the loss sums of all processes, see :meth:`.ranks.Ranks.whole`.
    """

    def __init__(
        self,
        model: ChangeModel,
        loss: BranchLoss | TaughtLoss,
        *,
        autocast: torch.dtype | None,
        whole: Callable[[Mapping[LossPart, LossSum]], Mapping[LossPart, LossSum] | None],
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self._autocast = autocast
        self._whole = whole

    def forward(self, before: Tensor, after: Tensor, label: Tensor, *lesson: Tensor) -> LossTerms:
        """Return the loss of the batch.

        Args:
            before: Network input, (B, C, H, W).
            after: The same for the second date.
            label: (B, H, W), uint8, 0, 1 or ``IGNORED``; (B * K, H, W) for K kinds of change.
            lesson: What a teacher says, as for :meth:`TaughtLoss.sums`; nothing without one.

        Returns:
            Loss and terms of the batch of all processes; the gradient is the share of this one.
        """
        loss = self.loss
        with torch.autocast(
            before.device.type, dtype=self._autocast, enabled=self._autocast is not None
        ):
            output = self.model(before, after, branches=loss.branches, levels=loss.levels)
        sums = loss.sums(output, label, *lesson)
        return loss.combine(sums, whole=self._whole(sums))
