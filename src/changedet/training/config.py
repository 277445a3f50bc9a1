"""Settings of an experiment: frozen, complete, validated; a typo names the nearest key."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from changedet.card import LARGEST_TILE_PX
from changedet.choices import nearest
from changedet.data.file_names import split_parts
from changedet.errors import ConfigError
from changedet.losses.margins import DEFAULT_MARGINS
from changedet.losses.registry import loss_row
from changedet.storage.text import is_file, read_text
from changedet.storage.validation import Section, describe
from changedet.storage.yaml import parse_yaml
from changedet.training.model_config import (
    DEFAULT_MODEL,
    AnyModelConfig,
    config_of,
    foreign_option,
)
from changedet.training.recipes import list_recipes, recipe_text
from changedet.types import Bands, Mode, TestTime

#: The loss whose margins depend on the distance.
_CONTRASTIVE = "wdmc"
_LONGEST_CHAIN = 32

Share = Annotated[float, Field(ge=0.0, le=1.0)]
GSD = Annotated[float, Field(gt=0.0, le=10_000.0)]
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
    statistics_swap: Share = 0.0
    fourier_swap: Share = 0.0
    sensor: Share = 0.0


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
    batch_size: int = Field(4, ge=1)
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


def load_config(source: str | Path, *, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Read settings from a recipe's name or a YAML file, then apply ``key=value`` overrides.

    A file may start from another one with ``extends: NAME_OR_FILE``; its own keys win.

    Args:
        source: Name of a shipped recipe, or path of a YAML file.
        overrides: ``section.key=value`` strings, the value in YAML.

    Raises:
        ConfigError: For a file that cannot be read, an unknown key or a value out of range.
    """
    tree = _load_tree(str(source), seen=())
    for override in overrides:
        _apply(tree, override)
    return parse_config(tree, origin=str(source))


def check_overrides(config: ExperimentConfig, overrides: Iterable[str]) -> None:
    """Refuse a change that the other settings leave without effect.

    Args:
        config: The settings with the changes applied.
        overrides: The changes, ``section.key=value``.

    Raises:
        ConfigError: If the learning rate is set although a table states it epoch by epoch.
    """
    keys = {override.partition("=")[0].strip() for override in overrides}
    if config.schedule.kind == "table" and "optimizer.lr" in keys:
        raise ConfigError(
            "`optimizer.lr` has no effect here, because schedule.steps states the learning rate "
            "of every epoch; change schedule.steps, or set `schedule.kind=constant` as well"
        )


def parse_config(tree: Mapping[str, Any], *, origin: str) -> ExperimentConfig:
    """Validate settings.

    Args:
        tree: Nested settings as read from YAML.
        origin: Where they come from, for messages.

    Raises:
        ConfigError: Naming every faulty key, and for unknown keys the nearest known one.
    """
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        faults = describe(error, ExperimentConfig, explain=partial(_explain, tree=tree))
        raise ConfigError(f"{origin}: {faults}") from error


def dump_config(config: ExperimentConfig) -> str:
    """Settings as YAML with every default written out, see :func:`dump_settings`."""
    return yaml.safe_dump(dump_settings(config), sort_keys=False)


def dump_settings(config: ExperimentConfig) -> dict[str, Any]:
    """Settings as plain JSON types, with the margins that the distance decides in place of null."""
    tree = config.model_dump(mode="json")
    if config.loss.margins is None and config.loss.terms.get(_CONTRASTIVE):
        tree["loss"]["margins"] = _margins_of(tree["model"])
    return tree


def _margins_of(model: Mapping[str, Any]) -> list[float] | None:
    """Give the default margins of the distance that a network's settings name, if they name one."""
    named = model.get("distance")
    return next((list(own) for known, own in DEFAULT_MARGINS.items() if known == named), None)


def _drop_default_margins(tree: dict[str, Any]) -> None:
    """Take margins that are those of the file's own distance as not given.

    Files written by :func:`dump_config` state them. Who changes the distance of such a file gets
    the margins of the new one, as with a file that leaves them out.
    """
    loss, model = tree.get("loss"), tree.get("model")
    if not isinstance(loss, dict) or not isinstance(model, dict) or "margins" not in loss:
        return
    if loss["margins"] == _margins_of(model):
        del loss["margins"]


