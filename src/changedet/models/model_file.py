"""Model files: one ``.safetensors`` with all that is needed to use it in its metadata."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from changedet.card import (
    CARD_KEY,
    FORMAT_VERSION,
    PARAMETERS_KEY,
    PRECISION_KEY,
    ModelCard,
    checked_name,
    open_tensors,
    read_card,
    refuse_exported,
)
from changedet.choices import check_choice
from changedet.errors import CheckpointError, ConfigError
from changedet.models.base import ChangeModel
from changedet.models.file_options import check_options
from changedet.models.registry import rebuild_model
from changedet.models.tensor_file import require_finite, serialise, tensor_differences
from changedet.nn.shapes import shapes_only
from changedet.storage.atomic import write_bytes
from changedet.storage.text import first_few
from changedet.types import Precision

#: What the name of the steps of int8 weights adds to theirs.
_STEPS = ".int8_step"
_LARGEST_CODE = 127.0
#: Dimensions from which on a parameter is a weight rather than a bias or a factor.
_MATRIX = 2
#: Rounding step of float16: a value between powers of two moves by at most this share of it.
_HALF_STEP = 2.0**-11
#: Types of tensors, as safetensors calls them, that may stand for real and whole numbers.
_REAL = frozenset({"F16", "BF16", "F32", "F64"})
_WHOLE = frozenset({"BOOL", "I8", "U8", "I16", "I32", "I64"})
_CODES = frozenset({"I8"})


def save_model(
    path: str | Path, model: ChangeModel, card: ModelCard, *, precision: Precision = "float32"
) -> None:
    """Write a network and its card into one ``.safetensors``, whole or not at all.

    Args:
        path: Of the file.
        model: The network.
        card: All that is to be said of it.
        precision: Type of the stored weights, see :func:`rounded_tensors`; ``float16`` halves the
            file, ``int8`` halves it again.

    Raises:
        ConfigError: If the card is of another network, the name has another ending, or there is no
            such precision.
        StorageError: If it cannot be written.
    """
    path = checked_name(path)
    if (card.architecture, card.options) != (model.architecture, model.options):
        raise ConfigError(
            f"the card describes {card.architecture} with {card.options}, the model is "
            f"{model.architecture} with {model.options}; make the card from the model"
        )
    tensors = _stored_tensors(model, precision=precision)
    stated = replace(card, format_version=FORMAT_VERSION)
    metadata = {
        CARD_KEY: json.dumps(stated.to_dict(), allow_nan=False),
        PARAMETERS_KEY: str(model.parameter_count),
        PRECISION_KEY: precision,
    }
    write_bytes(path, serialise(tensors, metadata))


def rounded_tensors(model: ChangeModel, *, precision: Precision) -> dict[str, Tensor]:
    """Give the tensors of a network as they come out of a model file.

    With ``float16`` the parameters are rounded to it. What stays in float32: buffers, which are the
    running statistics of normalisation layers (each is divided by on its own, and small variances
    would vanish), and any parameter of which a value would move by more than 2^-11 of the largest
    one of its tensor, since it overflows (beyond 65504) or the whole tensor is tiny. With ``int8``
    the same holds for biases and the like, and each weight of a convolution or linear layer becomes
    one of 255 multiples of a step, one step for each output channel. Loaded into a network they
    give the scores that the file will give.

    Raises:
        ConfigError: If there is no such precision.
    """
    return _unpacked(_stored_tensors(model, precision=precision))


def _stored_tensors(model: ChangeModel, *, precision: Precision) -> dict[str, Tensor]:
    """Round the tensors of a network and give them in the form in which a file holds them."""
    check_choice("precision", precision, get_args(Precision))
    exact = {name for name, _ in model.named_buffers()}
    if precision == "float32":
        exact |= {name for name, _ in model.named_parameters()}
    stored = {
        name: _stored(value.detach(), precision="float32" if name in exact else "float16")
        for name, value in model.state_dict().items()
    }
    if precision == "int8":
        for name, parameter in model.named_parameters():
            if parameter.dim() >= _MATRIX and torch.isfinite(parameter).all():
                stored[name], stored[name + _STEPS] = _quantised(parameter.detach().float().cpu())
    return stored


def _unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the weights that :func:`_stored_tensors` stand for."""
    return {
        name: value.float() * stored[name + _STEPS].float() if name + _STEPS in stored else value
        for name, value in stored.items()
        if not name.endswith(_STEPS)
    }


