"""Where a training run keeps what resuming needs, and how a run is found; imports no torch."""

from pathlib import Path
from typing import Final

from changedet.errors import ConfigError

#: What was measured on the data once; also the file that tells a run.
RECORD: Final = "run.json"
#: Every setting of the run.
SETTINGS: Final = "config.yaml"
CHECKPOINTS: Final = "checkpoints"
#: Weights, optimiser and position that an interrupted run resumes from.
LAST: Final = "last.safetensors"


def is_run(folder: Path) -> bool:
    """Tell whether a folder is that of a training run."""
    return (folder / RECORD).is_file()


def find_run(path: Path) -> Path:
    """Find the folder of the run that a user named in order to resume it.

    Args:
        path: The folder itself, or the checkpoint ``checkpoints/last.safetensors`` inside it.

    Raises:
        ConfigError: If it is neither; for the model files of a run, how they can be used.
    """
    if is_run(path):
        return path
    if not path.exists():
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
