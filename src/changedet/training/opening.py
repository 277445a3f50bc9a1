"""What a training run says of itself before it begins: where, on what, with what, how large."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from changedet.data.index import PairIndex
from changedet.models.base import EncoderModel
from changedet.training.config import ExperimentConfig, TrainingConfig, dump_settings
from changedet.training.validation import choose_heatmaps

# Adam keeps two moments of each trained value.
_MOMENTS = 2


def device_note(device: torch.device, *, processes: int = 1) -> str:
    """Say where a run computes."""
    own = _own_device(device)
    if processes == 1:
        return own
    return f"{own}; {processes} processes share every batch"


def _own_device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"device: {device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"device: cpu ({threads} thread{'' if threads == 1 else 's'})"
    return f"device: {device}"


def data_note(index: PairIndex, config: ExperimentConfig) -> str:
    """Say what a run is trained on and validated by, and how large its images are."""
    data = config.data
    counts = [f"{len(pairs)} {name}" for name, pairs in index.splits.items()]
    height, width = index.split(data.train_split)[0].size()
    return (
        f"data: {index.name}, {', '.join(counts)} pairs, such as {width}x{height} px, "
        f"{config.model.in_channels} bands of {index.pixel_type}; trained on {data.train_split}, "
        f"chosen by {data.val_split}"
    )


def network_note(config: ExperimentConfig, model: EncoderModel, *, start: Path | str | None) -> str:
    """Say what is trained, and where its weights come from.

    Args:
        config: Settings of the run.
        model: The network.
        start: Model file that all weights come from, or ``"checkpoint"`` for those of the run
            itself; None: those of the encoder come from where the settings say.
    """
    sources = {
        "none": "random weights",
        "hub": "encoder weights from timm's hub",
        "package": "ImageNet weights of the installed package",
    }
    weights = sources.get(
        config.model.encoder_weights, f"encoder weights of {config.model.encoder_weights}"
    )
    if start == "checkpoint":
        weights = "weights of the last checkpoint"
    elif start is not None:
        weights = f"weights of {start}"
    return (
        f"network: {config.model.name} on {config.model.encoder}, "
        f"{model.parameter_count / 1e6:.2f} M parameters, {weights}"
    )


def opening_notes(
    config: ExperimentConfig,
    model: nn.Module,
    *,
    precision: str,
    out: Path,
    validation_images: int,
) -> Iterator[str]:
    """Give a sentence for each thing that a user may want otherwise before hours of work.

    Args:
        config: Settings of the run.
        model: The network that is trained.
        precision: Numbers that it trains with, in words.
        out: Folder of the run, which need not exist.
        validation_images: Pairs of the validation split.
    """
    yield f"precision: {precision}"
    margins = dump_settings(config)["loss"]["margins"]
    if margins is not None:
        distance = config.model.options().get("distance", "l2")
        yield "loss: {} distance, margins {:g} (unchanged), {:g} (changed)".format(
            distance, *margins
        )
    yield _disk_note(checkpoint_bytes(model, config.training), out)
    maps = len(choose_heatmaps(validation_images, config.training))
    if maps < len(range(0, validation_images, config.training.heatmap_every)):
        yield (
            f"heat maps: {maps} of the {validation_images} validation images at each validation; "
            "`training.max_heatmaps` limits them"
        )


def checkpoint_bytes(model: nn.Module, training: TrainingConfig) -> int:
    """Bytes of all files with weights that a run keeps.

    ``checkpoints/last.safetensors`` holds the weights, their average and the optimiser's state;
    ``best.safetensors`` and each kept best model hold the weights.

    Args:
        model: The network that is trained.
        training: How many best models are kept, and whether the weights are averaged.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    trained = sum(value.numel() * value.element_size() for value in model.parameters())
    averages = 0 if training.ema_decay is None else 1
    last = weights * (1 + averages) + _MOMENTS * trained
    return int(last + weights * (training.keep_best + 1))


def _disk_note(needed: int, folder: Path) -> str:
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    text = f"disk: {_size(needed)} for checkpoints in {folder}"
    return text if free >= needed else f"WARNING: {text}, but only {_size(free)} are free there"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
