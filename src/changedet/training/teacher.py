"""Trained networks that tell a network in training what they see in the very same samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from changedet.errors import ConfigError
from changedet.kinds import ANY
from changedet.models.base import ChangeModel
from changedet.models.model_file import load_model
from changedet.nn.normaliser import normalise
from changedet.training.config import ExperimentConfig
from changedet.training.teacher_files import read_teachers
from changedet.types import Normalisation


class TeachingNetwork(NamedTuple):
    """A network that teaches.

    Attributes:
        model: In evaluation mode.
        normalisation: How stored values become its input.
        kinds: Places of the student's kinds of change among its own; None: all, in its order.
    """

    model: ChangeModel
    normalisation: Normalisation
    kinds: tuple[int, ...] | None = None


class Teacher:
    """Score samples by the mean of trained networks, each with its own normalisation.

    It sees the sample that the student sees, crop, colours, pasted pieces and all, since only then
    does it say what the student's input shows ("function matching": Beyer et al., Knowledge
    distillation: a good teacher is patient and consistent, CVPR 2022). It is in evaluation mode and
    draws nothing at random, so a resumed run hears the same.

    Args:
        networks: What teaches; put into evaluation mode.
        device: Where the samples are.
        autocast: bf16 as in the training of the student; None: float32.
    """

    def __init__(
        self,
        networks: Sequence[TeachingNetwork],
        *,
        device: torch.device,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._networks = tuple(networks)
        for network in networks:
            network.model.to(device).to(memory_format=torch.channels_last).eval()
        self._device = device
        self._autocast = autocast

    def __call__(self, before: Tensor, after: Tensor) -> Tensor:
        """Give the probability of change of each pixel.

        Args:
            before: Stored values on the device, (B, C, H, W).
            after: The same for the second date.

        Returns:
            (B, H, W), float32, in [0, 1], without a graph; (B * K, H, W) for K kinds of change.
        """
        with (
            torch.no_grad(),
            torch.autocast(
                self._device.type, dtype=self._autocast, enabled=self._autocast is not None
            ),
        ):
            scores = [
                network.model(
                    *normalise(before, after, network.normalisation),
                    branches="fused",
                    kinds=network.kinds,
                ).score.float()
                for network in self._networks
            ]
        return torch.stack(scores).mean(dim=0)


def load_teacher(
    config: ExperimentConfig, *, device: torch.device, autocast: torch.dtype | None
) -> Teacher | None:
    """Load the teachers that the settings name; None if they name none.

    Raises:
        CheckpointError: If a model file cannot be used.
        ConfigError: If a network cannot take crops of the run's size, or does not find the kinds of
            change that the student is to find.
    """
    networks = []
    for path, _ in read_teachers(config):
        model, card = load_model(path)
        _check_crop(path, model, tile_px=card.tile_px, crop_px=config.data.crop_px)
        kinds = _places(path, model, kinds=config.model.options().get("kinds", (ANY,)))
        networks.append(TeachingNetwork(model, card.normalisation, kinds))
    return Teacher(networks, device=device, autocast=autocast) if networks else None


def _places(path: Path, model: ChangeModel, *, kinds: Sequence[str]) -> tuple[int, ...]:
    # Where each finds one kind, they need not call it by the same name.
    if len(kinds) == len(model.kinds) == 1:
        return (0,)
    lacking = [kind for kind in kinds if kind not in model.kinds]
    if lacking:
        raise ConfigError(
            f"the teacher {path} does not find the kind of change {lacking[0]!r} (it finds "
            f"{', '.join(model.kinds)}), but this run is to; choose a teacher that finds all of "
            f"{', '.join(kinds)} (`teacher.models=FILE`)"
        )
    return tuple(model.kinds.index(kind) for kind in kinds)


def _check_crop(path: Path, model: ChangeModel, *, tile_px: int, crop_px: int) -> None:
    if crop_px % model.stride:
        raise ConfigError(
            f"data.crop_px must be a multiple of {model.stride}, the stride of the teacher {path}, "
            f"got {crop_px}; set it to {crop_px - crop_px % model.stride + model.stride}"
        )
    if model.fixed_tile and crop_px != tile_px:
        raise ConfigError(
            f"the teacher {path} has attention and is used at the size it was trained on, {tile_px}"
            f" px, but data.crop_px is {crop_px}; set `data.crop_px={tile_px}` or choose a teacher "
            "without attention"
        )
