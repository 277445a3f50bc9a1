"""Open a model file or a baseline by its name, to score images and scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from changedet.baselines.names import is_baseline
from changedet.inference.detector import Detector, load
from changedet.model_search import find_method

if TYPE_CHECKING:
    from pathlib import Path

    from changedet.types import Arithmetic, Runtime, TestTime

_CHANNELS = 3


def open_detector(
    spec: str | Path,
    *,
    device: str = "auto",
    test_time: TestTime | None = None,
    kind: str | None = None,
    channels: int | None = None,
    encoder: str | None = None,
    encoder_weights: str | None = None,
    runtime: Runtime = "auto",
    precision: Arithmetic = "float32",
) -> Detector:
    """Open a model file, or a baseline by its name.

    Args:
        spec: A model file, the folder of a training run, the name of a model
            (:func:`changedet.model_search.find_model`), or ``baseline:NAME`` with a name of
            :func:`changedet.baselines.names.list_baselines` (``floor:NAME`` means the same).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        test_time: Views of a tile that a model averages, instead of its own choice.
        kind: The kind of change to find, of those that a model tells apart; None: its first one.
        channels: Channels of the images, for a baseline; None: 3.
        encoder: timm's name of a baseline's encoder; None: EfficientNet-Lite0.
        encoder_weights: ``package``, ``hub``, ``none`` or a file; None: ``package``.
        runtime: What computes a model's network, see :func:`changedet.inference.detector.load`.
        precision: In what an exported model is computed, likewise.

    Raises:
        ConfigError: If there is no such baseline or device, an option does not fit, or the model
            does not know the kind of change.
        CheckpointError: If the model file or the encoder's weights cannot be used.
        MissingExtraError: If the encoder's weights or the runtime are packages that are not
            installed.
    """
    found = find_method(
        spec,
        test_time=test_time,
        kind=kind,
        channels=channels,
        encoder=encoder,
        encoder_weights=encoder_weights,
        runtime=runtime,
        precision=precision,
    )
    if not is_baseline(found):
        return load(
            found,
            device=device,
            test_time=test_time,
            kind=kind,
            runtime=runtime,
            precision=precision,
        )
    # The baselines' statistics take a quarter of a second to import.
    from changedet.inference.baseline_scorer import open_baseline

    method = open_baseline(
        str(found),
        channels=channels or _CHANNELS,
        encoder=encoder,
        encoder_weights=encoder_weights,
        device=device,
    )
    return Detector(method)
