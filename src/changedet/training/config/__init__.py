"""Settings of an experiment: frozen, complete, validated; a typo names the nearest key."""

from changedet.training.config.files import dump_config, dump_settings, load_config, parse_config
from changedet.training.config.rules import (
    check_overrides,
    check_working_gsd,
    tile_px,
    trains_on_validation,
)
from changedet.training.config.sections import (
    AugmentationConfig,
    BranchWeights,
    DataConfig,
    ExperimentConfig,
    LossConfig,
    OptimizerConfig,
    ScheduleConfig,
    TeacherConfig,
    TrainingConfig,
)
from changedet.training.recipes import list_recipes

__all__ = [
    "AugmentationConfig",
    "BranchWeights",
    "DataConfig",
    "ExperimentConfig",
    "LossConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "TeacherConfig",
    "TrainingConfig",
    "check_overrides",
    "check_working_gsd",
    "dump_config",
    "dump_settings",
    "list_recipes",
    "load_config",
    "parse_config",
    "tile_px",
    "trains_on_validation",
]
