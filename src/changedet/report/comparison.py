"""Sections that put several results side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from changedet.evaluation.results import EvaluationResults
from changedet.rendering.charts import MOST_LINES, Axis, Chart, Line
from changedet.rendering.interactive import precision_recall_points
from changedet.rendering.page import Block, Cell, Interval, Note, Section, Table
from changedet.report.evaluation import read_scores
from changedet.report.found import Found
from changedet.report.training import best_validation, read_log, validation_line
from changedet.training.dataset_statistics import TrainingRecord


def comparison_sections(sources: Sequence[Found]) -> list[Section]:
    """Compare what can be compared: evaluations with each other, training runs with each other.

    Args:
        sources: All that the page shows.
    """
    evaluations = [
        (source, source.results)
        for source in sources
        if isinstance(source.results, EvaluationResults)
    ]
    runs = [
        (source, source.results) for source in sources if isinstance(source.results, TrainingRecord)
    ]
    sections = []
    if len(evaluations) > 1:
        sections.append(Section("Evaluations side by side", _evaluations(evaluations)))
    if len(runs) > 1:
        sections.append(Section("Training runs side by side", _runs(runs)))
    return sections


def _evaluations(sources: Sequence[tuple[Found, EvaluationResults]]) -> list[Block]:
    rows: list[list[Cell]] = []
    figures: list[float] = []
    images = set()
    for source, results in sources:
        fixed, best = results.fixed_threshold, results.best_threshold
        figures.append(math.nan if fixed is None else fixed.f1)
        images.add((results.data.name, results.split, results.images))
        rows.append(
            [
                source.name,
                f"{results.data.name}, {results.split}",
                None if fixed is None else fixed.f1,
                None if fixed is None else Interval(*fixed.intervals["f1"], fixed.f1, digits=3),
                None if fixed is None else fixed.precision,
                None if fixed is None else fixed.recall,
                best.max_f1,
                results.average_precision,
            ]
        )
    known = [place for place, figure in enumerate(figures) if not math.isnan(figure)]
    table = Table(
        "At the threshold that was chosen before",
        ["evaluation", "images", "F1", "95 %", "precision", "recall", "best F1", "AP"],
        rows,
        highlighted=max(known, key=figures.__getitem__, default=None),
        note="Intervals that overlap leave open which one is better; of the same images, an "
        "interval of the difference would be narrower (changedet ablate).",
    )
    blocks: list[Block] = [table]
    if len(images) > 1:
        blocks.append(
            Note("These are figures of different images, so they do not rank anything.", "warning")
        )
    lines = [
        Line(source.name, precision_recall_points(scores))
        for source, _ in sources
        if (scores := read_scores(source.folder)) is not None and any(scores.changed)
    ]
    if len(lines) > 1:
        blocks.append(
            Chart(
                "Precision over recall",
                Axis("recall", 0, 1),
                Axis("precision", 0, 1),
                lines[:MOST_LINES],
                note=_left_out(lines),
            )
        )
    return blocks


def _runs(sources: Sequence[tuple[Found, TrainingRecord]]) -> list[Block]:
    rows: list[list[Cell]] = []
    lines: list[Line] = []
    for source, record in sources:
        validated = read_log(source.folder, "validation")
        best = best_validation(validated)
        rows.append(
            [
                source.name,
                record.data_name,
                None if best is None else best["max_f1"],
                None if best is None else int(best["epoch"]),
                None if best is None else best.get("average_precision"),
            ]
        )
        if validated:
            lines.append(validation_line(source.name, validated, column="max_f1"))
    table = Table(
        "Best validation of each (optimistic)",
        ["run", "data set", "F1", "epoch", "average precision"],
        rows,
    )
    chart = Chart(
        "F1 on validation, at the best threshold of each",
        Axis("epoch", low=0),
        Axis("F1", 0, 1),
        lines[:MOST_LINES],
        note=_left_out(lines),
    )
    return [table, *([chart] if lines else [])]


def _left_out(lines: Sequence[Line]) -> str:
    more = len(lines) - MOST_LINES
    return f"{more} more are in the table only." if more > 0 else ""
