"""The files of an evaluation: figures, tables, charts and pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from changedet.data.labelled import DecodedPair, LabelledPair
from changedet.evaluation.examples import choose_pairs, write_examples
from changedet.evaluation.per_image_table import write_per_image
from changedet.evaluation.results import EvaluationResults
from changedet.metrics.confusion import per_image
from changedet.metrics.histogram import GRID_THRESHOLDS, ScoreHistogram
from changedet.rendering.plots import (
    charts_note,
    write_precision_recall_curve,
    write_reliability_diagram,
)
from changedet.storage.atomic import write_text
from changedet.storage.markers import METRICS

#: Table of the pixels of each class by score.
SCORE_HISTOGRAM = "score_histogram.csv"


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluated:
    """What was found on a split, ready to be written.

    Attributes:
        pairs: All pairs of the split.
        read: Reads a pair.
        score: Scores a pair, (H, W), in [0, 1].
        panels: How many pairs are shown.
        results: What was found.
        histogram: The counts.
    """

    pairs: Sequence[LabelledPair]
    read: Callable[[LabelledPair], DecodedPair]
    score: Callable[[DecodedPair], NDArray[np.float32]]
    panels: int
    results: EvaluationResults
    histogram: ScoreHistogram

    def write(self, folder: Path) -> None:
        """Write all files of an evaluation into a folder that is there.

        Raises:
            StorageError: If a file cannot be written.
        """
        results = self.results
        fixed = results.fixed_threshold
        title = f"{results.data.name}, split {results.split}"
        counts = per_image(self.histogram, results.pictures_threshold)
        write_per_image(folder / "per_image.csv", self.pairs, counts)
        write_score_histogram(folder / SCORE_HISTOGRAM, self.histogram)
        if charts_note() is None:
            write_precision_recall_curve(
                folder / "precision_recall.png",
                self.histogram,
                title=title,
                threshold=None if fixed is None else fixed.threshold,
            )
            if results.calibration is not None:
                write_reliability_diagram(
                    folder / "reliability.png", results.calibration, title=title
                )
        write_examples(
            folder,
            choose_pairs(counts, self.panels),
            pairs=self.pairs,
            read=self.read,
            score=self.score,
            threshold=results.pictures_threshold,
        )
        results.write(folder / METRICS)


def write_score_histogram(path: Path, histogram: ScoreHistogram) -> None:
    """Write how many pixels of each class have which score, all images together.

    A row counts the pixels with a score of at least ``score_from`` and below that of the next row.

    Args:
        path: Of the CSV file.
        histogram: The counts.

    Raises:
        StorageError: If it cannot be written.
    """
    columns = histogram.columns_of(GRID_THRESHOLDS)
    # From the column of one threshold up to that of the next; scores begin at 0.
    rows = zip(
        GRID_THRESHOLDS,
        np.add.reduceat(histogram.unchanged.sum(axis=0), columns),
        np.add.reduceat(histogram.changed.sum(axis=0), columns),
        strict=True,
    )
    lines = [f"{score:.10g},{unchanged},{changed}" for score, unchanged, changed in rows]
    write_text(path, "\n".join(["score_from,unchanged,changed", *lines]) + "\n")
