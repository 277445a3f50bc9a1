"""The file that an interrupted training resumes from: weights, optimiser, position; no pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from changedet.errors import CheckpointError
from changedet.models.tensor_file import serialise
from changedet.storage.atomic import write_bytes
from changedet.storage.validation import describe
from changedet.training.averaging import AveragedModel
from changedet.training.checkpoint_state import (
    CheckpointState,
    TrainingPosition,
    check_moments,
    optimizer_state,
)

__all__ = ("TrainingPosition", "load_checkpoint", "save_checkpoint")

_META_KEY = "changedet_training"


def save_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: TrainingPosition,
    average: AveragedModel | None = None,
) -> None:
    """Write all that resuming needs; the former file stays until this one is whole.

    Raises:
        StorageError: If it cannot be written, for example on a full disk.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if average is not None:
        averaged = average.module.state_dict()
        tensors |= {f"average.{name}": tensor for name, tensor in averaged.items()}
    state = optimizer.state_dict()
    scalars: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                scalars.setdefault(str(index), {})[name] = value
    meta = {
        "format_version": 1,
        "progress": asdict(progress),
        "param_groups": state["param_groups"],
        "scalars": scalars,
    }
    # Cloned: tied or viewed tensors must not share memory in the file.
    content = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    write_bytes(path, serialise(content, {_META_KEY: json.dumps(meta)}))


def load_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedModel | None = None,
) -> TrainingPosition:
    """Put weights, their average and the optimiser's state back and return the position.

    Raises:
        CheckpointError: If there is no such file, or it belongs to another model or optimiser.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            meta_text = (file.metadata() or {}).get(_META_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(
            f'there is no checkpoint {path} to resume from; start the run without `mode="resume"`'
        ) from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({error}); start the run again with "
            '`mode="overwrite"`'
        ) from error
    if meta_text is None:
        raise CheckpointError(
            f"{path} is not a training checkpoint; resume from checkpoints/last.safetensors of a "
            "run"
        )
    try:
        stored = CheckpointState.model_validate_json(meta_text)
    except ValidationError as error:
        raise CheckpointError(
            f"{path} is damaged ({describe(error, CheckpointState)}); resume from a copy of it, or "
            'start the run again with `mode="overwrite"`'
        ) from error
    try:
        state = optimizer_state(stored, _under("optimizer.", tensors), optimizer.state_dict())
        shapes = [tuple(p.shape) for group in optimizer.param_groups for p in group["params"]]
        check_moments(state["state"], shapes)
        model.load_state_dict(_under("model.", tensors))
        if average is not None:
            average.module.load_state_dict(_under("average.", tensors))
        optimizer.load_state_dict(state)
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{path} belongs to another model or optimiser: {reason}; "
            "resume with the settings the run was started with"
        ) from error
    return stored.progress


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
