"""What a calibration is asked to do."""

from dataclasses import dataclass
from pathlib import Path

from changedet.evaluation.data_request import DataRequest
from changedet.types import Mode, Precision


@dataclass(frozen=True)
class CalibrationRequest(DataRequest):
    """Which model file to calibrate on what, and how it is to be used and stored.

    Further fields are those of :class:`changedet.evaluation.data_request.DataRequest`.

    Attributes:
        model: Model file, folder of a training run, or name of a model.
        out: Model file to write.
        data: Folder of the data set, manifest of scenes, or, for
            :func:`changedet.evaluation.calibrate_mixture.calibrate_on_mixture`, mixture of data
            sets.
        split: Name of the split that chooses the threshold.
        mode: ``whole``: overlapping, blended tiles; ``grid``: side by side.
        kind: Kind of change whose threshold is chosen, of those that the model tells apart; the
            others keep theirs. None: the first one.
        temperature: Whether scores are made probabilities, too, by a temperature that is fitted to
            the split; None: if the kind of change has one already. A mixture always fits one.
        precision: Type of the weights in ``out``; the scores are those of the rounded weights.
        existing: Whether an existing file ``out``, which may be ``model``, may be replaced.
    """

    model: Path
    out: Path
    data: Path
    split: str = "val"
    mode: Mode = "whole"
    temperature: bool | None = None
    precision: Precision = "float32"
