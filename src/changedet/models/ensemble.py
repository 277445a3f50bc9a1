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
    Salamon, Neural Network Ensembles, PAMI 1990). They may be of any architecture and differ; all
    see the same normalised images. An ensemble is put together from trained networks, it is not
    trained.

    Its kinds of change are those of its members, in the order in which they first come. Each is
    scored by the mean of the members that know it, and only these are run for it.

    Args:
        members: Two networks or more, none of them an ensemble itself. They become parts of this
            one.

    Raises:
        ConfigError: If they are too few, take images of different channels, or one is an ensemble.
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
        super().__init__(
            kinds=tuple(dict.fromkeys(kind for member in members for kind in member.kinds)),
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

    @property
    def networks(self) -> tuple[ChangeModel, ...]:
        """The members."""
        return tuple(member for member in self.members if isinstance(member, ChangeModel))

    def compare(
        self, before: Tensor, after: Tensor, *, branches: Sequence[Branch], levels: Levels
    ) -> Mapping[str, BranchOutput]:
        """Score all kinds of change, see :meth:`compare_kinds`."""
        return self.compare_kinds(before, after, branches=branches, levels=levels, kinds=None)

    def compare_kinds(
        self,
        before: Tensor,
        after: Tensor,
        *,
        branches: Sequence[Branch],
        levels: Levels,
        kinds: Sequence[int] | None,
    ) -> Mapping[str, BranchOutput]:
        """Take the mean of the scores at full resolution of the members that know a kind.

        Members that know none of the kinds that are wanted are not run.

        Raises:
            ConfigError: If the levels of a decoder are wanted, which the members do not share.
        """
        if levels == "all":
            raise ConfigError("an ensemble has no decoder levels; ask its members for theirs")
        names = self.kinds if kinds is None else [self.kinds[place] for place in kinds]
        found: list[list[Tensor]] = [[] for _ in names]
        for member in self.networks:
            known = [place for place, name in enumerate(names) if name in member.kinds]
            if not known:
                continue
            own = [member.kinds.index(names[place]) for place in known]
            scores = member(before, after, branches="fused", kinds=own).score.float()
            # Not unflatten(): an exported graph would be left with the size of one tile.
            by_kind = scores.reshape(-1, len(known), scores.shape[-2], scores.shape[-1])
            for place, score in zip(known, by_kind.unbind(1), strict=True):
                found[place].append(score)
        means = [torch.stack(scores).mean(dim=0) for scores in found]
        # Pair by pair, the kinds of each one after the other.
        score = torch.stack(means, dim=1).flatten(0, 1)
        return {"fused": BranchOutput(change=ChangeMap(score=score))}
