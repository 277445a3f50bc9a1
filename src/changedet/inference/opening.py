"""Open a model file or a baseline by its name, to score images and scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from changedet.baselines.registry import is_baseline
from changedet.errors import ConfigError
from changedet.inference.baseline_scorer import open_baseline
from changedet.inference.detector import Detector, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from changedet.types import TestTime

_CHANNELS = 3


def open_detector(
    spec: str | Path,
    *,
    device: str = "auto",
    test_time: TestTime | None = None,
    channels: int | None = None,
    encoder: str | None = None,
    encoder_weights: str | None = None,
) -> Detector:
    """Open a model file, or a baseline by its name.

    Args:
        spec: Path of a model file, or ``baseline:NAME`` with a name of
            :func:`changedet.baselines.registry.list_baselines` (``floor:NAME`` means the same).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        test_time: Views of a tile that a model averages, instead of its own choice.
        channels: Channels of the images, for a baseline; None: 3.
        encoder: timm's name of a baseline's encoder; None: EfficientNet-Lite0.
        encoder_weights: ``package``, ``hub``, ``none`` or a file; None: ``package``.

    Raises:
        ConfigError: If there is no such baseline or device, or an option does not fit.
        CheckpointError: If the model file or the encoder's weights cannot be used.
        MissingExtraError: If the encoder's weights are a package that is not installed.
    """
    if not is_baseline(spec):
        _refuse(
            {"channels": channels, "encoder": encoder, "encoder_weights": encoder_weights},
            f"applies to baselines only; {spec} defines its own",
        )
        return load(spec, device=device, test_time=test_time)
    _refuse({"test_time": test_time}, f"applies to models only; {spec} is a baseline")
    method = open_baseline(
        str(spec),
        channels=channels or _CHANNELS,
        encoder=encoder,
        encoder_weights=encoder_weights,
        device=device,
    )
    return Detector(method)


def _refuse(options: Mapping[str, object], reason: str) -> None:
    given = [f"`{name}`" for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"{given[0]} {reason}. Remove it.")
