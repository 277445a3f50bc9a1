"""Checkpoints of the public DASNet and DASNet-V2 code; all of its names live here."""

import re
from pathlib import Path

from torch import Tensor

from changedet.card import ModelCard
from changedet.errors import CheckpointError
from changedet.models.base import ChangeModel
from changedet.models.model_file import save_model
from changedet.models.registry import create_model
from changedet.models.tensor_file import read_tensors, require_finite, tensor_differences
from changedet.selection import Selection
from changedet.storage.text import first_few
from changedet.types import CDD_NORMALISATION, Attention, Distance, Normalisation

#: Upstream's start of a name, and ours.
_RENAMED = {
    "CNN.pretrained.": "encoder.backbone.",
    "CNN.head.conv5a.": "head.position.reduce.",
    "CNN.head.sa.": "head.position.attention.",
    "CNN.head.conv51.": "head.position.refine.",
    "CNN.head.conv5c.": "head.channel.reduce.",
    "CNN.head.sc.": "head.channel.attention.",
    "CNN.head.conv52.": "head.channel.refine.",
    "CNN.head.conv6.1.": "head.project_position.project.",
    "CNN.head.conv7.1.": "head.project_channel.project.",
    "CNN.head.conv8.1.": "head.project_fused.project.",
    "decoder.UpBlock1.": "decoder.blocks.0.",
    "decoder.UpBlock2.": "decoder.blocks.1.",
    "decoder.UpBlock3.": "decoder.blocks.2.",
}
#: ImageNet's classifier, which upstream keeps in the encoder and never uses.
_UNUSED = "CNN.pretrained.fc."
_PROJECTION_SUFFIX = re.compile(r"(?<=attention\.)(query|key|value)_conv(?=\.)")

_LICENCE_NOTE = (
    "converted from a checkpoint of the public DASNet or DASNet-V2 code, which states no licence: "
    "ask its authors before passing it on"
)


def convert_checkpoint(
    source: Path,
    target: Path,
    *,
    distance: Distance = "l2",
    normalisation: Normalisation = CDD_NORMALISATION,
    threshold: float | None = None,
) -> ModelCard:
    """Turn a public ``.pth`` into a model file.

    Args:
        source: The checkpoint; the weights may lie under ``net`` or ``state_dict``.
        target: The model file to write, a ``.safetensors``.
        distance: How the network compares embeddings, which the checkpoint does not say.
        normalisation: What it was trained with, which the checkpoint does not say.
        threshold: Score from which a pixel counts as changed, in [0, 1].

    Returns:
        The card that was written.

    Raises:
        CheckpointError: If the checkpoint is unsafe, broken or of another network.
        ConfigError: If the threshold is no score, or the target has another ending.
        StorageError: If it cannot be written.
    """
    model = read_checkpoint(source, distance=distance)
    card = ModelCard(
        architecture=model.architecture,
        options=model.options,
        normalisation=normalisation,
        threshold=threshold,
        threshold_selection=None if threshold is None else Selection("conversion"),
        licence_note=_LICENCE_NOTE,
    )
    save_model(target, model, card)
    return card


def read_checkpoint(path: Path, *, distance: Distance = "l2") -> ChangeModel:
    """Rebuild the network of a public ``.pth``, in eval mode.

    With a decoder it is DASNet-V2, without DASNet; attentions that are missing are off.

    Raises:
        CheckpointError: If the checkpoint is unsafe, broken or of another network.
    """
    stored = {
        _rename(name): tensor
        for name, tensor in read_tensors(path).items()
        if not name.startswith(_UNUSED)
    }
    has_decoder = any(name.startswith("decoder.") for name in stored)
    model = create_model(
        "dasnet_v2" if has_decoder else "dasnet",
        distance=distance,
        attention=_attention(stored),
    )
    differences = tensor_differences(stored, model.state_dict())
    if differences:
        raise CheckpointError(
            f"{path} is not a checkpoint of the public {model.architecture}: in this package's "
            f"names, it {first_few(differences, separator='; ')}; only DASNet and DASNet-V2 convert"
        )
    require_finite(stored, path)
    model.load_state_dict(stored)
    return model.eval()


def _rename(name: str) -> str:
    for old, new in _RENAMED.items():
        if name.startswith(old):
            return _PROJECTION_SUFFIX.sub(r"\1", new + name.removeprefix(old))
    return name


def _attention(stored: dict[str, Tensor]) -> Attention:
    has_position = any(name.startswith("head.position.attention.") for name in stored)
    has_channel = any(name.startswith("head.channel.attention.") for name in stored)
    if has_position:
        return "dual" if has_channel else "position"
    return "channel" if has_channel else "none"
