"""The card of a model file, read, checked and replaced without PyTorch."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from changedet.card.format_1 import upgrade_card
from changedet.card.model_card import FORMAT_VERSION, ModelCard
from changedet.errors import CheckpointError, ConfigError
from changedet.storage import onnx_file
from changedet.storage.atomic import write_bytes
from changedet.storage.text import first_few, is_file
from changedet.types import Precision

#: Metadata keys of the card, the number of parameters and the type of the weights.
CARD_KEY = "changedet"
PARAMETERS_KEY = "parameters"
PRECISION_KEY = "precision"
#: Characters of the largest card that is read; cards of many scenes have some thousands.
_MOST_CHARACTERS = 16_000_000
# Digits of the largest number of parameters that is believed.
_LONGEST_COUNT = 18
_LENGTH_BYTES = 8
#: A zip archive (what torch.save writes), or a bare pickle of protocol 2 to 5 (older ones).
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class _Scene(BaseModel):
    name: str
    before: str
    crs: str | None
    transform: tuple[float, float, float, float, float, float]
    training: list[tuple[int, int, int, int]]
    validation: list[tuple[int, int, int, int]]


class _Blocks(BaseModel):
    gap_px: int
    scenes: list[_Scene]


class _Label(BaseModel):
    kind: str | None = None
    changed: list[int]
    ignore_value: int | None = None


class _DataSet(BaseModel):
    name: str | None = None
    train_split: str | None = None
    val_split: str | None = None


class _Recipe(BaseModel):
    data: dict[str, Any] = {}
    data_sets: list[_DataSet] = []


class _FreeParts(BaseModel):
    """What the program reads inside those parts of a card that may hold anything."""

    label: _Label | None = None
    recipe: _Recipe | None = None
    blocks: _Blocks | None = None


def checked_name(path: str | Path) -> Path:
    """Let a path through that a model file may have.

    Raises:
        ConfigError: If it has another ending.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ConfigError(f"a model file must end in .safetensors, got {path.name!r}; rename it")
    return path


def is_exported(path: str | Path) -> bool:
    """Tell by its name whether a model file is one that ``changedet export`` wrote."""
    return Path(path).suffix.lower() == onnx_file.SUFFIX


def read_card(path: str | Path) -> ModelCard:
    """Read only what a model file says, not its weights.

    Raises:
        CheckpointError: If it is no model file, or is cut short.
    """
    path = Path(path)
    text = _metadata(path).get(CARD_KEY)
    if text is None:
        raise CheckpointError(
            f"{path} has tensors but no model card: not a changedet model; expected a file written "
            "by `changedet train` (to use it as encoder weights: `model.encoder_weights=FILE`)"
        )
    if len(text) > _MOST_CHARACTERS:
        raise _unreadable(path, f"it has {len(text):,} characters")
    try:
        return _card(json.loads(text))
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))[:200] or 'the card'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise _unreadable(path, first_few(faults, separator="; ")) from error
    except (ValueError, TypeError, KeyError, RecursionError, ConfigError) as error:
        raise _unreadable(path, str(error)) from error


def replace_card(source: Path, target: Path, card: ModelCard) -> None:
    """Write a model file again with another card; its tensors stay as they are, byte by byte.

    Args:
        source: The model file.
        target: The file to write, which may be the same.
        card: The new card; the network must be that of the file.

    Raises:
        CheckpointError: If ``source`` is no model file, or an exported one.
        StorageError: If ``target`` cannot be written.
    """
    read_card(source)
    refuse_exported(source)
    content = source.read_bytes()
    # A safetensors file: the length of its header, the header as JSON, the tensors.
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = json.loads(content[_LENGTH_BYTES:start])
    stated = dataclasses.replace(card, format_version=FORMAT_VERSION)
    header["__metadata__"][CARD_KEY] = json.dumps(stated.to_dict(), allow_nan=False)
    text = json.dumps(header, separators=(",", ":")).encode()
    # Readers map the tensors into memory: they begin at a multiple of eight bytes.
    text += b" " * (-len(text) % _LENGTH_BYTES)
    length = len(text).to_bytes(_LENGTH_BYTES, "little")
    write_bytes(checked_name(target), length + text + content[start:])


def read_parameter_count(path: str | Path) -> int | None:
    """Return the number of trainable values that a model file states, None if it does not.

    Raises:
        CheckpointError: If it is no model file, or is cut short.
    """
    count = _metadata(Path(path)).get(PARAMETERS_KEY, "")
    return int(count) if count.isdecimal() and len(count) <= _LONGEST_COUNT else None


def read_precision(path: str | Path) -> str:
    """Return the type of the weights that a model file states; older files hold float32.

    Raises:
        CheckpointError: If it is no model file, is cut short, or there is no such type.
    """
    stated = _metadata(Path(path)).get(PRECISION_KEY, "float32")
    if stated not in get_args(Precision):
        raise _unreadable(Path(path), f"weights of the type {stated[:80]!r}")
    return stated


def _card(values: object) -> ModelCard:
    if isinstance(values, dict):
        version = values["format_version"]
        if version > FORMAT_VERSION:
            raise ValueError(
                f"its format {version} is newer than {FORMAT_VERSION}, "
                f"written by changedet {values.get('package_version')}"
            )
        if version == 1:
            values = upgrade_card(values)
    # As JSON again, in which a list may stand for a tuple without loosening anything else.
    text = json.dumps(values)
    card = _card_adapter().validate_json(text)
    _FreeParts.model_validate_json(text, strict=True)
    return card


@cache
def _card_adapter() -> TypeAdapter[ModelCard]:
    return TypeAdapter(ModelCard)


def _unreadable(path: Path, fault: str) -> CheckpointError:
    return CheckpointError(
        f"{path} has a model card that cannot be read ({fault}); update changedet, or write the "
        "file again"
    )


def _metadata(path: Path) -> Mapping[str, str]:
    if is_exported(path):
        return onnx_file.read_metadata(path)
    with open_tensors(path) as file:
        return file.metadata() or {}


def refuse_exported(path: Path) -> None:
    """Refuse an exported model where its weights or its card are to be changed.

    Raises:
        CheckpointError: If it is one.
    """
    if is_exported(path):
        raise CheckpointError(
            f"{path} is an exported model, which scores images but cannot be changed or trained "
            "further; give the model file that it was exported from (.safetensors)"
        )


@contextmanager
def open_tensors(path: Path, *, framework: Literal["np", "pt"] = "np") -> Iterator[Any]:
    """Open a safetensors file, or say in one line what it is instead.

    Args:
        path: Of the file.
        framework: What its tensors are given as: NumPy arrays, or tensors of PyTorch.

    Raises:
        CheckpointError: If it is no whole safetensors file.
    """
    if not is_file(path):
        raise CheckpointError(
            f"there is no model file {path}; a training run saves its best one as "
            "RUN/best.safetensors"
        )
    refuse_exported(path)
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
        with safe_open(path, framework=framework) as file:
            yield file
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is truncated or not a safetensors file ({error}); copy or export it again"
        ) from error
