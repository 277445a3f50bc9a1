"""What an ablation is asked to do, and what can be told wrong of it without PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from changedet.ablation.table import DEFAULT_TABLE, load_table, row_config
from changedet.data.mixture_file import check_held_out
from changedet.errors import ConfigError, MissingExtraError
from changedet.storage.markers import ABLATION
from changedet.storage.output_folder import content_of
from changedet.storage.paths import PathFields
from changedet.training.packages import check_packages

#: The setting that tells the runs of a row apart.
SEED: Final = "training.seed"


@dataclass(frozen=True)
class AblationRequest(PathFields):
    """What the user asked for.

    Attributes:
        out: Folder of the ablation.
        table: Name of a shipped table, or a YAML file.
        data: Folder of the data set, or manifest of scenes.
        seeds: Seeds of the runs of each row.
        epochs: ``training.epochs`` of every row; None: the recipe's.
        minutes: Budget of each run; None: none.
        overrides: ``section.key=value`` for every row; a row's own changes win.
        rows: Names of the rows to run; None: all.
        device: As for training.
        test_split: Split that is evaluated at a fixed threshold; None: ``test`` where there is one.
        shown: Number of validation pairs whose heat maps are shown.
        baselines: Whether the baselines are evaluated, too.
        mode: What to do about an ablation that is already in ``out``.
        command: How the user asked for it, kept for the report; empty: called from Python.
        describe_training: Writes how to train a row by itself, kept for the report, from the name
            of its recipe and all changes to it; None: it is not kept.
    """

    out: Path
    data: Path
    table: str = DEFAULT_TABLE
    seeds: tuple[int, ...] = (0,)
    epochs: int | None = None
    minutes: float | None = None
    overrides: tuple[str, ...] = ()
    rows: tuple[str, ...] | None = None
    device: str = "auto"
    test_split: str | None = None
    shown: int = 4
    baselines: Literal["all", "none"] = "all"
    mode: Literal["new", "resume", "overwrite"] = "new"
    command: str = ""
    describe_training: Callable[[str, tuple[str, ...]], str] | None = None


def check_request(request: AblationRequest) -> None:
    """Refuse settings that make no sense, before anything heavy is loaded or read.

    Raises:
        ConfigError: Naming the setting.
    """
    if request.epochs is not None and request.minutes is not None:
        raise ConfigError("`epochs` and `minutes` exclude each other; remove one of them")
    if request.epochs is not None and request.epochs < 1:
        raise ConfigError(f"`epochs` must be at least 1, got {request.epochs}")
    if request.minutes is not None and not request.minutes > 0.0:
        raise ConfigError(f"`minutes` must be above 0, got {request.minutes}")
    if not request.seeds or min(request.seeds) < 0 or len(set(request.seeds)) < len(request.seeds):
        raise ConfigError(
            f"`seeds` must be distinct whole numbers from 0, such as 0,1,2; got {request.seeds}"
        )
    if any(override.partition("=")[0].strip() == SEED for override in request.overrides):
        raise ConfigError(f"`{SEED}` has no effect here; set `seeds` instead")
    if request.rows is not None and len(set(request.rows)) < len(request.rows):
        raise ConfigError(f"`rows` names a row twice: {','.join(request.rows)}")


def check_rows(request: AblationRequest) -> None:
    """Refuse a table that cannot be read, rows that it lacks, and settings that fit no row.

    Raises:
        ConfigError: Naming the table, the row, or the first problem where no row can be run; or a
            set that cannot be held out.
    """
    table = load_table(request.table)
    rows = table.rows if request.rows is None else tuple(table.row(name) for name in request.rows)
    faults = []
    for row in rows:
        try:
            config = row_config(table, row, overrides=request.overrides)
            check_packages(config)
        except (ConfigError, MissingExtraError) as error:
            faults.append(str(error))
        else:
            if config.data.held_out:
                check_held_out(request.data, config.data.held_out)
            return
    raise ConfigError(f"no row can be run; the first problem: {faults[0]}")


def check_folder(out: Path, *, mode: Literal["new", "resume", "overwrite"]) -> None:
    """Refuse a folder that holds something else, or an ablation that may not be touched.

    Raises:
        ConfigError: Naming the folder.
    """
    if not content_of(out):
        return
    if not (out / ABLATION).is_file():
        raise ConfigError(
            f"{out} contains files that do not belong to an ablation; choose another folder"
        )
    if mode == "new":
        raise ConfigError(
            f'{out} contains an ablation; use `mode="resume"` to resume it, `mode="overwrite"` '
            "to replace it"
        )
