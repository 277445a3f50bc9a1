"""What an evaluation is asked to do, and what can be told wrong of it without PyTorch."""

from dataclasses import dataclass
from pathlib import Path

from changedet.card import check_threshold
from changedet.errors import ConfigError
from changedet.inference.working_gsd import check_gsd
from changedet.storage.markers import METRICS
from changedet.storage.output_folder import Existing, check_result_folder
from changedet.storage.paths import PathFields
from changedet.types import Mode, TestTime


@dataclass(frozen=True)
class EvaluationRequest(PathFields):
    """What to evaluate, and how.

    Attributes:
        model: Model file, or ``baseline:NAME``.
        data: Folder of the data set, manifest of scenes, or, for
            :func:`changedet.evaluation.evaluate_mixture.evaluate_mixture`, mixture of data sets.
        out: Folder for the results.
        split: Name of the split to report.
        benchmark: Name of a known benchmark; None: the layout is found out.
        mode: ``whole``: overlapping, blended tiles; ``grid``: side by side.
        threshold: Score in [0, 1] to use instead of the model's own.
        threshold_split: Split on which to choose the threshold first, to apply it unchanged.
        test_time: Test-time augmentation, instead of the model's own.
        kind: Kind of change to find, of those that the model tells apart; None: its first one.
        gsd_m: Side of a pixel on the ground in metres, for a model that states at which ones it
            works; None: what the georeference of the images says.
        batch_size: Tiles that go through the model at once.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        panels: Number of pairs to draw as panels.
        ignore_value: Label value whose pixels are ignored.
        changed_values: Label values that mean changed, where the labels do not say it themselves.
        channels: Bands of the images, for a baseline; None: as many as they have.
        bands: Bands of rasters, from 1, in the model's order; None: those of the training, or all
            that hold no mask.
        bands_after: Those of the second date where they differ.
        encoder: Encoder of the baseline that has one, see
            :func:`changedet.baselines.registry.create_baseline`.
        encoder_weights: Its weights.
        existing: What to do if ``out`` already holds results: ``refuse``, ``replace``.
    """

    model: Path | str
    data: Path
    out: Path
    split: str = "test"
    benchmark: str | None = None
    mode: Mode = "whole"
    threshold: float | None = None
    threshold_split: str | None = None
    test_time: TestTime | None = None
    kind: str | None = None
    gsd_m: float | None = None
    batch_size: int = 8
    device: str = "auto"
    panels: int = 12
    ignore_value: int | None = None
    changed_values: tuple[int, ...] | None = None
    channels: int | None = None
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    encoder: str | None = None
    encoder_weights: str | None = None
    existing: Existing = "refuse"


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
