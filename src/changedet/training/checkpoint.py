"""The file that an interrupted training resumes from: weights, optimiser, position; no pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from changedet.errors import CheckpointError
from changedet.storage.atomic import write_bytes
from changedet.training.averaging import AveragedModel

_META_KEY = "changedet_training"


@dataclass
class TrainingPosition:
    """Position and scores of a training run; all that is needed besides weights and optimiser.

    The random state needs no entry: every draw is a function of (seed, epoch, batch or sample).

    Attributes:
        epoch: Epoch in work, counted from 1.
        batch: Batches of that epoch that are done.
        step: Batches done in all.
        validated_batch: ``batch`` at the last validation within the epoch, 0 before the first.
        log_rows: Rows of the training log up to here; a resumed run cuts the log back to them.
        validations: Validations up to here, likewise.
        f_score: Max-F1 of the last validation.
        best_f_score: Highest of them.
        best_files: Names of the kept best models, newest last.
        loss_sums: Sums of the loss terms since the last log row.
        loss_count: Batches in those sums.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    validated_batch: int = 0
    log_rows: int = 0
    validations: int = 0
    f_score: float | None = None
    best_f_score: float | None = None
    best_files: list[str] = field(default_factory=list)
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_count: int = 0


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
    write_bytes(path, save(content, metadata={_META_KEY: json.dumps(meta)}))


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
    meta = json.loads(meta_text)
    state: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in meta["scalars"].items()
    }
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, entry = name.split(".", 2)
            state.setdefault(int(index), {})[entry] = tensor
    try:
        model.load_state_dict(_under("model.", tensors))
        if average is not None:
            average.module.load_state_dict(_under("average.", tensors))
        optimizer.load_state_dict({"state": state, "param_groups": meta["param_groups"]})
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{path} belongs to another model or optimiser: {reason}; "
            "resume with the settings the run was started with"
        ) from error
    return TrainingPosition(**meta["progress"])


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
