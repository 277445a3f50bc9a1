"""Losses by name; PyTorch is loaded when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from changedet.choices import nearest
from changedet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from changedet.losses.margins import Margins
    from changedet.losses.segmentation import PixelLoss, PixelLossSum, Takes
    from changedet.types import Distance


class LossOptions(NamedTuple):
    """What losses may depend on.

    Attributes:
        distance: How the network compares embeddings, which decides the margins.
        changed_share: Share of changed pixels in the training labels; None leaves both classes
            unweighted.
        margins: Other margins than the distance's own.
    """

    distance: Distance = "l2"
    changed_share: float | None = None
    margins: Margins | None = None


class LossRow(NamedTuple):
    """A loss that settings can name.

    Attributes:
        takes: What it compares with the label.
        build: Makes it.
        weighs_classes: Whether it needs the share of changed pixels.
    """

    takes: Takes
    build: Callable[[LossOptions], PixelLoss]
    weighs_classes: bool = False


def _contrastive(options: LossOptions) -> PixelLoss:
    from changedet.losses.contrastive import WeightedDoubleMargin

    return WeightedDoubleMargin(
        options.distance, changed_share=options.changed_share, margins=options.margins
    )


def _bce(options: LossOptions) -> PixelLoss:
    from changedet.losses.segmentation import bce

    return bce


def _dice(options: LossOptions) -> PixelLoss:
    from changedet.losses.segmentation import dice

    return dice


def _lovasz(options: LossOptions) -> PixelLoss:
    from changedet.losses.lovasz import LovaszHinge

    return LovaszHinge()


#: Adding a loss is one function and its row here; ``loss.terms`` of the settings then knows it.
LOSSES: dict[str, LossRow] = {
    "wdmc": LossRow("distance", _contrastive, weighs_classes=True),
    "bce": LossRow("logit", _bce),
    "dice": LossRow("logit", _dice),
    "lovasz": LossRow("logit", _lovasz),
}


def loss_row(name: str) -> LossRow:
    """Return a loss by its name.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in LOSSES:
        raise ConfigError(f"loss {name!r} does not exist; {nearest(name, sorted(LOSSES))}")
    return LOSSES[name]


def build_pixel_losses(weights: Mapping[str, float], options: LossOptions) -> PixelLossSum:
    """Make a weighted sum of losses.

    Args:
        weights: Factors by name; a loss of weight 0 is left out.
        options: What they depend on.

    Raises:
        ConfigError: If a name does not exist, no weight is above 0, or a loss's option is out of
            range.
    """
    from changedet.losses.segmentation import PixelLossSum, WeightedTerm

    # A loss that is left out must not fail for want of what it alone needs, such as a class share.
    used = {name: weight for name, weight in weights.items() if weight != 0} or weights
    rows = {name: loss_row(name) for name in used}
    return PixelLossSum(
        {
            name: WeightedTerm(weight, rows[name].takes, rows[name].build(options))
            for name, weight in used.items()
        }
    )
