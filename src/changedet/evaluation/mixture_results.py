"""What ``metrics.json`` of an evaluation on a mixture of data sets holds."""

from typing import Literal

from changedet.storage.results import Figure, NumberOrNone, PlainJson, Record, Results
from changedet.types import Mode, TestTime


class EvaluatedMixture(Record):
    """The mixture.

    Attributes:
        name: Its name.
        root: Its file.
    """

    name: str
    root: str


class SetResult(Record):
    """What was found on one data set, in short; its folder holds everything.

    Attributes:
        change_kind: Kind of change that was looked for; null where the model names none.
        labelled_kind: Kind of change that its labels show, as the mixture says.
        gsd_m: Ground sample distance of the images in metres; null: not known.
        images: Number of pairs.
        threshold: Score at which the next four hold; null if there is none to apply.
        threshold_source: Who chose it, if that is known.
        f1: F1 of the change class at that threshold; null where undefined, as all figures.
        precision: Precision at that threshold.
        recall: Recall at that threshold.
        intervals: Bootstrap interval over images, (low, high), of these three.
        level: Share of the bootstrap inside an interval.
        best_f1: F1 at the best threshold k/1024 of this very set (optimistic).
        average_precision: Area under the precision-recall curve.
        expected_calibration_error: How far scores are from probabilities of change; null where
            they are none.
        note: What a reader must know of the figures at the threshold.
    """

    change_kind: str | None
    labelled_kind: str
    gsd_m: NumberOrNone
    images: int
    threshold: NumberOrNone
    threshold_source: str | None
    f1: Figure
    precision: Figure
    recall: Figure
    intervals: dict[str, tuple[Figure, Figure]]
    level: NumberOrNone
    best_f1: Figure
    average_precision: Figure
    expected_calibration_error: Figure
    note: str | None


class MixtureEvaluationResults(Results):
    """A model or an untrained baseline, evaluated on each data set of a mixture by itself.

    Attributes:
        version: Version of changedet that wrote the file.
        model: What was evaluated: a model file, or an untrained baseline.
        data: The mixture.
        split: The split that is reported.
        threshold_split: The split of each set that chose its threshold, if one did just now.
        images: Number of pairs of all sets.
        mode: How images larger than a tile were cut.
        test_time: Views of a tile that were averaged.
        sets: What was found on each data set, by its name in the mixture; the folder of that name
            holds the full results.
        left_out: Sets that were not evaluated: the model does not know their kind of change, or
            they lack the split.
        mean_f1: Mean of the sets' F1 at their thresholds, of those that show change; null if there
            is none. A set counts as much as any other, however many images it has.
        worst_f1: The lowest of them.
        worst_set: The set that it is of.
        device: Where it was computed.
        seconds: How long scoring and counting took.
    """

    kind: Literal["mixture_evaluation"] = "mixture_evaluation"
    version: str
    model: PlainJson
    data: EvaluatedMixture
    split: str
    threshold_split: str | None
    images: int
    mode: Mode
    test_time: TestTime
    sets: dict[str, SetResult]
    left_out: tuple[str, ...]
    mean_f1: Figure
    worst_f1: Figure
    worst_set: str | None
    device: str
    seconds: float
