"""Reading tensors from ``.safetensors`` and ``.pth`` files without running anything in them."""

import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from changedet.errors import CheckpointError
from changedet.storage.text import first_few, is_file

#: Keys under which training scripts store the weights next to an optimiser's state.
_WRAPPERS = ("net", "state_dict", "model", "model_state_dict")
# Of the length of the header; the data begin at a multiple of it.
_LENGTH_BYTES = 8
#: What a broken file can make the restricted unpickler raise.
_BROKEN = (
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    OSError,
    MemoryError,
    zipfile.BadZipFile,
    struct.error,
)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a state dict: bare, or wrapped as training scripts do, prefixes ``module.`` removed.

    Raises:
        CheckpointError: If there is no file, it is broken, holds more than tensors and plain
            values, or holds no tensors.
    """
    if not is_file(path):
        raise CheckpointError(
            f"there is no weights file {path}; give the path of a .safetensors or .pth"
        )
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    tensors = _state_dict(content)
    odd = [name for name, tensor in tensors.items() if not _is_plain(tensor)]
    if odd:
        raise CheckpointError(
            f"{path} has tensors that hold less than their shapes say, or of a kind that is not "
            f"used here: {first_few(odd)}; give a checkpoint of plain tensors"
        )
    if not tensors:
        raise CheckpointError(
            f"{path} has no state dict; expected names and tensors, bare or under one of "
            f"{', '.join(_WRAPPERS)}; give a checkpoint of a network"
        )
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def serialise(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Give the content of a ``.safetensors`` file: the same for the same tensors and metadata.

    The library writes metadata in an order that changes from process to process.

    Args:
        tensors: By name.
        metadata: Texts by name.
    """
    content = safetensors.torch.save(dict(tensors), dict(metadata))
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length])
    header.pop("__metadata__")
    ordered = {"__metadata__": dict(sorted(metadata.items())), **dict(sorted(header.items()))}
    text = json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    data = memoryview(content)[_LENGTH_BYTES + length :]
    return b"".join((len(text).to_bytes(_LENGTH_BYTES, "little"), text, data))


def require_finite(tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse weights that no network can score with.

    Args:
        tensors: Weights and running statistics by name.
        path: Of their file, for the message.

    Raises:
        CheckpointError: If one holds NaN or infinity.
    """
    broken = [
        name
        for name, value in tensors.items()
        if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if broken:
        raise CheckpointError(
            f"{path} has weights that are not finite numbers (NaN or infinite) in "
            f"{first_few(broken)}: its training diverged or the file is damaged; use another one"
        )


def tensor_differences(stored: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Name in words what keeps ``stored`` from being loaded where ``wanted`` is."""
    return [
        *(f"lacks {name}" for name in wanted if name not in stored),
        *(f"has an extra {name}" for name in stored if name not in wanted),
        *(
            f"has {name} as {tuple(stored[name].shape)}, not {tuple(wanted[name].shape)}"
            for name in wanted
            if name in stored and stored[name].shape != wanted[name].shape
        ),
    ]


def _read_safetensors(path: Path) -> object:
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is truncated or not a safetensors file ({error}); copy or export it again"
        ) from error


def _is_plain(tensor: Tensor) -> bool:
    """Tell whether all values of a tensor lie in the file: a few bytes may stand for gigabytes."""
    return (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )


def _refuse_compressed(path: Path) -> None:
    """Refuse an archive whose parts become larger than it is: PyTorch compresses nothing."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > path.stat().st_size:
        raise CheckpointError(
            f"{path} is a compressed archive of {unpacked:,} bytes, which PyTorch does not write; "
            "unpack it, or save the checkpoint again"
        )


def _read_pickle(path: Path) -> object:
    try:
        _refuse_compressed(path)
        with warnings.catch_warnings():
            # About pickle protocols: either the file is read, or the error below says why not.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message goes on to suggest weights_only=False, so it is left out.
        raise CheckpointError(
            f"{path} is refused: it is damaged, or contains more than tensors and plain values and "
            "could run code; if you trust it, save its state dict alone"
        ) from error
    except _BROKEN as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read as a PyTorch checkpoint ({reason}); copy it again"
        ) from error


def _state_dict(content: object) -> dict[str, Tensor]:
    """Find the names and tensors in what a file held; empty if there are none."""
    if not isinstance(content, dict):
        return {}
    inner = [content[name] for name in _WRAPPERS if isinstance(content.get(name), dict)]
    entries: dict[object, object] = inner[0] if inner else content
    tensors = {
        name: value
        for name, value in entries.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    return tensors if len(tensors) == len(entries) else {}
