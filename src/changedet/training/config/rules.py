"""What settings of different sections mean for each other."""

from collections.abc import Iterable

from changedet.data.file_names import split_parts
from changedet.errors import ConfigError
from changedet.training.config.sections import DataConfig, ExperimentConfig


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
        has_choice = config.model.options().get("attention", "none") != "none"
        raise ConfigError(
            f"data.working_gsd_m resamples images, but {config.model.name} with these options "
            "takes tiles of the size it was trained on; remove data.working_gsd_m"
            + (" or set model.attention=none" if has_choice else ", or choose another model.name")
        )
