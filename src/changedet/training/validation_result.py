"""What a validation during training finds."""

from typing import NamedTuple

from changedet.kinds import KindOfChange
from changedet.metrics.histogram import ScoreHistogram


class SetValidation(NamedTuple):
    """What was found on one data set of a mixture.

    Attributes:
        name: Of the set.
        kind: Kind of change that it labels.
        histogram: Its counts, of calibrated scores.
        f1: F1 at the threshold of its kind.
        best_f1: F1 at the best threshold of its own.
    """

    name: str
    kind: str
    histogram: ScoreHistogram
    f1: float
    best_f1: float


class Validation(NamedTuple):
    """What a validation found.

    Attributes:
        histogram: The counts.
        f_score: Max-F1, by which models are chosen; on a mixture of data sets the mean of their F1
            at the thresholds of their kinds, or the lowest.
        threshold: Score to store with the model; that of the first kind of change.
        roc_auc: Area under the ROC curve.
        sets: What was found on each data set of a mixture.
        kinds: The kinds of change, each with its temperature and threshold; empty without a
            mixture.
    """

    histogram: ScoreHistogram
    f_score: float
    threshold: float
    roc_auc: float
    sets: tuple[SetValidation, ...] = ()
    kinds: tuple[KindOfChange, ...] = ()
