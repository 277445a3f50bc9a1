"""What a calibration is asked to do."""

from dataclasses import dataclass
from pathlib import Path

from changedet.storage.output_folder import Existing
from changedet.storage.paths import PathFields
from changedet.types import Mode, Precision, TestTime


@dataclass(frozen=True)
class CalibrationRequest(PathFields):
    """Which model file to calibrate on what, and how it is to be used and stored.

    Attributes:
        model: Model file, folder of a training run, or name of a model.
        out: Model file to write.
        data: Folder of the data set, manifest of scenes, or, for
            :func:`changedet.evaluation.calibrate_mixture.calibrate_on_mixture`, mixture of data
            sets.
        split: Name of the split that chooses the threshold.
        benchmark: Name of a known benchmark; None: the layout is found out.
        mode: ``whole``: overlapping, blended tiles; ``grid``: side by side.
        test_time: Test-time augmentation; None: the one stored with the model.
        kind: Kind of change whose threshold is chosen, of those that the model tells apart; the
            others keep theirs. None: the first one.
        gsd_m: Side of a pixel on the ground in metres, for a model that states at which ones it
            works; None: what the georeference of the images says.
        temperature: Whether scores are made probabilities, too, by a temperature that is fitted to
            the split; None: if the kind of change has one already. A mixture always fits one.
        precision: Type of the weights in ``out``; the scores are those of the rounded weights.
        batch_size: Tiles that go through the model at once.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        ignore_value: Label value whose pixels are ignored.
        changed_values: Label values that mean changed, where the labels do not say it themselves.
        bands: Bands of rasters, from 1, in the model's order; None: those of the training.
        bands_after: Those of the second date where they differ.
        existing: Whether an existing file ``out``, which may be ``model``, may be replaced.
    """

    model: Path
    out: Path
    data: Path
    split: str = "val"
    benchmark: str | None = None
    mode: Mode = "whole"
    test_time: TestTime | None = None
    kind: str | None = None
    gsd_m: float | None = None
    temperature: bool | None = None
    precision: Precision = "float32"
    batch_size: int = 8
    device: str = "auto"
    ignore_value: int | None = None
    changed_values: tuple[int, ...] | None = None
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    existing: Existing = "refuse"
