"""Networks of recipes with random weights, one training step and one inference of each.

The only file here that looks inside the package; everything else goes through its commands.
"""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from changedet.training.build import build_loss, build_optimizer, build_seeded_model
from changedet.training.config import load_config

Precision = Literal["fp32", "bf16"]
#: Stand-ins of a rehearsal.
_TINY = {
    "pyramid": ("model.decoder_width=16", "model.drop_path=0", "loss.level_weights=null"),
    "dasnet": ("model.head_width=16",),
}


@dataclass(frozen=True)
class Bench:
    """What a step takes."""

    train: Callable[[], None]
    infer: Callable[[], None]
    model: torch.nn.Module


def make_bench(
    recipe: str,
    *,
    batch: int,
    side_px: int,
    precision: Precision,
    device: torch.device,
    is_tiny: bool = False,
) -> Bench:
    """Make a network on the device, its loss and optimiser, and random crops to work on.

    Args:
        recipe: Name of the recipe; behind it settings that differ, each behind a space.
        batch: Pairs of a batch.
        side_px: Height and width of a crop in pixels.
        precision: ``bf16``: the products in bfloat16, as the package trains on CUDA.
        device: Where to compute.
        is_tiny: Whether a tiny encoder and head stand in.
    """
    changes = ["model.encoder_weights=none"]
    if is_tiny:
        changes += ["model.encoder=test_efficientnet"]
        changes += _TINY["pyramid" if recipe.startswith("pyramid") else "dasnet"]
    name, *others = recipe.split()
    config = load_config(name, overrides=[*changes, *others])
    model = build_seeded_model(config, pretrained=False)
    model.to(device).to(memory_format=torch.channels_last)
    loss = build_loss(config.loss, config.model, changed_share=0.1).to(device)
    optimizer = build_optimizer(config, model)
    before, after, label = _crops(batch, side_px, device)

    def autocast() -> AbstractContextManager[object]:
        if precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)

    def train() -> None:
        model.train()
        with autocast():
            output = model(before, after, branches=loss.branches, levels=loss.levels)
        loss(output, label).total.backward()
        if config.training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.training.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def infer() -> None:
        model.eval()
        with torch.inference_mode(), autocast():
            _ = model(before, after, branches="fused").score

    return Bench(train, infer, model)


def _crops(batch: int, side_px: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Before and after, (B, 3, h, w), as if normalised, and a label, (B, h, w), a tenth of it 1."""
    generator = torch.Generator().manual_seed(0)
    shape = (batch, 3, side_px, side_px)
    before, after = (
        torch.randn(shape, generator=generator)
        .to(device)
        .contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    label = (torch.rand(batch, side_px, side_px, generator=generator) < 0.1).byte().to(device)
    return before, after, label
