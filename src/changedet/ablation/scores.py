"""What is known of a source of scores once it is evaluated: by protocol, also on held-out sets."""

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import computed_field

from changedet.ablation.estimates import (
    CONTRAST,
    F1,
    FALSE_POSITIVE_OBJECTS,
    Counts,
    Estimate,
    Figure,
    FloatArray,
    Sums,
    estimate_figure,
)
from changedet.ablation.heat_maps import FALSE_POSITIVE_COLUMNS, MOMENT_COLUMNS
from changedet.storage.results import Figure as Number
from changedet.storage.results import Record, Rows

#: Figures at the best of 96 thresholds on the reported images, or at one that others chose.
Protocol = Literal["best_threshold", "fixed_threshold"]
PROTOCOLS: tuple[Protocol, ...] = ("best_threshold", "fixed_threshold")


class Evaluation(NamedTuple):
    """Where a source is evaluated, and how.

    Attributes:
        protocol: At which threshold.
        held_out: Name of the held-out set of a mixture; None: the split of the protocol.
    """

    protocol: Protocol
    held_out: str | None = None

    @property
    def column(self) -> str:
        """What the names of its columns begin with."""
        return (
            self.protocol if self.held_out is None else f"held_out_{self.held_out}_{self.protocol}"
        )

    def __str__(self) -> str:
        name = self.protocol.replace("_", " ")
        return name if self.held_out is None else f"{name}, held-out set {self.held_out}"


#: What of a source is estimated over images.
Measure = Literal["f1", "false_positive_objects", "contrast"]
#: Those that say how clean the heat maps are.
HEAT_MAP_MEASURES: tuple[Literal["false_positive_objects", "contrast"], ...] = (
    "false_positive_objects",
    "contrast",
)
FIGURES: dict[Measure, Figure] = {
    "f1": F1,
    "false_positive_objects": FALSE_POSITIVE_OBJECTS,
    "contrast": CONTRAST,
}
#: Columns of :func:`changedet.metrics.confusion.counts_at` that F1 needs.
F1_COLUMNS = 3


class SplitScore(Record):
    """Figures of a source under one protocol.

    Attributes:
        protocol: ``best_threshold``: the best of 96 thresholds on these very images;
            ``fixed_threshold``: a threshold that other images chose.
        split: The split that is evaluated.
        threshold: Score from which on a pixel counts as changed; undefined: there is none.
        counts: True positives, false positives and false negatives of every image, (N, 3).
        false_positive_objects: False-positive objects at the source's own threshold, and 1, of
            every image, (N, 2), see :class:`FalsePositiveCounter`; without a row if it has no
            threshold.
        moments: Sums over the scores of both classes of every image, (N, 6), see
            :func:`score_moments`.
        precision: Precision, where defined.
        recall: Recall, where defined.
        average_precision: Area under the precision-recall curve, where defined.
        roc_auc: Area under the ROC curve, where defined.
        note: What a reader must know.
    """

    protocol: Protocol
    split: str
    threshold: Number
    counts: Annotated[Counts, Rows(F1_COLUMNS, np.int64)]
    false_positive_objects: Annotated[Counts, Rows(FALSE_POSITIVE_COLUMNS, np.int64)]
    moments: Annotated[FloatArray, Rows(MOMENT_COLUMNS, np.float64)]
    precision: Number
    recall: Number
    average_precision: Number
    roc_auc: Number
    note: str | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.counts)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def f1(self) -> Number:
        """F1 of all images together."""
        return F1.pooled(self.counts)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def interval(self) -> tuple[Number, Number]:
        """Bootstrap interval of F1 over images."""
        estimate = self.estimate()
        return estimate.low, estimate.high

    def sums(self, measure: Measure) -> Sums:
        """Sums of every image that a measure is computed from, (N, K)."""
        by_measure: dict[Measure, Sums] = {
            "f1": self.counts,
            "false_positive_objects": self.false_positive_objects,
            "contrast": self.moments,
        }
        return by_measure[measure]

    def estimate(self, measure: Measure = "f1") -> Estimate:
        """Estimate a measure with its bootstrap interval over images."""
        return estimate_figure([self.sums(measure)], FIGURES[measure])
