"""What an evaluation is asked to do, and what can be told wrong of it without PyTorch."""

from dataclasses import dataclass
from pathlib import Path

from changedet.card import check_threshold
from changedet.errors import ConfigError
from changedet.evaluation.data_request import DataRequest
from changedet.inference.working_gsd import check_gsd
from changedet.storage.markers import METRICS
from changedet.storage.output_folder import check_result_folder
from changedet.types import Arithmetic, Mode, Runtime


@dataclass(frozen=True)
class EvaluationRequest(DataRequest):
    """What to evaluate, and how.

    Further fields are those of :class:`changedet.evaluation.data_request.DataRequest`.

    Attributes:
        model: Model file, or ``baseline:NAME``.
        data: Folder of the data set, manifest of scenes, or, for
            :func:`changedet.evaluation.evaluate_mixture.evaluate_mixture`, mixture of data sets.
        out: Folder for the results.
        split: Name of the split to report.
        mode: ``whole``: overlapping, blended tiles; ``grid``: side by side.
        threshold: Score in [0, 1] to use instead of the model's own.
        threshold_split: Split on which to choose the threshold first, to apply it unchanged.
        runtime: What computes an exported model (``.onnx``): ``onnx``, ``openvino``; ``auto`` is
            the fastest one that is installed. ``torch`` computes other model files.
        precision: In what an exported model is computed: ``float32``, ``bf16`` (OpenVINO, where the
            CPU has it), or ``int8``, which asks for a file in 8 bits.
        panels: Number of pairs to draw as panels.
        channels: Bands of the images, for a baseline; None: as many as they have.
        encoder: Encoder of the baseline that has one, see
            :func:`changedet.baselines.registry.create_baseline`.
        encoder_weights: Its weights.
    """

    model: Path | str
    data: Path
    out: Path
    split: str = "test"
    mode: Mode = "whole"
    threshold: float | None = None
    threshold_split: str | None = None
    runtime: Runtime = "auto"
    precision: Arithmetic = "float32"
    panels: int = 12
    channels: int | None = None
    encoder: str | None = None
    encoder_weights: str | None = None


def check_request(request: EvaluationRequest) -> None:
    """Refuse settings that make no sense, and a folder that is not free, before anything is read.

    Raises:
        ConfigError: Naming the setting.
    """
    check_result_folder(request.out, marker=METRICS, existing=request.existing)
    if request.threshold is not None:
        check_threshold(request.threshold)
        if request.threshold_split is not None:
            raise ConfigError(
                "`threshold` and `threshold_split` exclude each other; remove one of them"
            )
    if request.gsd_m is not None:
        check_gsd(request.gsd_m)
    if request.panels < 0:
        raise ConfigError(f"`panels` must be at least 0, got {request.panels}")