def trains_on_validation(data: DataConfig) -> bool:
    """Tell whether the split that validates is among several splits that are trained on.

    Then nothing can be chosen on it: neither the best epoch nor a threshold.
    """
    training = split_parts(data.train_split)
    return len(training) > 1 and not set(training).isdisjoint(split_parts(data.val_split))


def tile_px(config: ExperimentConfig) -> int:
    """Side of the tiles in validation and prediction, in pixels.

    Raises:
        ConfigError: If it is not the crop's although the model's results depend on it.
    """
    wanted = config.data.tile_px or config.data.crop_px
    if config.model.traits().fixed_tile and wanted != config.data.crop_px:
        attends = "attention" in config.model.options()
        kind = "a model with attention" if attends else f"a {config.model.name} of these settings"
        remedy = " or set model.attention=none" if attends else ""
        raise ConfigError(
            f"data.tile_px is {wanted} but data.crop_px {config.data.crop_px}: {kind} is used at "
            "the size it was trained on, since its scores depend on the tile; set "
            f"data.tile_px=null or remove data.tile_px{remedy}"
        )
    return wanted


def check_working_gsd(config: ExperimentConfig) -> None:
    """Refuse a working range of ground sample distances that is none, or that cannot be kept.

    Raises:
        ConfigError: If its ends are in the wrong order, or the network is used at one size of
            tile, so that images cannot be resampled for it.
    """
    working = config.data.working_gsd_m
    if working is None:
        return
    if working[0] > working[1]:
        raise ConfigError(
            f"data.working_gsd_m must be [smallest, largest] in metres, got {list(working)}"
        )
    if config.model.traits().fixed_tile:
        raise ConfigError(
            "data.working_gsd_m resamples images, but a model with attention is used at the size "
            "it was trained on; remove data.working_gsd_m or set model.attention=none"
        )


def _explain(fault: ErrorDetails, tree: Mapping[str, Any]) -> str | None:
    """Word an unknown setting of the network: which there are depends on its name."""
    if fault["type"] != "extra_forbidden" or fault["loc"][0] != "model" or len(fault["loc"]) != 2:
        return None
    option, name = str(fault["loc"][1]), tree["model"].get("name", DEFAULT_MODEL)
    foreign = foreign_option(option, fault["input"], model=name)
    hint = nearest(option, list(config_of(name).model_fields))
    return foreign or f"model: unknown key {option!r}; {hint}"


def _load_tree(source: str, *, seen: tuple[str, ...]) -> dict[str, Any]:
    # One file may have many names: links, and ways through other folders.
    if any(_are_one(source, other) for other in seen):
        raise ConfigError(f"extends is circular: {' -> '.join((*seen, source))}")
    if len(seen) > _LONGEST_CHAIN:
        raise ConfigError(
            f"{seen[0]}: extends leads through more than {_LONGEST_CHAIN} files; join some of them"
        )
    text, folder = _read_source(source)
    try:
        tree = parse_yaml(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{source} must contain 'section: …' keys, got {type(tree).__name__}")
    _drop_default_margins(tree)
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise ConfigError(f"{source}: extends must name a recipe or file, got {parent!r:.160}")
    beside = folder / parent if folder else None
    name = str(beside) if beside is not None and is_file(beside) else parent
    return _merge(_load_tree(name, seen=(*seen, source)), tree)


def _are_one(source: str, other: str) -> bool:
    """Tell whether two names are of one file or recipe."""
    if is_file(Path(source)) and is_file(Path(other)):
        return Path(source).samefile(other)
    return source == other


def _read_source(source: str) -> tuple[str, Path | None]:
    path = Path(source)
    if is_file(path):
        return read_text(path, error=ConfigError), path.parent
    if source in list_recipes():
        return recipe_text(source), None
    raise ConfigError(
        f"{source!r} is neither a file nor a recipe; {nearest(source, list_recipes())}"
    )


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _apply(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(
            f"a change to a recipe (`overrides`) must be section.key=value, got {override!r}"
        )
    *sections, last = key.strip().split(".")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"`{key}`: {text!r} is not a YAML value") from error
    node = tree
    for section in sections:
        below = node.setdefault(section, {})
        if not isinstance(below, dict):
            raise ConfigError(f"`{key}`: {section!r} is a value, not a section")
        node = below
    node[last] = value
