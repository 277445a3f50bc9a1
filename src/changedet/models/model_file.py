"""Model files: one ``.safetensors`` with all that is needed to use it in its metadata."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from changedet._version import __version__
from changedet.errors import CheckpointError, ConfigError
from changedet.models.base import ChangeModel
from changedet.models.choices import check_choice
from changedet.models.registry import rebuild_model
from changedet.models.tensor_file import summarise, tensor_differences
from changedet.storage.atomic import write_bytes
from changedet.types import Normalisation, PixelType, Precision, TestTime

#: Version of the card's layout; a reader refuses newer ones.
FORMAT_VERSION = 1
#: Metadata keys of the card, the number of parameters and the type of the weights.
_CARD_KEY = "changedet"
_PARAMETERS_KEY = "parameters"
_PRECISION_KEY = "precision"
#: What the name of the steps of int8 weights adds to theirs.
_STEPS = ".int8_step"
_LARGEST_CODE = 127.0
#: Dimensions from which on a parameter is a weight rather than a bias or a factor.
_MATRIX = 2
#: Rounding step of float16: a value between powers of two moves by at most this share of it.
_HALF_STEP = 2.0**-11
#: A zip archive (what torch.save writes), or a bare pickle of protocol 2 to 5 (older ones).
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class ModelCard:
    """All that a model file says beside its weights.

    Attributes:
        architecture: Name of the network, in the registry or ``ensemble``.
        options: What :func:`changedet.models.registry.rebuild_model` builds it from.
        normalisation: How stored pixel values become network input, bands included.
        pixel_type: Kind of the stored values that it was trained on: ``uint8``, ``uint16`` or
            ``float32`` (everything else); files written before there was a choice hold ``uint8``.
        tile_px: Tile size that the network was trained on, in pixels.
        threshold: Score in [0, 1] from which a pixel is changed; None if none was chosen.
        threshold_source: How the threshold was chosen.
        selection_source: How these weights were chosen from those of the training, which stays
            when another threshold is; None if they were not, or the file is older than this field.
        test_time: Views of a tile whose scores are averaged, see
            :mod:`changedet.inference.views`; files written before there was a choice hold
            ``none``.
        label: How the training labels were encoded.
        metrics: Figures of merit, by name; an undefined one (NaN) becomes None in the file.
        data_name: What it was trained on.
        licence_note: Under which terms it may be used.
        recipe: The resolved configuration that trained it.
        blocks: Blocks of scenes that it was trained and its threshold chosen on, as
            :func:`changedet.data.rasters.provenance.record_blocks` gives them; None for pairs of
            files.
        source_bands: Bands of the rasters it was trained on, counted from 1, if they were chosen.
        source_bands_after: Those of the second date where they differ.
        package_version: Of the package that wrote the file.
        format_version: Of this layout.

    Raises:
        ConfigError: If the threshold is no score, the tile has no size, or there is no such pixel
            type or test-time augmentation.
    """

    architecture: str
    options: dict[str, Any]
    normalisation: Normalisation
    pixel_type: PixelType = "uint8"
    tile_px: int = 256
    threshold: float | None = None
    threshold_source: str | None = None
    selection_source: str | None = None
    test_time: TestTime = "none"
    label: dict[str, Any] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    data_name: str | None = None
    licence_note: str | None = None
    recipe: dict[str, Any] | None = None
    blocks: dict[str, Any] | None = None
    source_bands: tuple[int, ...] | None = None
    source_bands_after: tuple[int, ...] | None = None
    package_version: str = __version__
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"threshold must be a score in [0, 1], got {self.threshold:g}")
        if self.tile_px < 1:
            raise ConfigError(f"tile_px must be at least 1, got {self.tile_px}")
        check_choice("pixel_type", self.pixel_type, get_args(PixelType))
        check_choice("test_time", self.test_time, get_args(TestTime))

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON-able values."""
        return {key: _without_nan(value) for key, value in dataclasses.asdict(self).items()}


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
    metadata = {
        _CARD_KEY: json.dumps(card.to_dict(), allow_nan=False),
        _PARAMETERS_KEY: str(model.parameter_count),
        _PRECISION_KEY: precision,
    }
    write_bytes(path, safetensors.torch.save(tensors, metadata))


