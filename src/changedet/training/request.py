"""What a training is asked to do, and what can be told wrong of it without PyTorch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from changedet.card import read_card
from changedet.data.file_names import check_data_folder, find_mixture
from changedet.data.index import holds_pictures_only
from changedet.data.mixture_file import check_held_out
from changedet.data.rasters.manifest import find_manifest
from changedet.errors import ConfigError
from changedet.inference.devices import check_device_name
from changedet.model_search import find_model
from changedet.models.options import ENSEMBLE
from changedet.storage.paths import PathFields
from changedet.training.augmentation import build_augmentation
from changedet.training.config import (
    ExperimentConfig,
    check_overrides,
    check_working_gsd,
    load_config,
    tile_px,
)
from changedet.training.packages import check_packages
from changedet.training.run_folder import RECORD, SETTINGS, check_free, is_run
from changedet.training.schedule import build_schedule
from changedet.training.teacher_files import check_teachers

#: Settings that a resumed run may change without becoming another experiment.
_FREE_ON_RESUME = (
    "training.epochs",
    "training.keep_best",
    "training.heatmap_every",
    "training.max_heatmaps",
    "data.workers",
    "data.cache",
)
DEFAULT_RECIPE = "default"


@dataclass(frozen=True)
class TrainRequest(PathFields):
    """What the user asked for.

    Attributes:
        out: Folder of the run.
        data: Folder of the data set, manifest of scenes, or mixture of data sets; a resumed run
            knows it.
        recipe: Recipe name or YAML file; None: the default recipe, or the run's own on resume.
        overrides: ``section.key=value`` changes to it.
        init: Model file whose weights training starts from.
        start_epoch: Epoch, from 1, at which the schedule starts; a resumed run keeps its weights,
            optimiser and best score and goes on with the beginning of that epoch. None: epoch 1,
            or where the resumed run stopped.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        mode: What to do about a run that is already in ``out``.
    """

    out: Path
    data: Path | None = None
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    init: Path | None = None
    start_epoch: int | None = None
    device: str = "auto"
    mode: Literal["new", "resume", "overwrite"] = "new"


def check_request(request: TrainRequest) -> ExperimentConfig:
    """Settle the settings of a run that is to begin, and refuse what cannot be; nothing is written.

    Raises:
        ConfigError: For a faulty setting, a device that has no such name, or a folder that holds
            something else.
        DataError: If the data set is not there.
        CheckpointError: If there is no such model file to start from.
        MissingExtraError: If the network needs a package that is not installed.
    """
    check_device_name(request.device)
    if request.mode == "resume":
        return _check_resumed(request)
    if request.data is None:
        raise ConfigError(
            'no data set is given; set `data=DIR`, or resume a run with `mode="resume"`'
        )
    config = load_config(request.recipe or DEFAULT_RECIPE, overrides=request.overrides)
    check_packages(config)
    _check_start(request, config)
    check_free(request.out, mode=request.mode)
    build_schedule(config)
    tile_px(config)
    check_working_gsd(config)
    build_augmentation(config, pixel_type="uint8")
    if find_mixture(request.data) is None and find_manifest(request.data) is None:
        check_data_folder(request.data)
    if config.data.held_out:
        check_held_out(request.data, config.data.held_out)
    if config.teacher.models:
        _check_teachers(config, request.data)
    return config


def _check_teachers(config: ExperimentConfig, data: Path) -> None:
    """Refuse teachers for other images, as far as that is known before any is opened."""
    is_set = "in_channels" in config.model.model_fields_set
    is_pictures = holds_pictures_only(data, benchmark=config.data.benchmark)
    check_teachers(
        config,
        channels=config.model.in_channels if is_set or is_pictures else None,
        pixel_type="uint8" if is_pictures else None,
    )


def _check_resumed(request: TrainRequest) -> ExperimentConfig:
    if request.init is not None:
        raise ConfigError('`mode="resume"` continues from the run\'s own weights; remove `init`')
    if not is_run(request.out):
        raise _no_run(request.out, f"it has no {RECORD}")
    try:
        stored = load_config(request.out / SETTINGS)
    except ConfigError as error:
        raise _no_run(request.out, str(error)) from error
    config = _resumed_config(request, stored)
    check_packages(config, is_resumed=True)
    _check_start_epoch(request, config)
    check_teachers(config)
    return config


def _no_run(out: Path, reason: str) -> ConfigError:
    return ConfigError(
        f'{out} contains no run to resume ({reason}); start it without `mode="resume"`'
    )


def _check_start_epoch(request: TrainRequest, config: ExperimentConfig) -> None:
    if request.start_epoch is not None and not 1 <= request.start_epoch <= config.training.epochs:
        raise ConfigError(
            f"`start_epoch` must be in [1, {config.training.epochs}] (training.epochs), got "
            f"{request.start_epoch}"
        )


def _check_start(request: TrainRequest, config: ExperimentConfig) -> None:
    _check_start_epoch(request, config)
    check_overrides(config, request.overrides)
    # Read before the data: a wrong file must not be found out after minutes of measuring.
    if request.init is not None and read_card(find_model(request.init)).architecture == ENSEMBLE:
        raise ConfigError(
            f"{request.init} is an ensemble, which cannot be trained further; give one of its "
            "members, which changedet ensemble takes out (`keep`)"
        )


def _resumed_config(request: TrainRequest, stored: ExperimentConfig) -> ExperimentConfig:
    """Let only those settings differ from the stored run's that leave the experiment the same."""
    if request.recipe is not None:
        asked = load_config(request.recipe, overrides=request.overrides)
    else:
        asked = load_config(request.out / SETTINGS, overrides=request.overrides)
    old, new = _flat(stored.model_dump(mode="json")), _flat(asked.model_dump(mode="json"))
    changed = [key for key in new if new[key] != old.get(key) and key not in _FREE_ON_RESUME]
    if changed:
        differences = "; ".join(f"{key} was {old.get(key)!r}, now {new[key]!r}" for key in changed)
        remedy = "remove these changes" if request.recipe is None else "leave out the recipe"
        raise ConfigError(
            f"a resumed run keeps its settings: {differences}; {remedy}, or start a new run with "
            "`init`"
        )
    return asked


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
