"""The sections of an experiment's settings, with their ranges and defaults."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from changedet.card import LARGEST_TILE_PX
from changedet.errors import ConfigError
from changedet.losses.registry import loss_row
from changedet.storage.validation import Section
from changedet.training.model_config import DEFAULT_MODEL, AnyModelConfig, config_of
from changedet.types import Bands, Mode, TestTime

Share = Annotated[float, Field(ge=0.0, le=1.0)]
GSD = Annotated[float, Field(gt=0.0, le=10_000.0)]
# Variations that earlier versions had.
_REMOVED_AUGMENTATION: Final = frozenset({"statistics_swap", "fourier_swap"})
BandNumbers = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


def _known_loss(name: str) -> str:
    try:
        loss_row(name)
    except ConfigError as error:
        raise PydanticCustomError("unknown_name", str(error)) from error
    return name


class BranchWeights(Section):
    """Weights of the three loss terms, the lambdas of spec 2."""

    position: float = Field(1.0, ge=0.0)
    channel: float = Field(1.0, ge=0.0)
    fused: float = Field(1.0, ge=0.0)


class LossConfig(Section):
    """A weighted sum of pixel losses, over branches and levels (spec 1.6 and 2)."""

    terms: dict[Annotated[str, AfterValidator(_known_loss)], float] = Field(
        {"wdmc": 1.0},
        description="weights by name, see changedet.losses.registry",
    )
    weighting: Literal["weighted", "unweighted"] = "weighted"
    changed_share: float | None = Field(
        None, gt=0.0, lt=1.0, description="default: measured from the training labels"
    )
    margins: tuple[float, float] | None = Field(
        None, description="(unchanged, changed); default: by distance"
    )
    branch_weights: BranchWeights = BranchWeights()
    level_weights: tuple[float, ...] | None = Field(
        None, description="weights of the decoder levels, coarse to fine (spec 1.5); default: off"
    )


def _listed(value: object) -> object:
    """Take a single name for a list of one."""
    return (value,) if isinstance(value, str) else value


class TeacherConfig(Section):
    """Trained models whose scores are learnt beside the labels (Hinton et al. 2015)."""

    models: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (),
        max_length=16,
        description="model files, runs or names; of several, the mean score teaches. Default: none",
    )
    weight: float = Field(0.5, gt=0.0, le=1.0, description="the teacher's share of the loss")
    temperature: float = Field(
        1.0, gt=0.0, le=100.0, description="logits of both are divided by it"
    )


class AugmentationConfig(Section):
    """Random changes to a training pair; everything is off by default."""

    horizontal_flip: Share = 0.0
    vertical_flip: Share = 0.0
    quarter_turns: Share = 0.0
    scale: tuple[float, float] | None = None
    brightness: float = Field(0.0, ge=0.0)
    contrast: float = Field(0.0, ge=0.0)
    saturation: float = Field(0.0, ge=0.0)
    hue: float = Field(0.0, ge=0.0, le=0.5)
    swap_dates: Share = 0.0
    shift_px: float = Field(0.0, ge=0.0)
    match_histograms: Share = 0.0
    paste: Share = 0.0
    sensor: Share = 0.0

    @model_validator(mode="before")
    @classmethod
    def _without_removed(cls, values: object) -> object:
        """Let settings of earlier versions through that have no meaning any more."""
        if not isinstance(values, Mapping):
            return values
        for name in _REMOVED_AUGMENTATION & values.keys():
            if values[name] not in (0, None):
                raise PydanticCustomError(
                    "removed_setting",
                    "{name} is gone, since it gained nothing on images of other places; remove it",
                    {"name": name},
                )
        return {key: value for key, value in values.items() if key not in _REMOVED_AUGMENTATION}


class DataConfig(Section):
    """Which pairs, how they are read and normalised."""

    benchmark: str | None = Field(None, description="a named benchmark; default: layout detected")
    held_out: tuple[str, ...] = Field(
        (),
        description="data sets of a mixture that are left out: neither trained nor validated on; "
        "an ablation evaluates its rows on them",
    )
    train_split: str = Field(
        "train",
        description="or several splits, joined as train+val, for a final model that nothing is "
        "chosen for any more",
    )
    val_split: str = "val"
    crop_px: int = Field(256, ge=8, le=LARGEST_TILE_PX)
    tile_px: int | None = Field(
        None,
        ge=8,
        le=LARGEST_TILE_PX,
        description="tile in validation and prediction; default, and the only choice with "
        "attention: crop_px",
    )
    bands: Bands = "rgb"
    source_bands: BandNumbers | None = Field(
        None,
        description="bands of rasters that are read, from 1, in the model's order; default: all "
        "that hold no mask",
    )
    source_bands_after: BandNumbers | None = Field(
        None, description="those of the second date; default: source_bands"
    )
    normalisation: Literal["mean", "mean_std", "encoder"] = Field(
        "mean_std",
        description="per date: subtract the training images' mean, or also divide by their "
        "standard deviation; 'encoder': what the encoder's weights were trained with (8-bit RGB)",
    )
    changed_crops: Share = Field(
        0.0, description="share of the crops that are redrawn until they show some change"
    )
    ignore_value: int | None = Field(None, ge=0, le=255)
    changed_values: tuple[int, ...] | None = None
    evaluation: Mode = "whole"
    test_time: TestTime = Field(
        "none",
        description="views of a tile whose scores are averaged in validation, and in prediction "
        "from then on",
    )
    crops_per_pair: int = Field(
        1, ge=1, description="crops that an epoch takes of each pair of images"
    )
    gsd_m: tuple[float, ...] | None = Field(
        None,
        min_length=1,
        max_length=2,
        description="ground sample distance of the images in metres, or the smallest and the "
        "largest one, for the model's card; default: measured where images are georeferenced",
    )
    working_gsd_m: tuple[GSD, GSD] | None = Field(
        None,
        description="range of ground sample distances in metres that images are brought to by "
        "resampling, in training and in prediction from then on; default: images are taken as they "
        "are",
    )
    change_kind: str | None = Field(
        None, description="kind of change that is labelled, in words, for the model's card"
    )
    generated: bool = Field(
        default=False, description="the images are drawn by a program, which the model's card says"
    )
    region: str | None = Field(
        None, description="where the images were taken, in words, for the model's card"
    )
    workers: int = Field(2, ge=0)
    cache: Literal["none", "memory"] = "none"


class OptimizerConfig(Section):
    """Optimiser; the schedule multiplies nothing, it sets the rate."""

    name: Literal["adam", "adamw"] = "adam"
    lr: float = Field(1e-4, gt=0.0)
    weight_decay: float = Field(5e-5, ge=0.0)
    encoder_lr_factor: float = Field(
        1.0, gt=0.0, description="learning rate of the encoder, as a factor of the schedule's"
    )


class ScheduleConfig(Section):
    """Learning rate over time."""

    kind: Literal["constant", "table", "cosine"] = "constant"
    steps: tuple[tuple[int, float], ...] = Field(
        (), description="for 'table': [last epoch, learning rate] rows"
    )
    warmup_epochs: float = Field(0.0, ge=0.0)
    final_lr: float = Field(0.0, ge=0.0)


class TrainingConfig(Section):
    """Length, batches, intervals (in batches) and numerics."""

    epochs: int = Field(80, ge=1)
    batch_size: int = Field(4, ge=1, description="of all processes together")
    accumulate: int = Field(1, ge=1, description="batches per optimiser step")
    clip_norm: float | None = Field(None, gt=0.0)
    ema_decay: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="moving average of the weights, which is what gets evaluated",
    )
    seed: int = Field(0, ge=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    sync_batch_norm: bool = Field(
        default=True,
        description="of several processes: batch norms use the whole batch, not each process's "
        "share of it; one process has all of it anyway",
    )
    validate_every: int = Field(1000, ge=1)
    validate_every_epochs: int = Field(1, ge=1, description="at the end of every n-th epoch")
    log_every: int = Field(20, ge=1)
    checkpoint_every: int = Field(200, ge=1)
    keep_best: int = Field(3, ge=1)
    select_by: Literal["mean", "worst"] = Field(
        "mean",
        description="on a mixture of data sets, whether the best model has the highest mean F1 "
        "over the sets, or the highest F1 on the worst of them",
    )
    heatmap_every: int = Field(20, ge=1, description="every n-th validation image gets one")
    max_heatmaps: int | None = Field(
        8, ge=0, description="most heat maps of one validation; null: no limit"
    )


class ExperimentConfig(Section):
    """One complete, runnable experiment."""

    name: str = "experiment"
    description: str = ""
    model: AnyModelConfig = config_of(DEFAULT_MODEL)()
    loss: LossConfig = LossConfig()
    teacher: TeacherConfig = TeacherConfig()
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    training: TrainingConfig = TrainingConfig()
