"""Losses of binary segmentation, and weighted sums of losses (spec 1.6)."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changedet.errors import ConfigError
from changedet.losses.loss_sum import LossSum, sum_over
from changedet.types import IGNORED, MAX_DISTANCE, ChangeMap

#: What a loss compares with the label.
Takes = Literal["distance", "logit"]
#: Compares a map (B, h, w) with a label (B, h, w) of 0 unchanged to 1 changed, or ``IGNORED``.
PixelLoss = Callable[[Tensor, Tensor], LossSum]

#: Scores of a distance are taken as probabilities no nearer to 0 and 1 than this: beyond it the
#: logit of a distance, and with it the gradient, has no bound.
_LEAST_PROBABILITY = 1e-3
#: Pixels added to both sides of Dice's fraction, so that a batch without change has a gradient.
_DICE_SMOOTH_PX = 1.0


def logit_of(distance: Tensor) -> Tensor:
    """Read a distance as a probability of change (half of it) and give its logit, float32."""
    return torch.logit(distance.float() / MAX_DISTANCE, eps=_LEAST_PROBABILITY)


def bce(logit: Tensor, label: Tensor) -> LossSum:
    """Binary cross-entropy, mean over the pixels that are not ignored.

    Args:
        logit: (B, H, W), any float.
        label: (B, H, W), 0 unchanged to 1 changed, fractions allowed, or ``IGNORED``.

    Returns:
        The sum over those pixels and their number.
    """
    counted = label != IGNORED
    target = torch.where(counted, label, 0).float()
    cost = F.binary_cross_entropy_with_logits(logit.float(), target, reduction="none")
    return sum_over(cost, counted)


def dice(logit: Tensor, label: Tensor) -> LossSum:
    """1 minus the soft Dice coefficient (F1) of the change class, pooled over the batch.

    Milletari et al., V-Net, 3DV 2016, with plain sums in the denominator. Pooled, because most
    crops hold no change, where a Dice of their own says nothing. With the probabilities p, the
    labels y and the smoothing s, 1 - (2 sum(p y) + s) / (sum(p + y) + s) is written as
    sum(p + y - 2 p y) / (sum(p + y) + s), whose two sums can be computed in parts.

    Args:
        logit: As for :func:`bce`.
        label: As for :func:`bce`.

    Returns:
        The two sums over the pixels that are not ignored; the loss is in [0, 1].
    """
    counted = label != IGNORED
    target = torch.where(counted, label, 0).float()
    probability = torch.where(counted, logit.float().sigmoid(), 0.0)
    sizes = probability.sum() + target.sum()
    return LossSum(sizes - 2.0 * (probability * target).sum(), sizes, smoothing=_DICE_SMOOTH_PX)


class WeightedTerm(NamedTuple):
    """A loss, its factor, and what it compares with the label."""

    weight: float
    takes: Takes
    loss: PixelLoss


class PixelLossSum(nn.Module):
    """Weigh and add up losses of one map of change.

    Args:
        terms: Losses by name; a loss of weight 0 is left out.

    Raises:
        ConfigError: If there is no loss of weight above 0, or a weight is below 0.
    """

    def __init__(self, terms: Mapping[str, WeightedTerm]) -> None:
        super().__init__()
        weights = {name: term.weight for name, term in terms.items()}
        if min(weights.values(), default=-1.0) < 0 or max(weights.values()) == 0:
            raise ConfigError(
                f"loss.terms must have at least one weight above 0 and none below, got {weights}"
            )
        self.terms = {name: term for name, term in terms.items() if term.weight > 0}
        modules = {n: t.loss for n, t in self.terms.items() if isinstance(t.loss, nn.Module)}
        self.loss_modules = nn.ModuleDict(modules)

    def forward(self, change: ChangeMap, label: Tensor) -> dict[str, LossSum]:
        """Return the sums of each loss, not yet weighted.

        A loss of logits reads a map of distances as probabilities, see :func:`logit_of`; a loss of
        distances reads a classifier's map as twice its probability.

        Args:
            change: Maps (B, H, W).
            label: (B, H, W), 0 to 1 or ``IGNORED``.
        """
        maps: dict[Takes, Tensor] = {}
        if any(term.takes == "distance" for term in self.terms.values()):
            maps["distance"] = change.distance
        if any(term.takes == "logit" for term in self.terms.values()):
            maps["logit"] = logit_of(change.distance) if change.logit is None else change.logit
        return {name: term.loss(maps[term.takes], label) for name, term in self.terms.items()}

    def weigh(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the losses' values, a scalar."""
        return torch.stack([term.weight * values[name] for name, term in self.terms.items()]).sum()
