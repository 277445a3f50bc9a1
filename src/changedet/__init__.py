"""What changed between these two satellite or aerial images?

The names below are imported on first use, so that ``import changedet`` stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from changedet._optional import explained_imports
from changedet._version import __version__
from changedet.errors import (
    ChangeDetError,
    CheckpointError,
    ConfigError,
    DataError,
    ImageError,
    ResultsError,
    StorageError,
    TrainingError,
)
from changedet.types import BranchOutput, ChangeOutput, Normalisation

if TYPE_CHECKING:
    from changedet.card import ModelCard
    from changedet.export.export import export_model
    from changedet.export.quantise import quantise_model
    from changedet.functions import evaluate, train
    from changedet.inference.detector import Detector, Prediction, load
    from changedet.models.model_file import load_model, save_model
    from changedet.models.options import list_models
    from changedet.models.registry import create_model
    from changedet.predict.anything import predict
    from changedet.predict.rasters import predict_scene
    from changedet.predict.request import SceneReport, SceneRequest
    from changedet.results import read_results
    from changedet.selection import Selection

__all__ = [
    "BranchOutput",
    "ChangeDetError",
    "ChangeOutput",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Detector",
    "ImageError",
    "ModelCard",
    "Normalisation",
    "Prediction",
    "ResultsError",
    "SceneReport",
    "SceneRequest",
    "Selection",
    "StorageError",
    "TrainingError",
    "__version__",
    "create_model",
    "evaluate",
    "export_model",
    "list_models",
    "load",
    "load_model",
    "predict",
    "predict_scene",
    "quantise_model",
    "read_results",
    "save_model",
    "train",
]

_LAZY = {
    "Detector": "changedet.inference.detector",
    "Prediction": "changedet.inference.detector",
    "load": "changedet.inference.detector",
    "ModelCard": "changedet.card",
    "evaluate": "changedet.functions",
    "train": "changedet.functions",
    "export_model": "changedet.export.export",
    "quantise_model": "changedet.export.quantise",
    "load_model": "changedet.models.model_file",
    "save_model": "changedet.models.model_file",
    "create_model": "changedet.models.registry",
    "list_models": "changedet.models.options",
    "predict_scene": "changedet.predict.rasters",
    "SceneReport": "changedet.predict.request",
    "SceneRequest": "changedet.predict.request",
    "Selection": "changedet.selection",
    "read_results": "changedet.results",
}


def __getattr__(name: str) -> object:
    if name == "predict":
        # The package is the function of its name, too.
        return import_module("changedet.predict")
    if name in _LAZY:
        with explained_imports():
            return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'changedet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
