"""What ``gsd.json`` of a curve over ground sample distances holds."""

import csv
import io
import math
from pathlib import Path
from typing import Literal

from changedet.data.labels.encoding import LabelEncoding
from changedet.storage.atomic import write_text
from changedet.storage.results import Figure, PlainJson, Record, Results
from changedet.types import TestTime


class GsdFigures(Record):
    """Figures of the change class on images of one length; null where undefined.

    Attributes:
        factor: Height and width of what the network saw, in those of the images.
        f1: F1 at the threshold of the curve.
        interval: Its bootstrap interval over images, 95 %.
        precision: Precision at the threshold.
        recall: Recall at the threshold.
        max_f1: F1 at the best of 96 thresholds, chosen on these same images.
    """

    factor: float
    f1: Figure
    interval: tuple[Figure, Figure]
    precision: Figure
    recall: Figure
    max_f1: Figure


class GsdPoint(Record):
    """A model on images that were brought to one ground sample distance.

    Attributes:
        gsd_m: That one, in metres.
        as_they_are: Figures where the network sees the images as they are.
        resampled: Figures where it sees them resampled to a length at which it works; null where
            the model states none. Within its range both are the same.
    """

    gsd_m: float
    as_they_are: GsdFigures
    resampled: GsdFigures | None


class GsdCurveResults(Results):
    """A model on images of one data set that were brought to several ground sample distances.

    Attributes:
        version: Version of changedet that wrote the file.
        model: What was evaluated.
        data: Name of the data set.
        root: Its folder, or the manifest of scenes.
        label: What the values of its labels mean.
        split: The split that is reported.
        images: Number of pairs.
        own_gsd_m: Ground sample distance of the images, in metres.
        working_gsd_m: Smallest and largest one at which the model works; null where it states none.
        change_kind: Kind of change that was looked for; null where the model names none.
        threshold: Score from which a pixel counts as changed.
        threshold_source: Who chose it.
        note: What a reader must know.
        test_time: Views of a tile that were averaged.
        points: One entry for each length, the smallest first.
        device: Where it was computed.
        seconds: How long it took.
    """

    kind: Literal["gsd_curve"] = "gsd_curve"
    version: str
    model: PlainJson
    data: str
    root: str
    label: LabelEncoding
    split: str
    images: int
    own_gsd_m: float
    working_gsd_m: tuple[float, float] | None
    change_kind: str | None
    threshold: float
    threshold_source: str
    note: str | None
    test_time: TestTime
    points: tuple[GsdPoint, ...]
    device: str
    seconds: float


def write_table(path: Path, results: GsdCurveResults) -> None:
    """Write the curve as a table with a row for each length and way of looking at it.

    Raises:
        StorageError: If it cannot be written.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(
        ["gsd_m", "images", "factor", "f1", "f1_low", "f1_high", "precision", "recall", "max_f1"]
    )
    for point in results.points:
        ways = {"as_they_are": point.as_they_are, "resampled": point.resampled}
        for name, figures in ways.items():
            if figures is not None:
                at_threshold = (figures.precision, figures.recall)
                row = (figures.factor, figures.f1, *figures.interval, *at_threshold, figures.max_f1)
                writer.writerow([_cell(point.gsd_m), name, *map(_cell, row)])
    write_text(path, table.getvalue())


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
