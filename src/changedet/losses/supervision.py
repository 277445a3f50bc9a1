"""Which distance maps are compared with the label, and how their losses add up."""

import inspect
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changedet.errors import ConfigError
from changedet.types import IGNORED, Branch, Branches, BranchOutput, ChangeOutput

#: Resized share of counted pixels under which a coarse label pixel is ignored (rounding only).
_LEAST_COUNTED = 1e-3


class LossTerms(NamedTuple):
    """A loss and what it is made of.

    ``total`` has the graph; ``terms`` holds each branch's own loss, before its weight, detached,
    under the branch's name.
    """

    total: Tensor
    terms: dict[str, Tensor]


class BranchLoss(nn.Module):
    """Sum a pixel loss over branches and decoder levels (spec 1.5 and 2).

    Attributes:
        branches: Which branches the model must compute: pass it to the model's ``forward``.
        levels: Likewise for the decoder levels.

    Args:
        pixel_loss: Loss of one distance map (B, h, w) against a label (B, h, w) in [0, 1] or
            ``IGNORED``, a scalar; a loss that takes the keyword ``logit`` gets the map's logit
            (B, h, w), None where there is none.
        branch_weights: Factor of each branch; a branch with weight 0 or left out is not needed.
        level_weights: Factor of each decoder level, coarse to fine; None uses the last level only.

    Raises:
        ConfigError: If no weight is positive or one is negative.
    """

    def __init__(
        self,
        pixel_loss: nn.Module,
        *,
        branch_weights: Mapping[Branch, float],
        level_weights: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        _check_weights("loss.branch_weights", list(branch_weights.values()))
        if level_weights is not None:
            _check_weights("loss.level_weights", list(level_weights))
        self.pixel_loss = pixel_loss
        self._takes_logit = "logit" in inspect.signature(pixel_loss.forward).parameters
        self.branch_weights = {name: w for name, w in branch_weights.items() if w > 0}
        self.level_weights = level_weights

    @property
    def branches(self) -> Branches:
        """``"fused"`` if no other branch has a weight."""
        return "fused" if set(self.branch_weights) == {"fused"} else "all"

    @property
    def levels(self) -> Literal["last", "all"]:
        """``"all"`` if levels are supervised."""
        return "last" if self.level_weights is None else "all"

    def forward(self, output: ChangeOutput, label: Tensor) -> LossTerms:
        """Compare every weighted distance map with the label at its own size.

        Args:
            output: What the model gave for ``branches`` and ``levels`` of this loss.
            label: (B, H, W), uint8, 0 unchanged, 1 changed, ``IGNORED``.

        Raises:
            ConfigError: If the model has not a weighted branch, or another number of levels.
        """
        resized = _ResizedLabels(label)
        terms = {
            name: self._branch_loss(_branch(output, name), resized) for name in self.branch_weights
        }
        weighted = [weight * terms[name] for name, weight in self.branch_weights.items()]
        return LossTerms(
            total=torch.stack(weighted).sum(),
            terms={name: term.detach() for name, term in terms.items()},
        )

    def _branch_loss(self, branch: BranchOutput, labels: "_ResizedLabels") -> Tensor:
        if self.level_weights is None:
            return self._map_loss(branch.distance, branch.logit, labels)
        if len(branch.levels) != len(self.level_weights):
            raise ConfigError(
                f"loss.level_weights has {len(self.level_weights)} values, the model gave "
                f"{len(branch.levels)} levels; give one weight a level, coarse to fine"
            )
        logits = branch.level_logits or (None,) * len(branch.levels)
        losses = [
            weight * self._map_loss(distance, logit, labels)
            for weight, distance, logit in zip(
                self.level_weights, branch.levels, logits, strict=True
            )
            if weight > 0
        ]
        return torch.stack(losses).sum()

    def _map_loss(self, distance: Tensor, logit: Tensor | None, labels: "_ResizedLabels") -> Tensor:
        label = labels.at(distance.shape[-2], distance.shape[-1])
        loss: Tensor = (
            self.pixel_loss(distance, label, logit=logit)
            if self._takes_logit
            else self.pixel_loss(distance, label)
        )
        return loss


def resize_label(label: Tensor, height: int, width: int) -> Tensor:
    """Shrink a label bilinearly, fractions kept, without letting ignored pixels leak in (spec 1.3).

    A coarse pixel is the weighted mean of the counted fine pixels under it (align_corners=True),
    and ignored where there is none.

    Args:
        label: (B, H, W), uint8, 0, 1 or ``IGNORED``.
        height: Wanted height h in pixels.
        width: Wanted width w in pixels.

    Returns:
        (B, h, w), float32, in [0, 1] or ``IGNORED``.
    """
    counted = (label != IGNORED).float()
    changed = (label == 1).float()
    stacked = F.interpolate(
        torch.stack([changed, counted], dim=1),
        size=(height, width),
        mode="bilinear",
        align_corners=True,
    )
    share = stacked[:, 1]
    mean = stacked[:, 0] / share.clamp(min=_LEAST_COUNTED)
    return torch.where(share >= _LEAST_COUNTED, mean.clamp(max=1.0), float(IGNORED))


class _ResizedLabels:
    """One label at every size that it is asked for, resized once."""

    def __init__(self, label: Tensor) -> None:
        self._full = label
        self._by_size = {(label.shape[-2], label.shape[-1]): label}

    def at(self, height: int, width: int) -> Tensor:
        size = (height, width)
        if size not in self._by_size:
            self._by_size[size] = resize_label(self._full, height, width)
        return self._by_size[size]


def _branch(output: ChangeOutput, name: Branch) -> BranchOutput:
    if name not in output.branches:
        raise ConfigError(
            f"loss.branch_weights gives {name!r} a weight, but the model computed only "
            f"{', '.join(output.branches)}; set that weight to 0, or use head 'dual'"
        )
    return output.branches[name]


def _check_weights(setting: str, weights: list[float]) -> None:
    if not weights or min(weights) < 0 or max(weights) <= 0:
        raise ConfigError(f"{setting} must be zero or positive and not all zero, got {weights}")
