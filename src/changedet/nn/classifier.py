"""The last convolution of networks that classify, and what is read from it."""

import math
from typing import Literal

from torch import Tensor, nn

from changedet.types import BranchOutput, ChangeMap

#: Probability of change that an untrained classifier gives: that of a typical data set, so that the
#: first steps need not unlearn "half of everything has changed".
_FIRST_PROBABILITY = 0.1


def expect_little_change(layer: nn.Module) -> None:
    """Set the bias of the convolution that gives logits to that of a typical share of change.

    Args:
        layer: A convolution with a bias.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(layer, nn.Conv2d) or layer.bias is None:
        raise TypeError(f"a convolution with a bias is wanted, got {layer}")
    nn.init.constant_(layer.bias, math.log(_FIRST_PROBABILITY / (1.0 - _FIRST_PROBABILITY)))


def classified(logits: Tensor, *, levels: Literal["last", "all"]) -> BranchOutput:
    """Give the output of a network whose only level is its result.

    Args:
        logits: (B, K, h, w), for K kinds of change.
        levels: ``"all"`` lists the result as a level, too.

    Returns:
        Maps (B * K, h, w), pair by pair, in float32.
    """
    change = ChangeMap.from_logit(logits.flatten(0, 1).float())
    return BranchOutput(change=change, level_changes=(change,) if levels == "all" else ())
