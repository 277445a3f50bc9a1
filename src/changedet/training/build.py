"""The only place where settings turn into objects."""

import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from changedet.choices import nearest
from changedet.data.index import BandChoice, PairIndex, index_pairs
from changedet.data.labelled import LabelledPair
from changedet.data.labels.scan import LabelEncoding
from changedet.data.mixture_index import leave_out
from changedet.data.training.pairs import PairDataset
from changedet.data.training.sampling import EpochBatches
from changedet.data.training.transforms import PairSample
from changedet.errors import ConfigError
from changedet.kinds import ANY
from changedet.losses.distillation import TaughtLoss
from changedet.losses.margins import Margins
from changedet.losses.registry import LossOptions, build_pixel_losses
from changedet.losses.supervision import BranchLoss
from changedet.models.registry import create_model
from changedet.training.augmentation import build_augmentation
from changedet.training.config import (
    ExperimentConfig,
    LossConfig,
    TeacherConfig,
    trains_on_validation,
)
from changedet.training.model_config import ModelConfig
from changedet.training.trainer import TrainerSettings
from changedet.types import Branch, Normalisation, PixelType

if TYPE_CHECKING:
    from changedet.models.base import EncoderModel


def index_data(root: Path, config: ExperimentConfig) -> tuple[PairIndex, ExperimentConfig]:
    """Index the data set that the settings describe.

    Returns:
        The index, and the settings with ``model.in_channels`` and ``model.kinds``: where they were
        not set, they follow from the data.

    Raises:
        DataError: If the data set cannot be used.
        ConfigError: If the settings do not fit it.
    """
    is_set = "in_channels" in config.model.model_fields_set
    index = index_pairs(
        root,
        benchmark=config.data.benchmark,
        channels=config.model.in_channels if is_set else None,
        bands=BandChoice(config.data.source_bands, config.data.source_bands_after),
    )
    if config.data.held_out:
        index = leave_out(index, config.data.held_out)
    return index, with_kinds(with_channels(config, index.channels), index)


def with_channels(config: ExperimentConfig, channels: int) -> ExperimentConfig:
    """Settle ``model.in_channels`` by the data, unless it was set."""
    if "in_channels" in config.model.model_fields_set:
        return config
    model = config.model.model_copy(update={"in_channels": channels})
    return config.model_copy(update={"model": model})


def with_kinds(config: ExperimentConfig, index: PairIndex) -> ExperimentConfig:
    """Settle ``model.kinds`` by the data, unless it was set.

    Raises:
        ConfigError: If the network finds a kind of change that the data does not teach, or does not
            find one that it does.
    """
    mixture = index.mixture
    set_kinds: tuple[str, ...] | None = (
        config.model.options()["kinds"] if "kinds" in config.model.model_fields_set else None
    )
    if mixture is None:
        if set_kinds is not None and len(set_kinds) > 1:
            raise ConfigError(
                f"model.kinds names {len(set_kinds)} kinds of change ({', '.join(set_kinds)}), but "
                f"{index.root} is one data set, which teaches one; give a mixture of data sets "
                "(mixture.yaml), or name one kind"
            )
        return config
    kinds = set_kinds or mixture.kinds
    for name in kinds:
        if name not in mixture.kinds:
            raise ConfigError(
                f"no data set of {index.root} teaches the kind of change {name!r} (model.kinds); "
                f"{nearest(name, mixture.kinds)}"
            )
    for member in mixture.sets:
        if member.kind not in kinds:
            raise ConfigError(
                f"{member.name} of {index.root} labels the kind of change {member.kind!r}, which "
                f"model.kinds does not name ({', '.join(kinds)}); add it, or remove the set"
            )
    if "kinds" not in config.model.options():
        if len(kinds) > 1:
            raise ConfigError(
                f"{config.model.name} finds one kind of change, but the data sets of {index.root} "
                f"label {', '.join(kinds)}; use a network that classifies, such as "
                "model.name=siamese_pyramid, or sets of one kind"
            )
        return config
    model = config.model.model_copy(update={"kinds": kinds})
    return config.model_copy(update={"model": model})


def build_model(config: ModelConfig, *, pretrained: bool) -> "EncoderModel":
    """Make the model with its encoder weights.

    Args:
        config: The model's settings.
        pretrained: Whether to load the encoder weights that ``config`` names. Not needed where
            all weights are replaced afterwards, as in resuming.
    """
    source = config.encoder_weights if pretrained else False
    return create_model(config.name, pretrained=source, **config.options())


