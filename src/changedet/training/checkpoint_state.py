"""What a checkpoint holds besides tensors, as typed data; and whether an optimiser can use it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

_LARGEST_RATE = 1e6

Count = Annotated[int, Ge(0)]
#: A file of a run's folder, never one elsewhere: the oldest of them is removed.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}$")]


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

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    epoch: Annotated[int, Ge(1)] = 1
    batch: Count = 0
    step: Count = 0
    validated_batch: Count = 0
    log_rows: Count = 0
    validations: Count = 0
    f_score: float | None = None
    best_f_score: float | None = None
    best_files: list[FileName] = field(default_factory=list)
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_count: Count = 0


class CheckpointState(BaseModel):
    """What stands in a checkpoint besides its tensors.

    Attributes:
        format_version: Of the layout.
        progress: Position of the training.
        param_groups: Settings of the optimiser, as PyTorch gives them.
        scalars: Numbers of the optimiser's state, by parameter and name.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    format_version: Literal[1]
    progress: TrainingPosition
    param_groups: list[dict[str, Any]]
    scalars: dict[str, dict[str, float]] = {}


def optimizer_state(
    stored: CheckpointState, tensors: Mapping[str, Tensor], fresh: Mapping[str, Any]
) -> dict[str, Any]:
    """Put together what an optimiser loads, after a look at whether it can.

    Args:
        stored: As read.
        tensors: Of the optimiser, as ``INDEX.NAME``.
        fresh: State of the optimiser before; says what its settings are like.

    Raises:
        ValueError: If settings or state are of another optimiser.
    """
    groups = fresh["param_groups"]
    if len(stored.param_groups) != len(groups):
        raise ValueError(f"{len(stored.param_groups)} groups of parameters, not {len(groups)}")
    state: dict[int, dict[str, Any]] = {}
    found: dict[str, dict[str, Any]] = {key: dict(values) for key, values in stored.scalars.items()}
    for name, tensor in tensors.items():
        key, _, entry = name.partition(".")
        found.setdefault(key, {})[entry] = tensor
    for key, values in found.items():
        if not (key.isascii() and key.isdecimal() and len(key) < 10):
            raise ValueError(f"no parameter is numbered {key[:80]!r}")
        state[int(key)] = values
    for number, (group, wanted) in enumerate(zip(stored.param_groups, groups, strict=True)):
        for name, value in group.items():
            if name not in wanted or not _is_alike(name, value, wanted[name]):
                raise ValueError(f"setting {name[:80]!r} of the optimiser's group {number}")
        if group.get("params") != wanted["params"]:
            raise ValueError(f"other parameters in the optimiser's group {number}")
    merged = [
        {**wanted, **group} for group, wanted in zip(stored.param_groups, groups, strict=True)
    ]
    return {"state": state, "param_groups": merged}


def check_moments(state: Mapping[int, Mapping[str, Any]], shapes: list[tuple[int, ...]]) -> None:
    """Refuse moments that do not belong to the parameters.

    Args:
        state: State of an Adam or AdamW by parameter.
        shapes: Of the parameters, in their order.

    Raises:
        ValueError: If something is missing, extra, or of another shape.
    """
    for index, values in state.items():
        if index >= len(shapes):
            raise ValueError(f"the optimiser has no parameter {index}")
        if values.keys() != {"step", "exp_avg", "exp_avg_sq"}:
            raise ValueError(f"state of parameter {index}: {', '.join(sorted(values))[:200]}")
        for name, value in values.items():
            shape = () if name == "step" else shapes[index]
            of_tensor = tuple(value.shape) if isinstance(value, Tensor) else ()
            is_real = not isinstance(value, Tensor) or value.is_floating_point()
            if of_tensor != shape or not is_real:
                raise ValueError(
                    f"{name} of parameter {index} is of shape {of_tensor}, not {shape}"
                )


def _is_alike(name: str, value: object, wanted: object) -> bool:
    """Tell whether a setting of an optimiser is what it is now; the schedule moves the rate."""
    if name in {"lr", "initial_lr"}:
        return type(value) in (int, float) and 0.0 <= value <= _LARGEST_RATE  # type: ignore[operator]
    # JSON has no tuples, and True is 1 to Python.
    now = list(wanted) if isinstance(wanted, tuple) else wanted
    return type(value) is type(now) and value == now
