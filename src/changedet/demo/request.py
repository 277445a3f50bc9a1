"""What the demo is asked to do, and what can be told wrong of it without PyTorch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from changedet.errors import ConfigError
from changedet.storage.output_folder import content_of, is_half_made
from changedet.storage.paths import PathFields
from changedet.training.config import ExperimentConfig, load_config
from changedet.training.packages import check_packages

RECIPE: Final = "demo"
#: What it writes.
ENTRIES: Final = ("data", "run", "evaluation", "prediction", "real", "summary.html")


@dataclass(frozen=True)
class DemoRequest(PathFields):
    """What the demo is run with.

    Attributes:
        out: Folder for everything.
        overrides: Changes to the recipe, ``section.key=value``.
        seed: Seed of the generated pairs.
        counts: Pairs for training, validation and test.
        device: As for training.
        existing: Whether an earlier demo in ``out`` may be replaced.
        commands: Commands that do the same step by step, shown on the page; empty: none.
        real_command: Likewise, for the pair of real rasters.
    """

    out: Path
    overrides: tuple[str, ...] = ()
    seed: int = 0
    counts: tuple[int, int, int] = (200, 30, 40)
    device: str = "auto"
    existing: Literal["refuse", "replace"] = "refuse"
    commands: str = ""
    real_command: str = ""


def check_request(request: DemoRequest) -> ExperimentConfig:
    """Settle the recipe, and refuse a folder that holds something else; nothing is written.

    Raises:
        ConfigError: If a setting is wrong, or the folder is not free.
        MissingExtraError: If a package that training needs is not installed.
    """
    out = request.out
    names = [path.name for path in content_of(out)]
    foreign = [name for name in names if name not in ENTRIES]
    is_kept = request.existing == "refuse" and not is_half_made(out)
    if foreign or (names and is_kept):
        held = f"contains other files ({foreign[0]})" if foreign else "contains an earlier demo"
        remedy = "choose another folder" if foreign else 'use `existing="replace"` to replace it'
        raise ConfigError(f"{out} {held}; {remedy}")
    config = load_config(RECIPE, overrides=request.overrides)
    check_packages(config)
    return config
