"""Losses of binary segmentation, and sums of losses (spec 1.6)."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changedet.errors import ConfigError
from changedet.losses.lovasz import lovasz_hinge
from changedet.types import IGNORED, MAX_DISTANCE

SegmentationLoss = Literal["bce", "dice", "lovasz"]

#: Scores of a distance are taken as probabilities no nearer to 0 and 1 than this: beyond it the
#: logit of a distance, and with it the gradient, has no bound.
_LEAST_PROBABILITY = 1e-3
#: Pixels added to both sides of Dice's fraction, so that a batch without change has a gradient.
_DICE_SMOOTH_PX = 1.0


def logit_of(distance: Tensor) -> Tensor:
    """Read a distance as a probability of change (half of it) and give its logit, float32."""
    return torch.logit(distance.float() / MAX_DISTANCE, eps=_LEAST_PROBABILITY)


def bce(logit: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the pixels that are not ignored.

    Args:
        logit: (B, H, W), any float.
        label: (B, H, W), 0 unchanged to 1 changed, fractions allowed, or ``IGNORED``.

    Returns:
        A float32 scalar; 0 (with a graph) where all is ignored.
    """
    counted = label != IGNORED
    target = torch.where(counted, label, 0).float()
    cost = F.binary_cross_entropy_with_logits(logit.float(), target, reduction="none")
    return torch.where(counted, cost, 0.0).sum() / counted.sum().clamp(min=1)


def dice(logit: Tensor, label: Tensor) -> Tensor:
    """1 minus the soft Dice coefficient (F1) of the change class, pooled over the batch.

    Milletari et al., V-Net, 3DV 2016, with plain sums in the denominator. Pooled, because most
    crops hold no change, where a Dice of their own says nothing.

    Args:
        logit: As for :func:`bce`.
        label: As for :func:`bce`.

    Returns:
        A float32 scalar in [0, 1].
    """
    counted = label != IGNORED
    target = torch.where(counted, label, 0).float()
    probability = torch.where(counted, logit.float().sigmoid(), 0.0)
    both = 2.0 * (probability * target).sum() + _DICE_SMOOTH_PX
    return 1.0 - both / (probability.sum() + target.sum() + _DICE_SMOOTH_PX)


class WeightedTerm(NamedTuple):
    """A loss and its factor; ``loss`` is a module of distances or the name of one of logits."""

    weight: float
    loss: nn.Module | SegmentationLoss


class PixelLossSum(nn.Module):
    """Add up losses of one map of change.

    Args:
        terms: Losses by name, with their weights; a loss of weight 0 is left out.

    Raises:
        ConfigError: If there is no loss of weight above 0, or a weight is below 0.
    """

    def __init__(self, terms: Mapping[str, WeightedTerm]) -> None:
        super().__init__()
        weights = {name: term.weight for name, term in terms.items()}
        if min(weights.values(), default=-1.0) < 0 or max(weights.values()) == 0:
            raise ConfigError(
                f"loss.terms must give at least one loss a weight above 0 and none one below, got "
                f"{weights}"
            )
        terms = {name: term for name, term in terms.items() if term.weight > 0}
        self.of_distance = nn.ModuleDict(
            {name: term.loss for name, term in terms.items() if isinstance(term.loss, nn.Module)}
        )
        self.of_logit = {
            name: term.loss for name, term in terms.items() if isinstance(term.loss, str)
        }
        self.weights = {name: term.weight for name, term in terms.items()}

    def forward(self, distance: Tensor, label: Tensor, *, logit: Tensor | None = None) -> Tensor:
        """Return the weighted sum.

        Args:
            distance: (B, H, W) in [0, 2].
            label: (B, H, W), 0 to 1 or ``IGNORED``.
            logit: (B, H, W), what the distance was made of; None reads the distance as a
                probability, see :func:`logit_of`.
        """
        losses = [
            self.weights[name] * loss(distance, label) for name, loss in self.of_distance.items()
        ]
        if self.of_logit:
            logit = logit_of(distance) if logit is None else logit
            losses += [
                self.weights[name] * _BY_NAME[loss](logit, label)
                for name, loss in self.of_logit.items()
            ]
        return torch.stack(losses).sum()


_BY_NAME = {"bce": bce, "dice": dice, "lovasz": lovasz_hinge}
