"""One step of the training that a model file describes, on generated crops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from changedet.training.build import build_loss, build_optimizer, build_seeded_model
from changedet.training.config import ExperimentConfig, parse_config

_CHANGED_SHARE = 0.1


class Step(NamedTuple):
    """A training step.

    Attributes:
        work: Does it, and waits until it is done.
        batch: Pairs of a step.
        side_px: Height and width of a crop.
        gflop_per_pair: 10^9 operations for a pair, forward and backward.
    """

    work: Callable[[], None]
    batch: int
    side_px: int
    gflop_per_pair: float


def make_step(recipe: Mapping[str, Any], *, device: str, batch: int) -> Step:
    """Build the network, loss and optimiser of a recipe, with random weights.

    Args:
        recipe: Settings as a model's card holds them.
        device: Where to compute; CUDA computes in bfloat16, as in training.
        batch: Pairs of a step.

    Raises:
        ConfigError: If the settings are none, or of another version.
    """
    config: ExperimentConfig = parse_config(_known(recipe), origin="recipe")
    side_px = config.data.crop_px
    place = torch.device(device)
    model = build_seeded_model(config, pretrained=False)
    model.to(place).to(memory_format=torch.channels_last).train()
    loss = build_loss(config.loss, config.model, changed_share=_CHANGED_SHARE).to(place)
    optimizer = build_optimizer(config, model)
    random = torch.Generator().manual_seed(0)
    shape = (batch, model.in_channels, side_px, side_px)
    before, after = (
        torch.randn(shape, generator=random).to(place).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    label = (torch.rand(batch, side_px, side_px, generator=random) < _CHANGED_SHARE).byte()
    label = label.to(place)

    def work() -> None:
        with torch.autocast(place.type, dtype=torch.bfloat16, enabled=place.type == "cuda"):
            output = model(before, after, branches=loss.branches, levels=loss.levels)
        loss(output, label).total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if place.type == "cuda":
            torch.cuda.synchronize(place)

    with FlopCounterMode(display=False) as counter:
        work()
    return Step(work, batch, side_px, counter.get_total_flops() / batch / 1e9)


def _known(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is told of a training beside its settings."""
    return {name: part for name, part in recipe.items() if name in ExperimentConfig.model_fields}
