"""Which distance maps are compared with the label, and how their losses add up."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changedet.errors import ConfigError
from changedet.losses.loss_sum import LossSum
from changedet.losses.segmentation import PixelLossSum
from changedet.types import IGNORED, Branch, Branches, BranchOutput, ChangeMap, ChangeOutput

#: Resized share of counted pixels under which a coarse label pixel is ignored (rounding only).
_LEAST_COUNTED = 1e-3
#: Level of a branch's result where no levels are supervised.
_RESULT = -1


class LossTerms(NamedTuple):
    """A loss and what it is made of.

    ``total`` has the graph; ``terms`` holds each branch's own loss, before its weight, detached,
    under the branch's name.
    """

    total: Tensor
    terms: dict[str, Tensor]


class MapPlace(NamedTuple):
    """Names one map that has a weight: its branch and decoder level (-1: the result alone)."""

    branch: Branch
    level: int


class LossPart(NamedTuple):
    """Names one loss of one map: its branch, the decoder level (-1: the result alone), its name."""

    branch: Branch
    level: int
    loss: str


class BranchLoss(nn.Module):
    """Add up pixel losses over branches and decoder levels (spec 1.5 and 2).

    :meth:`sums` compares maps with the label, :meth:`combine` divides and weighs; between the two,
    the sums of parts of a batch can be added. Calling it does both.

    Attributes:
        branches: Which branches the model must compute: pass it to the model's ``forward``.
        levels: Likewise for the decoder levels.

    Args:
        pixel_losses: Losses of one map.
        branch_weights: Factor of each branch; a branch with weight 0 or left out is not needed.
        level_weights: Factor of each decoder level, coarse to fine; None uses the last level only.

    Raises:
        ConfigError: If no weight is positive or one is negative.
    """

    def __init__(
        self,
        pixel_losses: PixelLossSum,
        *,
        branch_weights: Mapping[Branch, float],
        level_weights: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        _check_weights("loss.branch_weights", list(branch_weights.values()))
        if level_weights is not None:
            _check_weights("loss.level_weights", list(level_weights))
        self.pixel_losses = pixel_losses
        self.branch_weights = {name: w for name, w in branch_weights.items() if w > 0}
        self.level_weights = level_weights
        self._weight_of_level = (
            {_RESULT: 1.0}
            if level_weights is None
            else {level: weight for level, weight in enumerate(level_weights) if weight > 0}
        )

    @property
    def branches(self) -> Branches:
        """``"fused"`` if no other branch has a weight."""
        return "fused" if set(self.branch_weights) == {"fused"} else "all"

    @property
    def levels(self) -> Literal["last", "all"]:
        """``"all"`` if levels are supervised."""
        return "last" if self.level_weights is None else "all"

    def forward(self, output: ChangeOutput, label: Tensor) -> LossTerms:
        """Compare every weighted map with the label, divide and weigh.

        Args:
            output: What the model gave for ``branches`` and ``levels`` of this loss.
            label: (B, H, W), uint8, 0 unchanged, 1 changed, ``IGNORED``.

        Raises:
            ConfigError: If the model has not a weighted branch, or another number of levels.
        """
        return self.combine(self.sums(output, label))

    def sums(self, output: ChangeOutput, label: Tensor) -> dict[LossPart, LossSum]:
        """Compare every weighted map with the label at its own size.

        The arguments and errors are those of :meth:`forward`. The sums of parts of a batch add up
        (:func:`changedet.losses.loss_sum.add_sums`) to those of the batch.
        """
        resized = ResizedLabels(label)
        sums: dict[LossPart, LossSum] = {}
        for place, change in self.weighted_maps(output).items():
            losses = self.pixel_losses(change, resized.at(*change.score.shape[-2:]))
            sums |= {LossPart(*place, name): loss for name, loss in losses.items()}
        return sums

    def weighted_maps(self, output: ChangeOutput) -> dict[MapPlace, ChangeMap]:
        """Give all maps that have a weight.

        The errors are those of :meth:`forward`.
        """
        return {
            MapPlace(branch, level): change
            for branch in self.branch_weights
            for level, change in self._weighted_maps(_branch(output, branch)).items()
        }

    def combine(
        self,
        sums: Mapping[LossPart, LossSum],
        *,
        whole: Mapping[LossPart, LossSum] | None = None,
    ) -> LossTerms:
        """Divide each sum, then weigh losses, levels and branches.

        Args:
            sums: What :meth:`sums` gave, or the sum of several of its results.
            whole: The sums of all processes where ``sums`` are those of one of them; the gradients
                of the total are then shares that add up, see :meth:`LossSum.value`.
        """
        values = {
            part: loss.value(None if whole is None else whole[part]) for part, loss in sums.items()
        }
        names = tuple(self.pixel_losses.terms)
        return self.weigh(
            {
                MapPlace(branch, level): self.pixel_losses.weigh(
                    {name: values[LossPart(branch, level, name)] for name in names}
                )
                for branch in self.branch_weights
                for level in self._weight_of_level
            }
        )

    def weigh(self, values: Mapping[MapPlace, Tensor]) -> LossTerms:
        """Weigh the loss of each map, a scalar, by its level and its branch, and add them up."""
        terms: dict[Branch, Tensor] = {}
        for branch in self.branch_weights:
            levels = [
                weight * values[MapPlace(branch, level)]
                for level, weight in self._weight_of_level.items()
            ]
            terms[branch] = torch.stack(levels).sum()
        weighted = [weight * terms[branch] for branch, weight in self.branch_weights.items()]
        return LossTerms(
            total=torch.stack(weighted).sum(),
            terms={branch: term.detach() for branch, term in terms.items()},
        )

    def _weighted_maps(self, branch: BranchOutput) -> dict[int, ChangeMap]:
        """Give the maps that have a weight, by level."""
        if self.level_weights is None:
            return {_RESULT: branch.change}
        if len(branch.level_changes) != len(self.level_weights):
            raise ConfigError(
                f"loss.level_weights has {len(self.level_weights)} values, but the model has "
                f"{len(branch.level_changes)} levels; give one weight per level, coarse to fine"
            )
        return {level: branch.level_changes[level] for level in self._weight_of_level}


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


class ResizedLabels:
    """One label at every size that it is asked for, resized once."""

    def __init__(self, label: Tensor) -> None:
        self._full = label
        self._by_size = {(label.shape[-2], label.shape[-1]): label}

    def at(self, height: int, width: int) -> Tensor:
        """Give the label at a size in pixels, see :func:`resize_label`."""
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