def _quantised(value: Tensor) -> tuple[Tensor, Tensor]:
    """Round to whole multiples, in [-127, 127], of a step for each output channel."""
    largest = value.abs().amax(dim=tuple(range(1, value.dim())), keepdim=True)
    # Eight bits times the eight of bfloat16 are exact in float32: rounding twice changes nothing.
    steps = (largest / _LARGEST_CODE).bfloat16()
    safe = torch.where(steps > 0, steps.float(), 1.0)
    codes = (value / safe).round().clamp(-_LARGEST_CODE, _LARGEST_CODE)
    return codes.to(torch.int8).contiguous(), steps.contiguous()


def _stored(value: Tensor, *, precision: Precision) -> Tensor:
    if not value.is_floating_point():
        return value.cpu().contiguous()
    value = value.float().cpu().contiguous()
    if precision == "float32":
        return value
    rounded = value.half()
    moved = (rounded.float() - value).abs().max()
    # Also kept where a value is no number, since no comparison with one holds.
    return rounded if moved <= _HALF_STEP * value.abs().max() else value


def load_model(
    path: str | Path, *, device: str | torch.device = "cpu"
) -> tuple[ChangeModel, ModelCard]:
    """Read a model file; nothing in it is ever run.

    Returns:
        The network in eval mode on ``device``, in float32 whatever the file's precision, and its
        card. Options that are younger than the file stand in the card with their defaults.

    Raises:
        CheckpointError: If it is no model file, is cut short, or its weights are of another
            network or no finite numbers.
    """
    card = read_card(path)
    refuse_exported(Path(path))
    planned = _plan(card, path)
    with open_tensors(Path(path), framework="pt") as file:
        # Only what the file holds is allocated: a small file cannot ask for a large network.
        differences = _differences(file, planned.state_dict())
        if differences:
            raise CheckpointError(
                f"{path} does not have the weights of the network that its card names: it "
                f"{first_few(differences, separator='; ')}; copy the file again"
            )
        tensors = _unpacked({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    require_finite(tensors, path)
    model = rebuild_model(card.architecture, card.options)
    model.load_state_dict(tensors)
    return model.to(device).eval(), replace(card, options=model.options)


def _plan(card: ModelCard, path: str | Path) -> ChangeModel:
    """Build the network of a card without its weights, which takes no memory.

    Raises:
        CheckpointError: If there is no such network.
    """
    try:
        check_options(card.architecture, card.options)
        with shapes_only():
            planned = rebuild_model(card.architecture, card.options)
        channels = len(card.normalisation.mean_before)
        if planned.in_channels != channels:
            raise ConfigError(
                f"the network takes {planned.in_channels} channels, the normalisation {channels}"
            )
    except ConfigError as error:
        raise CheckpointError(f"{path} cannot be rebuilt: {error}") from error
    return planned


def _differences(file: Any, wanted: Mapping[str, Tensor]) -> list[str]:  # noqa: ANN401
    """Name in words what keeps a file's tensors from a network, from its header alone."""
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    steps = {name for name in shapes if name.endswith(_STEPS)}
    values = {name: torch.empty(shapes[name], device="meta") for name in shapes.keys() - steps}
    found = tensor_differences(values, wanted)
    for name in sorted(steps):
        shape = shapes.get(name.removesuffix(_STEPS), ())
        if shapes[name] != (*shape[:1], *(1 for _ in shape[1:])):
            found.append(f"has {name} as {shapes[name]}, which is not one step for each channel")
    for name in sorted(shapes):
        is_real = name in steps or name not in wanted or wanted[name].is_floating_point()
        kinds = _CODES if name + _STEPS in steps else _REAL if is_real else _WHOLE
        kind = file.get_slice(name).get_dtype()
        if kind not in kinds:
            found.append(f"has {name} as {kind}")
    return found