def build_seeded_model(config: ExperimentConfig, *, pretrained: bool) -> "EncoderModel":
    """Make the model with initial weights that only depend on ``training.seed``.

    The caller's random state is left as it was.

    Args:
        config: The experiment's settings.
        pretrained: As for :func:`build_model`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        return build_model(config.model, pretrained=pretrained)


def build_loss(
    config: LossConfig,
    model: ModelConfig,
    *,
    changed_share: float | None,
    teacher: TeacherConfig | None = None,
) -> BranchLoss | TaughtLoss:
    """Make the loss.

    Args:
        config: The loss's settings.
        model: The settings of the model it is for.
        changed_share: Share of changed pixels p measured from the training labels; the setting
            ``loss.changed_share`` wins over it.
        teacher: Settings of the teachers; with none, only the labels teach.
    """
    share = config.changed_share if config.changed_share is not None else changed_share
    options = LossOptions(
        # A network that compares no embeddings is read as if it gave L2 distances.
        distance=model.options().get("distance", "l2"),
        changed_share=share if config.weighting == "weighted" else None,
        margins=Margins(*config.margins) if config.margins is not None else None,
    )
    # The weights of branches that the network does not have have nothing to act on.
    weights: dict[Branch, float] = {
        branch: getattr(config.branch_weights, branch) for branch in model.traits().branch_names
    }
    own = BranchLoss(
        build_pixel_losses(config.terms, options),
        branch_weights=weights,
        level_weights=config.level_weights,
    )
    if teacher is None or not teacher.models:
        return own
    return TaughtLoss(own, weight=teacher.weight, temperature=teacher.temperature)


def build_optimizer(config: ExperimentConfig, model: "EncoderModel") -> torch.optim.Optimizer:
    """Make the optimiser over all parameters."""
    settings = config.optimizer
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    if settings.encoder_lr_factor == 1.0:
        return kind(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    encoder = set(model.encoder.parameters())
    rest = [parameter for parameter in model.parameters() if parameter not in encoder]
    groups = [
        {"params": list(model.encoder.parameters()), "lr_factor": settings.encoder_lr_factor},
        {"params": rest, "lr_factor": 1.0},
    ]
    return kind(groups, lr=settings.lr, weight_decay=settings.weight_decay)


def build_loader(
    pairs: Sequence[LabelledPair],
    config: ExperimentConfig,
    *,
    encoding: LabelEncoding,
    device: torch.device,
    pixel_type: PixelType = "uint8",
    fill: Normalisation | None = None,
    gsd_m: float | None = None,
    rank: int = 0,
    world: int = 1,
) -> tuple[DataLoader[PairSample], EpochBatches]:
    """Make the training batches and the sampler that orders them.

    Args:
        pairs: Labelled pairs to train on.
        config: The experiment's settings.
        encoding: What the labels' values mean.
        device: Where the batches go.
        pixel_type: Kind of the stored values.
        fill: Statistics of the model, whose means stand where a scene holds no image.
        gsd_m: Ground sample distance of the images in metres; the sets of a mixture have their own.
        rank: Number of this process, whose share of every batch is loaded.
        world: Number of processes that train together.
    """
    dataset = PairDataset(
        pairs,
        encoding=encoding,
        crop_px=config.data.crop_px,
        seed=config.training.seed,
        augmentation=build_augmentation(config, pixel_type=pixel_type),
        channels=config.model.in_channels,
        pixel_type=pixel_type,
        fill=fill,
        cache=config.data.cache,
        crops_per_pair=config.data.crops_per_pair,
        kinds=config.model.options().get("kinds", (ANY,)),
        gsd_m=gsd_m,
        working_gsd_m=config.data.working_gsd_m,
    )
    sampler = EpochBatches(
        len(dataset),
        batch_size=config.training.batch_size,
        seed=config.training.seed,
        rank=rank,
        world=world,
    )
    workers = config.data.workers
    loader: DataLoader[PairSample] = DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        # Forked workers would share the parent's network connections.
        multiprocessing_context="spawn" if workers and any(p.is_remote for p in pairs) else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=_ignore_interrupts,
    )
    return loader, sampler


def end_workers(loader: DataLoader[PairSample]) -> None:
    """End the processes that read for a loader.

    Left to the end of Python, they are waited for in vain: they outlive the signal that Python
    then sends them, as they outlive one that is meant for the whole run.
    """
    iterator = loader._iterator
    loader._iterator = None
    if isinstance(iterator, _MultiProcessingDataLoaderIter):
        iterator._shutdown_workers()


def build_settings(config: ExperimentConfig, device: torch.device) -> TrainerSettings:
    """Make the trainer's settings for a device."""
    training = config.training
    taken = {field.name for field in fields(TrainerSettings)}
    return TrainerSettings(
        **training.model_dump(include=taken),
        keep="last" if trains_on_validation(config.data) else "best",
        autocast=choose_precision(training.precision, device).autocast,
    )


class ComputePrecision(NamedTuple):
    """Numbers that a network trains with, and the same in words."""

    autocast: torch.dtype | None
    text: str


def choose_precision(
    wanted: Literal["auto", "fp32", "bf16"], device: torch.device
) -> ComputePrecision:
    """Settle the precision of training: bfloat16 where the device computes with it by itself.

    Older GPUs, such as the RTX 2080 Ti of the DASNet-V2 document, only emulate it, which is slower
    than float32.

    Args:
        wanted: The setting ``training.precision``.
        device: Where the network trains.
    """
    is_gpu = device.type == "cuda"
    is_native = is_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "bf16" or (wanted == "auto" and is_native):
        note = ", which this GPU only emulates" if is_gpu and not is_native else ""
        return ComputePrecision(torch.bfloat16, f"bfloat16{note}")
    note = ": this GPU has no native bfloat16" if is_gpu and not is_native else ""
    return ComputePrecision(None, f"float32{note}")


def _ignore_interrupts(worker: int) -> None:
    """Leave signals to the main process, which ends the workers after it has saved.

    They reach the whole group of processes: Ctrl-C, a closed terminal, a queue that ends a job.
    """
    import signal

    def outlive_once(number: int, frame: object) -> None:
        # The main process, too, ends a worker in this way if it must.
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, outlive_once)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
