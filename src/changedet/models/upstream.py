"""Checkpoints of the public DASNet and DASNet-V2 code; all of its names live here."""

import json
import re
from dataclasses import fields
from pathlib import Path

from torch import Tensor

from changedet.card import ModelCard
from changedet.errors import CheckpointError, ConfigError
from changedet.models.base import ChangeModel
from changedet.models.model_file import save_model
from changedet.models.registry import create_model
from changedet.models.tensor_file import read_tensors, tensor_differences
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

_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)
#: ImageNet's statistics in units of 8-bit values, for both dates.
IMAGENET_NORMALISATION = Normalisation(
    mean_before=_IMAGENET_MEAN,
    mean_after=_IMAGENET_MEAN,
    std_before=_IMAGENET_STD,
    std_after=_IMAGENET_STD,
)
_NAMED_NORMALISATIONS = {"seed": CDD_NORMALISATION, "imagenet": IMAGENET_NORMALISATION}
_NUMBERS_EXPECTED = 6
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
    model.load_state_dict(stored)
    return model.eval()


def parse_normalisation(text: str) -> Normalisation:
    """Read the normalisation of a converted network, as set by the user.

    Args:
        text: ``"seed"`` (CDD's means, spec 3), ``"imagenet"``, six numbers
            ``b,g,r,b,g,r`` (means of the before and after date in BGR order, in units of 8-bit
            values, as in the public configuration), or a JSON file with the fields of
            ``Normalisation``.

    Raises:
        ConfigError: If it is none of these.
    """
    if text in _NAMED_NORMALISATIONS:
        return _NAMED_NORMALISATIONS[text]
    if text.endswith(".json"):
        return _read_normalisation(Path(text))
    try:
        means = tuple(float(number) for number in text.split(","))
    except ValueError:
        means = ()
    if len(means) != _NUMBERS_EXPECTED:
        raise ConfigError(
            f"normalisation must be seed, imagenet, six comma-separated means (before b,g,r then "
            f"after b,g,r) or a .json file, got {text!r}"
        )
    return Normalisation(
        mean_before=means[:3],
        mean_after=means[3:],
        std_before=CDD_NORMALISATION.std_before,
        std_after=CDD_NORMALISATION.std_after,
        bands="bgr",
    )


def _read_normalisation(path: Path) -> Normalisation:
    names = [field.name for field in fields(Normalisation)]
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        statistics = {name: tuple(float(v) for v in stated[name]) for name in names[:-1]}
        bands = stated["bands"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"normalisation file {path} cannot be used ({error!r}); it needs the keys "
            f"{', '.join(names)}, the first four with one number a channel"
        ) from error
    if bands not in ("rgb", "bgr"):
        raise ConfigError(f"normalisation file {path}: bands must be rgb or bgr, got {bands!r}")
    return Normalisation(**statistics, bands=bands)


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