def checked_name(path: str | Path) -> Path:
    """Let a path through that a model file may have.

    Raises:
        ConfigError: If it has another ending.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ConfigError(f"a model file is a .safetensors, got {path.name!r}; rename it")
    return path


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
            network.
    """
    card = read_card(path)
    model = _rebuild(card, Path(path))
    with _opened(Path(path)) as file:
        tensors = _unpacked({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    _check_tensors(tensors, model.state_dict(), path=Path(path))
    model.load_state_dict(tensors)
    return model.to(device).eval(), replace(card, options=model.options)


def read_card(path: str | Path) -> ModelCard:
    """Read only what a model file says, not its weights.

    Raises:
        CheckpointError: If it is no model file, or is cut short.
    """
    path = Path(path)
    text = _metadata(path).get(_CARD_KEY)
    if text is None:
        raise CheckpointError(
            f"{path} holds tensors but no model card, so it is no changedet model; give one that "
            "`changedet train` made (as encoder weights: --set model.encoder_weights=FILE)"
        )
    try:
        return _card(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, ConfigError) as error:
        raise CheckpointError(
            f"{path} has a model card that cannot be read ({error}); update changedet, or write "
            "the file anew"
        ) from error


def read_parameter_count(path: str | Path) -> int | None:
    """Return the number of trainable values that a model file states, None if it does not.

    Raises:
        CheckpointError: If it is no model file, or is cut short.
    """
    count = _metadata(Path(path)).get(_PARAMETERS_KEY, "")
    return int(count) if count.isdecimal() else None


def read_precision(path: str | Path) -> str:
    """Return the type of the weights that a model file states; older files hold float32.

    Raises:
        CheckpointError: If it is no model file, or is cut short.
    """
    return _metadata(Path(path)).get(_PRECISION_KEY, "float32")


def _card(values: Mapping[str, Any]) -> ModelCard:
    if values["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"its format {values['format_version']} is newer than {FORMAT_VERSION}, "
            f"written by changedet {values.get('package_version')}"
        )
    stated: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values["normalisation"].items()
    }
    bands: dict[str, Any] = {
        name: tuple(values[name])
        for name in ("source_bands", "source_bands_after")
        if values.get(name) is not None
    }
    return ModelCard(**{**values, **bands, "normalisation": Normalisation(**stated)})


def _rebuild(card: ModelCard, path: Path) -> ChangeModel:
    try:
        return rebuild_model(card.architecture, card.options)
    except (ConfigError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be rebuilt: {error}") from error


def _check_tensors(
    stored: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], *, path: Path
) -> None:
    differences = tensor_differences(stored, wanted)
    if differences:
        raise CheckpointError(
            f"{path} does not hold the weights of the network that its card names: it "
            f"{summarise(differences)}; take the file from where it was written"
        )


def _metadata(path: Path) -> Mapping[str, str]:
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file, or say in one line what it is instead."""
    if not path.is_file():
        raise CheckpointError(
            f"there is no model file {path}; a run has its best one in RUN/best.safetensors"
        )
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file starts with the length of its JSON header, which may equal those bytes.
    if start.startswith(_PICKLE_STARTS) and not start.endswith(b"{"):
        raise CheckpointError(
            f"{path} is a pickle, which may run code and is never loaded; a public DASNet or "
            "DASNet-V2 checkpoint is turned into a model file with: "
            f"changedet convert {path} {path.with_suffix('.safetensors').name}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is no whole .safetensors file ({error}); copy or write it anew"
        ) from error


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
