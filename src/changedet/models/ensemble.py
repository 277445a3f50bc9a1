"""Several trained networks as one: the mean of their scores."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from changedet.errors import ConfigError
from changedet.models.base import ChangeModel, Levels
from changedet.models.options import ENSEMBLE, FUSED_ONLY
from changedet.types import Branch, BranchOutput, ChangeMap


class Ensemble(ChangeModel):
    """Score each pixel by the mean of what several networks say.

    Networks that were trained apart err in different places, so the mean errs less (Hansen and
    Salamon, Neural Network Ensembles, PAMI 1990). They may be of any kind and differ; all see the
    same normalised images. An ensemble is put together from trained networks, it is not trained.

    Args:
        members: Two networks or more, none of them an ensemble itself. They become parts of this
            one.

    Raises:
        ConfigError: If they are too few, take images of different channels, find different kinds of
            change, or one is an ensemble.
    """

    architecture: ClassVar[str] = ENSEMBLE

    def __init__(self, members: Sequence[ChangeModel]) -> None:
        if len(members) < 2:
            raise ConfigError(f"an ensemble needs two models or more, got {len(members)}")
        if any(isinstance(member, Ensemble) for member in members):
            raise ConfigError(
                "a member of an ensemble cannot be an ensemble itself; give its members instead"
            )
        channels = sorted({member.in_channels for member in members})
        if len(channels) > 1:
            raise ConfigError(
                "the members of an ensemble must take the same images, got models of "
                f"{' and '.join(map(str, channels))} channels"
            )
        kinds = {member.kinds for member in members}
        if len(kinds) > 1:
            raise ConfigError(
                "the members of an ensemble must find the same kinds of change, got models of "
                f"{' and '.join(sorted(', '.join(names) for names in kinds))}"
            )
        super().__init__(
            kinds=members[0].kinds,
            in_channels=channels[0],
            stride=math.lcm(*(member.stride for member in members)),
            branch_names=FUSED_ONLY,
            fixed_tile=any(member.fixed_tile for member in members),
            options={
                "members": [
                    {"architecture": member.architecture, "options": member.options}
                    for member in members
                ]
            },
        )
        self.members = nn.ModuleList(members)

    def compare(
        self, before: Tensor, after: Tensor, *, branches: Sequence[Branch], levels: Levels
    ) -> Mapping[str, BranchOutput]:
        """Take the mean of the members' scores at full resolution.

        Raises:
            ConfigError: If the levels of a decoder are wanted, which the members do not share.
        """
        if levels == "all":
            raise ConfigError("an ensemble has no decoder levels; ask its members for theirs")
        scores = [member(before, after, branches="fused").score.float() for member in self.members]
        return {"fused": BranchOutput(change=ChangeMap(score=torch.stack(scores).mean(dim=0)))}
