"""Weighted double-margin contrastive loss (spec 2)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from changedet.errors import ConfigError
from changedet.losses.loss_sum import LossSum, sum_over
from changedet.losses.margins import DEFAULT_MARGINS, Margins
from changedet.types import IGNORED, Distance


class ClassWeights(NamedTuple):
    """Factors that balance the rare changed pixels against the many unchanged ones."""

    unchanged: float
    changed: float


UNWEIGHTED = ClassWeights(1.0, 1.0)


def class_weights(changed_share: float) -> ClassWeights:
    """Weigh both classes by the inverse of their share (spec 2).

    Args:
        changed_share: Share p of changed pixels in the training labels, in (0, 1).

    Raises:
        ConfigError: If one of the two classes does not occur.
    """
    if not 0.0 < changed_share < 1.0:
        raise ConfigError(
            f"the share of changed pixels must lie between 0 and 1, got {changed_share:g}: the "
            "training labels lack one of the two classes; set loss.changed_share (0.147 for CDD) "
            "or train on other labels"
        )
    return ClassWeights(unchanged=1.0 / (1.0 - changed_share), changed=1.0 / changed_share)


def double_margin(
    distance: Tensor,
    label: Tensor,
    *,
    margins: Margins,
    weights: ClassWeights = UNWEIGHTED,
) -> LossSum:
    """Pull unchanged pixels under one margin and push changed ones over the other.

    ``mean(w_u (1 - y) max(d - m_u, 0)^2 + w_c y max(m_c - d, 0)^2)`` over the pixels that are
    not ignored.

    Args:
        distance: (B, H, W), float.
        label: (B, H, W), 0 unchanged to 1 changed, fractions allowed, or ``IGNORED``.
        margins: Where the cost of each class ends.
        weights: Factor of each class.

    Returns:
        The sum over those pixels and their number.
    """
    distance = distance.float()
    counted = label != IGNORED
    changed = torch.where(counted, label, 0).float()
    pull = (distance - margins.unchanged).clamp(min=0.0).square()
    push = (margins.changed - distance).clamp(min=0.0).square()
    cost = weights.unchanged * (1.0 - changed) * pull + weights.changed * changed * push
    return sum_over(cost, counted)


class WeightedDoubleMargin(nn.Module):
    """WDMC with the margins of a distance and the weights of a class share (spec 2).

    Args:
        distance: Whose default margins to use.
        changed_share: Share of changed pixels in the training labels; None leaves the classes
            unweighted, as the first public DASNet code did.
        margins: Other margins than the distance's own.

    Raises:
        ConfigError: If the distance does not exist, or the share is not between 0 and 1.
    """

    def __init__(
        self, distance: Distance, *, changed_share: float | None, margins: Margins | None = None
    ) -> None:
        super().__init__()
        if distance not in DEFAULT_MARGINS:
            raise ConfigError(
                f"distance must be one of {', '.join(DEFAULT_MARGINS)}, got {distance!r}"
            )
        self.margins = DEFAULT_MARGINS[distance] if margins is None else margins
        self.weights = UNWEIGHTED if changed_share is None else class_weights(changed_share)

    def forward(self, distance: Tensor, label: Tensor) -> LossSum:
        """Return the loss of one distance map, see :func:`double_margin`."""
        return double_margin(distance, label, margins=self.margins, weights=self.weights)

    def extra_repr(self) -> str:
        """Show the numbers in ``print(loss)``."""
        return f"margins={self.margins}, weights={self.weights}"
