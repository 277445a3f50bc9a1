"""Learn from a teacher beside the labels: soft cross-entropy with what it says of a sample."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changedet.errors import ConfigError
from changedet.losses.loss_sum import LossSum, sum_over
from changedet.losses.segmentation import logit_of
from changedet.losses.supervision import (
    BranchLoss,
    LossPart,
    LossTerms,
    MapPlace,
    ResizedLabels,
)
from changedet.types import IGNORED, Branches, ChangeOutput

#: Name of the teacher's term in logs.
TEACHER = "teacher"
#: Where the teacher is surer than this, its logit has no bound worth following.
_LEAST_PROBABILITY = 1e-4


class TaughtLoss(nn.Module):
    """Mix the loss of the labels with the cross-entropy against a teacher's probability.

    ``(1 - w) L(label) + w T^2 CE(sigmoid(logit(p) / T), sigmoid(z / T))`` with the student's logit
    z, the teacher's probability p and the temperature T (Hinton, Vinyals and Dean, Distilling the
    Knowledge in a Neural Network, 2015). Every map that the labels supervise is taught, too, at its
    own size. Ignored pixels teach nothing.

    Attributes:
        branches: As for :class:`BranchLoss`.
        levels: Likewise.

    Args:
        own: The loss of the labels, whose branches and levels weigh the teacher's share as well.
        weight: The teacher's share w, in (0, 1].
        temperature: T, above 0; more than 1 lets small differences between unlikely pixels count.

    Raises:
        ConfigError: If a number is out of range.
    """

    def __init__(self, own: BranchLoss, *, weight: float, temperature: float = 1.0) -> None:
        super().__init__()
        if not 0.0 < weight <= 1.0:
            raise ConfigError(f"teacher.weight must be above 0 and at most 1, got {weight:g}")
        if not temperature > 0.0:
            raise ConfigError(f"teacher.temperature must be above 0, got {temperature:g}")
        self.own = own
        self.weight = weight
        self.temperature = temperature
        self.branches: Branches = own.branches
        self.levels = own.levels

    def sums(self, output: ChangeOutput, label: Tensor, taught: Tensor) -> dict[LossPart, LossSum]:
        """Compare every weighted map with the label and with the teacher, at the map's size.

        Args:
            output: As for :meth:`BranchLoss.sums`.
            label: (B, H, W), uint8, 0 unchanged, 1 changed, ``IGNORED``.
            taught: Probability of change that the teacher gives, (B, H, W), in [0, 1].

        Returns:
            Sums that add up over parts of a batch, see :mod:`changedet.losses.loss_sum`.
        """
        sums = self.own.sums(output, label)
        resized = ResizedLabels(label)
        for place, change in self.own.weighted_maps(output).items():
            logit = logit_of(change.distance) if change.logit is None else change.logit
            height, width = logit.shape[-2:]
            sums[LossPart(*place, TEACHER)] = soft_cross_entropy(
                logit,
                _resize(taught, height, width),
                resized.at(height, width) != IGNORED,
                temperature=self.temperature,
            )
        return sums

    def combine(
        self,
        sums: Mapping[LossPart, LossSum],
        *,
        whole: Mapping[LossPart, LossSum] | None = None,
    ) -> LossTerms:
        """Divide and weigh; the terms are those of the labels and ``teacher``, before its weight.

        The arguments are those of :meth:`BranchLoss.combine`.
        """
        lessons = {part: loss for part, loss in sums.items() if part.loss == TEACHER}
        rest = {part: loss for part, loss in sums.items() if part.loss != TEACHER}
        own = self.own.combine(rest, whole=whole)
        teacher = self.own.weigh(
            {
                MapPlace(part.branch, part.level): loss.value(
                    None if whole is None else whole[part]
                )
                for part, loss in lessons.items()
            }
        ).total
        return LossTerms(
            total=(1.0 - self.weight) * own.total + self.weight * teacher,
            terms={**own.terms, TEACHER: teacher.detach()},
        )


def soft_cross_entropy(
    logit: Tensor, taught: Tensor, counted: Tensor, *, temperature: float = 1.0
) -> LossSum:
    """Cross-entropy of a student's logits against probabilities, both softened.

    Args:
        logit: Of the student, (B, h, w), any float.
        taught: Probability of change, (B, h, w), in [0, 1].
        counted: Which pixels count, (B, h, w), bool.
        temperature: Both logits are divided by it; the cost is multiplied by its square, so that
            gradients stay of one size (Hinton et al. 2015, section 2).

    Returns:
        The sum over the pixels that count, and their number.
    """
    target = taught.float()
    if temperature != 1.0:
        target = (torch.logit(target, eps=_LEAST_PROBABILITY) / temperature).sigmoid()
    cost = F.binary_cross_entropy_with_logits(logit.float() / temperature, target, reduction="none")
    return sum_over(temperature**2 * cost, counted)


def _resize(taught: Tensor, height: int, width: int) -> Tensor:
    """Shrink probabilities as labels are (spec 1.3)."""
    if tuple(taught.shape[-2:]) == (height, width):
        return taught
    return F.interpolate(
        taught[:, None], size=(height, width), mode="bilinear", align_corners=True
    )[:, 0]
