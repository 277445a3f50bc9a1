"""Where model files lie that can be asked for by name; no PyTorch.

In this order: the folders of the variable ``CHANGEDET_MODELS`` (separated as in PATH), the user's
data folder, and ``models/`` of the checkout that the package runs from.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from changedet._optional import ONNX_RUNTIME, OPENVINO, TORCH
from changedet.baselines.names import baseline_name, check_baseline, is_baseline
from changedet.choices import nearest
from changedet.errors import CheckpointError, ConfigError

#: Folders to look in first, separated as in PATH.
VARIABLE: Final = "CHANGEDET_MODELS"
SUFFIX: Final = ".safetensors"
#: The ending of what ``changedet export`` writes.
EXPORTED: Final = ".onnx"
#: The model that a training run keeps.
BEST: Final = "best.safetensors"
_MOST_NAMED = 8


class FoundModel(NamedTuple):
    """A model file that can be asked for by name.

    Attributes:
        name: What to ask for: the file's name without its ending.
        path: The file.
    """

    name: str
    path: Path


def model_folders() -> list[Path]:
    """Folders in which models are looked for by name, first ones first; they need not exist."""
    named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    checkout = Path(__file__).parents[2]
    own = [checkout / "models"] if (checkout / "pyproject.toml").is_file() else []
    return [*named, user_models(), *own]


def user_models() -> Path:
    """Give the folder for models in the user's data folder, as the system has it."""
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "changedet" / "models"


def list_models_at_hand() -> list[FoundModel]:
    """List the models that can be asked for by name; of several of one name the first counts."""
    found: dict[str, FoundModel] = {}
    for model in _all_models():
        found.setdefault(model.name, model)
    return list(found.values())


def find_model(spec: str | Path) -> Path:
    """Find the model file that is meant by a path, a training run's folder, or a name.

    Args:
        spec: A model file; the folder of a training run, for its best model; or a name of
            :func:`list_models_at_hand`, with or without ``.safetensors`` or ``.onnx``. Of a model
            that is there in both forms, the name alone means the exported one where a runtime for
            it is installed and PyTorch is not, else the one that PyTorch computes.

    Raises:
        CheckpointError: If there is no such model; the message names what there is.
    """
    path = Path(spec)
    if (path / BEST).is_file():
        return path / BEST
    if path.exists() and not path.is_dir():
        return path
    wanted = str(spec).removesuffix(SUFFIX).removesuffix(EXPORTED)
    for model in _all_models():
        if str(spec) in (model.name, model.path.name):
            return model.path
    if path.is_dir():
        raise CheckpointError(
            f"{path} is a folder without {BEST}, so it is no training run that has saved a model; "
            "give a model file, or the folder of a run"
        )
    raise CheckpointError(
        f"there is no model file {spec}; {_instead(wanted, list_models_at_hand())}"
    )


def find_method(
    spec: str | Path,
    *,
    test_time: str | None = None,
    kind: str | None = None,
    channels: int | None = None,
    encoder: str | None = None,
    encoder_weights: str | None = None,
    runtime: str = "auto",
    precision: str = "float32",
) -> str | Path:
    """Find a model file, or check the name of a baseline, and refuse options of the other kind.

    Args:
        spec: As for :func:`find_model`, or ``baseline:NAME``.
        test_time: Views of a tile, for models.
        kind: Kind of change to find, for models.
        channels: Channels of the images, for baselines.
        encoder: Encoder of the baseline that has one.
        encoder_weights: Its weights.
        runtime: What computes the network, for models.
        precision: In what, for models.

    Returns:
        The model file, or the baseline's name as it was given.

    Raises:
        ConfigError: If there is no such baseline, or an option does not apply.
        CheckpointError: If there is no such model.
    """
    if not is_baseline(spec):
        _refuse(
            {"channels": channels, "encoder": encoder, "encoder_weights": encoder_weights},
            f"applies to baselines only; {spec} defines its own",
        )
        return find_model(spec)
    for_models = {
        "test_time": test_time,
        "kind": kind,
        "runtime": None if runtime == "auto" else runtime,
        "precision": None if precision == "float32" else precision,
    }
    _refuse(for_models, f"applies to models only; {spec} is a baseline")
    check_baseline(baseline_name(str(spec)), encoder=encoder, encoder_weights=encoder_weights)
    return spec


def _refuse(options: Mapping[str, object], reason: str) -> None:
    given = [f"`{name}`" for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"{given[0]} {reason}. Remove it.")


def describe_models_at_hand() -> str:
    """Say which models can be asked for by name, for a message."""
    models = list_models_at_hand()
    return f"models at hand: {_names(models)}" if models else "no model is at hand by name"


def _instead(wanted: str, models: list[FoundModel]) -> str:
    near = nearest(Path(wanted).name, [model.name for model in models], otherwise="")
    if near:
        return f"{near} (`changedet models` lists all at hand)"
    return (
        f"`changedet models` lists those at hand ({_names(models)}); a training run saves its best "
        f"one as RUN/{BEST}"
    )


def _names(models: Iterable[FoundModel]) -> str:
    names = [model.name for model in models]
    shown = ", ".join(names[:_MOST_NAMED]) or "none"
    return f"{shown} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown


def _all_models() -> Iterator[FoundModel]:
    """Give all model files of all folders, those first that a name alone means."""
    is_computed_exported = not TORCH.is_installed and (
        ONNX_RUNTIME.is_installed or OPENVINO.is_installed
    )
    endings = (EXPORTED, SUFFIX) if is_computed_exported else (SUFFIX, EXPORTED)
    for folder in model_folders():
        files = _model_files(folder)
        for ending in endings:
            yield from (FoundModel(path.stem, path) for path in files if path.suffix == ending)


def _model_files(folder: Path) -> list[Path]:
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix in (SUFFIX, EXPORTED)
            and not path.name.startswith(".")
            and path.is_file()
        )
    except OSError:
        # Not there, or not readable: then there is nothing to be had from it.
        return []
