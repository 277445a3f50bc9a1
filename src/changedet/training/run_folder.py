"""Where a training run keeps what resuming needs, and how a run is found; imports no torch."""

import contextlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from changedet.errors import ConfigError, ResultsError
from changedet.storage.output_folder import content_of, remove_entries
from changedet.storage.results import read_content
from changedet.storage.text import exists, is_file

#: What was measured on the data once; also the file that tells a run.
RECORD: Final = "run.json"
#: Every setting of the run.
SETTINGS: Final = "config.yaml"
CHECKPOINTS: Final = "checkpoints"
#: Weights, optimiser and position that an interrupted run resumes from.
LAST: Final = "last.safetensors"
#: Folders that a run fills as it goes on.
FILLED: Final = (CHECKPOINTS, "logs", "validation")
_BEST: Final = "best.safetensors"
#: Labels that a review gave, a folder for each state of the review.
REVIEWED: Final = "reviewed"
#: All that a run writes; what tells it goes last.
RUN_ENTRIES: Final = (*FILLED, REVIEWED, _BEST, SETTINGS, RECORD)
_LABELS: Final = re.compile(r".+_[0-9a-f]{8}")


def is_run(folder: Path) -> bool:
    """Tell whether a folder is that of a training run."""
    return is_file(folder / RECORD)


def find_run(path: Path) -> Path:
    """Find the folder of the run that a user named in order to resume it.

    Args:
        path: The folder itself, or the checkpoint ``checkpoints/last.safetensors`` inside it.

    Raises:
        ConfigError: If it is neither; for the model files of a run, how they can be used.
    """
    if is_run(path):
        return path
    if not exists(path):
        raise ConfigError(f"there is no run {path} to resume; give the folder of a run")
    if path.is_dir():
        raise ConfigError(
            f"{path} contains no run to resume (no {RECORD}); give the folder of a run"
        )
    checkpoint = f"{CHECKPOINTS}/{LAST}"
    if path.suffix != ".safetensors":
        raise ConfigError(
            f"{path} is not a checkpoint; give the folder of a run or its {checkpoint}"
        )
    run = next((folder for folder in path.absolute().parents[:2] if is_run(folder)), None)
    if run is None:
        raise ConfigError(
            f"{path} does not lie in the folder of a run, and a checkpoint alone does not tell the "
            f"settings and data; give the folder of a run or its {checkpoint}"
        )
    if path.absolute() != run / CHECKPOINTS / LAST:
        raise ConfigError(
            f"a run resumes from its {checkpoint}, not from {path}, which lacks the optimiser's "
            f"state; give the folder {run}, or begin a new run with these weights (`init={path}`)"
        )
    # As the user wrote it, where that shows the folder.
    return path.parent.parent if path.parent.name == CHECKPOINTS else run


def keeps(out: Path, data: Path) -> bool:
    """Tell whether a run trains on this data set, which lies in its folder."""
    try:
        return Path(str(read_content(out / RECORD)["data"])) == data.resolve()
    except (KeyError, ResultsError):
        return False


def find_data(out: Path, data: Path) -> Path:
    """Find the data set of a run to resume; labels of a review have moved with the run.

    Args:
        out: Folder of the run.
        data: Where the data set lay when it began.
    """
    moved = out / REVIEWED / data.name
    return moved if not exists(data) and moved.is_dir() else data


def remove_run(out: Path, *, data: Path | None) -> None:
    """Remove an earlier run, and the labels of reviews that lie in its folder.

    Args:
        out: Its folder.
        data: Data set of the run that replaces it, which stays.
    """
    remove_entries(out, [name for name in RUN_ENTRIES if name != REVIEWED])
    kept = None if data is None else data.resolve()
    for folder in _label_folders(out):
        if folder.resolve() != kept:
            shutil.rmtree(folder)
    with contextlib.suppress(OSError):
        (out / REVIEWED).rmdir()


def _label_folders(out: Path) -> list[Path]:
    """Give the labels of reviews, and nothing of the user's own."""
    reviewed = out / REVIEWED
    if not reviewed.is_dir():
        return []
    return [folder for folder in reviewed.iterdir() if _LABELS.fullmatch(folder.name)]


def check_free(out: Path, *, mode: Literal["new", "overwrite"]) -> None:
    """Refuse a folder that a new run must not write to.

    Args:
        out: The folder; it need not exist.
        mode: Whether it may replace a run that is there. One that was killed before its first
            checkpoint is replaced anyway.

    Raises:
        ConfigError: If it is a file, or holds something else.
    """
    held = content_of(out)
    if held and mode == "new" and not _is_stillborn(out, held):
        raise ConfigError(f"{out} already contains {_held(out)}, or choose another folder")
    # A wrong folder must not cost anybody what else it holds.
    if held and mode == "overwrite" and not is_run(out):
        raise ConfigError(f"{out} contains no run that could be replaced; choose another folder")


def _is_stillborn(out: Path, held: Sequence[Path]) -> bool:
    """Tell whether a run was killed before there was anything in the folder to go on with."""
    names = {path.name for path in held}
    if not names <= {*RUN_ENTRIES}:
        return False
    if names == {REVIEWED}:
        return len(_label_folders(out)) == len(list((out / REVIEWED).iterdir()))
    try:
        is_run_of_ours = read_content(out / RECORD).get("kind") == "training"
    except ResultsError:
        return False
    return is_run_of_ours and not ((out / _BEST).exists() or (out / CHECKPOINTS / LAST).exists())


def _held(out: Path) -> str:
    if not is_run(out):
        return "files that are not a run; move them away"
    if not (out / CHECKPOINTS / LAST).is_file():
        return 'a run without a checkpoint; use `mode="overwrite"` to replace it'
    return 'a run; use `mode="resume"` to resume it, `mode="overwrite"` to replace it'
