"""Sections about an evaluation: figures, a threshold to move, calibration, sizes, examples."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

from changedet.errors import ResultsError
from changedet.evaluation.examples import PARTS
from changedet.evaluation.files import SCORE_HISTOGRAM
from changedet.evaluation.mixture_results import MixtureEvaluationResults
from changedet.evaluation.results import EvaluationResults
from changedet.rendering.charts import Axis, Chart, Line
from changedet.rendering.interactive import Example, Gallery, ScoreTable, ThresholdExplorer
from changedet.rendering.page import (
    Block,
    Cell,
    Headline,
    Headlines,
    Interval,
    Note,
    Picture,
    Pictures,
    Section,
    Table,
)
from changedet.report.facts import facts_table, heading, model_words, number_words
from changedet.storage.text import read_text

_PART = re.compile(r"\d+_(?P<kind>[a-z]+(?:_change)?)(?:_f1-(?P<f1>[\d.]+))?_(?P<name>.+)")
_KINDS = {"worst": "one of the worst", "median": "typical", "best": "one of the best"}
_PART_FILES = ("before.jpg", "after.jpg", "label.png", "score.png")
_IMAGES = 15


def evaluation_sections(
    folder: Path, results: EvaluationResults, *, name: str, title: str
) -> list[Section]:
    """Describe an evaluation.

    Args:
        folder: Where it lies.
        results: Its figures.
        name: For the parts of the page that belong together: letters, digits and hyphens.
        title: Heading of the first section; empty: none.

    Raises:
        ResultsError: If a file of it is damaged.
    """
    sections = [Section(title or "Figures", [_headlines(results), *_remarks(results)])]
    table = read_scores(folder)
    if table is not None and any(table.changed):
        explorer = ThresholdExplorer(name, table, _start(results), _start_note(results))
        sections.append(Section(heading(title, "threshold, precision and recall"), [explorer]))
    sections += [
        Section(heading(title, about), blocks)
        for about, blocks in (
            ("examples, worst to best", _examples(folder, results, explorer=name, table=table)),
            ("found objects by size", _sizes(results)),
            ("are the scores probabilities?", _calibration(results)),
            ("images", _images(folder)),
            ("how it was measured", [_facts(results)]),
        )
        if blocks
    ]
    return sections


def mixture_sections(
    folder: Path, results: MixtureEvaluationResults, *, name: str, title: str
) -> list[Section]:
    """Describe an evaluation of several data sets, one after the other.

    Raises:
        ResultsError: If a file of it is missing or damaged.
    """
    from changedet.results import read_results

    sections = [Section(title or "Figures", [_sets_headlines(results), _sets_table(results)])]
    for number, one in enumerate(results.sets):
        path = folder / one / "metrics.json"
        of_set = read_results(path)
        if not isinstance(of_set, EvaluationResults):
            raise ResultsError(f"{path} is no evaluation; evaluate the mixture again")
        sections += evaluation_sections(
            folder / one,
            of_set,
            name=f"{name}-{number}",
            title=f"{title}: {one}" if title else one,
        )
    return sections


def read_scores(folder: Path) -> ScoreTable | None:
    """Read the pixels of each class by score; None if the evaluation wrote no such table.

    Raises:
        ResultsError: If the table is damaged.
    """
    path = folder / SCORE_HISTOGRAM
    if not path.is_file():
        return None
    rows = list(csv.reader(read_text(path, error=ResultsError).splitlines()))[1:]
    try:
        columns = [(float(low), int(unchanged), int(changed)) for low, unchanged, changed in rows]
        return ScoreTable(*(list(column) for column in zip(*columns, strict=True)))
    except (ValueError, TypeError) as error:
        raise ResultsError(
            f"{path} is damaged; evaluate again, or remove it for a page without it"
        ) from error


def _start(results: EvaluationResults) -> float:
    fixed = results.fixed_threshold
    return results.pictures_threshold if fixed is None else fixed.threshold


def _start_note(results: EvaluationResults) -> str:
    fixed = results.fixed_threshold
    if fixed is None:
        return "The slider begins at the best threshold of these very images (optimistic)."
    source = f": {fixed.threshold_source}" if fixed.threshold_source else ""
    return (
        f"The slider begins at the threshold of the model{source}. Any other threshold that looks "
        "better here was chosen on these very images: its figures are optimistic."
    )


def _headlines(results: EvaluationResults) -> Headlines:
    fixed, best = results.fixed_threshold, results.best_threshold
    if fixed is None:
        return Headlines(
            [
                Headline(best.max_f1, "best F1", "optimistic", emphasis="main"),
                Headline(best.precision, "precision"),
                Headline(best.recall, "recall"),
                Headline(results.average_precision, "average precision"),
            ]
        )
    items = []
    for key, title in (("f1", "F1"), ("precision", "precision"), ("recall", "recall")):
        low, high = fixed.intervals[key]
        interval = "" if math.isnan(low) else f"95 % interval {low:.3f} to {high:.3f}"
        items.append(
            Headline(
                getattr(fixed, key), title, interval, emphasis="main" if key == "f1" else "plain"
            )
        )
    return Headlines(
        [
            *items,
            Headline(results.average_precision, "average precision"),
            Headline(best.max_f1, "best F1", "at the best threshold: optimistic"),
        ]
    )


def _remarks(results: EvaluationResults) -> list[Block]:
    fixed = results.fixed_threshold
    note = results.reason if fixed is None else fixed.note
    return [] if not note else [Note(note[0].upper() + note[1:] + ".", kind="warning")]


def _examples(
    folder: Path, results: EvaluationResults, *, explorer: str, table: ScoreTable | None
) -> list[Block]:
    parts = sorted((folder / PARTS).iterdir()) if (folder / PARTS).is_dir() else []
    items = [
        Example(_described(part.name), *(part / name for name in _PART_FILES))
        for part in parts
        if all((part / name).is_file() for name in _PART_FILES)
    ]
    if items:
        return [Gallery(items, explorer if table is not None else "", results.pictures_threshold)]
    # Of an earlier version, which wrote panels only.
    panels = sorted((folder / "panels").glob("*.png"))
    return [Pictures([Picture(path, _described(path.stem)) for path in panels])] if panels else []


def _described(stem: str) -> str:
    found = _PART.fullmatch(stem)
    if found is None:
        return stem
    if found["f1"] is None:
        return f"{found['name']}: no change labelled or detected"
    return f"{found['name']}: F1 {found['f1']}, {_KINDS.get(found['kind'], found['kind'])}"


def _sizes(results: EvaluationResults) -> list[Block]:
    objects = results.objects
    if objects is None or not objects.labelled:
        return []
    classes = [entry for entry in objects.by_size if entry.objects]
    chart = Chart(
        "Share of the labelled objects that are found",
        Axis("size in pixels", labels=[entry.size.text for entry in classes]),
        Axis("share found", 0, 1),
        [
            Line(
                "",
                [(float(place), entry.recall) for place, entry in enumerate(classes)],
                style="points",
                intervals=[entry.interval for entry in classes],
            )
        ],
        note="Found: at least half of the object's pixels are detected. Bars are 95 % intervals "
        "over images.",
    )
    rows: list[list[Cell]] = [
        [
            entry.size.text,
            "-" if entry.area_m2 is None else _area(entry.area_m2),
            entry.objects,
            entry.found,
            entry.recall,
        ]
        for entry in classes
    ]
    table = Table(
        "Labelled objects by size",
        ["pixels", "m²", "objects", "found", "share"],
        rows,
        note=f"As whole objects (half of their union in common): F1 {number_words(objects.f1)}, "
        f"precision {number_words(objects.precision)}, recall {number_words(objects.recall)}.",
    )
    return [chart, table]


def _area(ends: tuple[float, float | None]) -> str:
    low, high = ends
    return f">= {low:,.0f}" if high is None else f"{low:,.0f} to {high:,.0f}"


def _calibration(results: EvaluationResults) -> list[Block]:
    found = results.calibration
    if found is None:
        return []
    bins = [entry for entry in found.bins if entry.pixels]
    return [
        Chart(
            "Share of change over score",
            Axis("mean score", 0, 1),
            Axis("share that has changed", 0, 1),
            [
                Line("measured", [(entry.mean_score, entry.changed_share) for entry in bins]),
                Line("if scores were probabilities", [(0, 0), (1, 1)], style="dashed"),
            ],
            note=f"Expected calibration error {found.expected_calibration_error:.3f}: how far both "
            "are apart, on average over all pixels. Points below the dashed line mean too much "
            "confidence.",
        )
    ]


def _images(folder: Path) -> list[Block]:
    path = folder / "per_image.csv"
    if not path.is_file():
        return []
    rows = list(csv.DictReader(read_text(path, error=ResultsError).splitlines()))
    try:
        known = sorted((float(row["f1"]), row["name"], row) for row in rows if row["f1"])
        if len(known) <= 1:
            return []
        points = [(100 * place / (len(known) - 1), f1) for place, (f1, *_) in enumerate(known)]
        shown: list[Sequence[Cell]] = [
            [
                name,
                f1,
                *(_number(row[key]) for key in ("precision", "recall")),
                *(_percent(row[key]) for key in ("changed_share", "detected_share")),
            ]
            for f1, name, row in known[:_IMAGES]
        ]
    except (KeyError, ValueError) as error:
        raise ResultsError(f"{path} is damaged; evaluate again") from error
    without = len(rows) - len(known)
    return [
        Chart(
            "F1 of each image",
            Axis("images, worst first (%)", 0, 100),
            Axis("F1", 0, 1),
            [Line("", points)],
            note=f"{len(known)} images."
            if not without
            else f"{len(known)} images; {without} more have no change, labelled or detected.",
        ),
        Table(
            f"The {len(shown)} worst images",
            ["image", "F1", "precision", "recall", "changed", "detected"],
            shown,
            is_folded=True,
            note="All images are in per_image.csv of the evaluation.",
        ),
    ]


def _number(text: str) -> float | None:
    return float(text) if text else None


def _percent(text: str) -> str:
    return f"{100 * float(text):.2f} %" if text else "-"


def _facts(results: EvaluationResults) -> Table:
    label = results.data.label.describe()
    return facts_table(
        {
            "model": model_words(results.model),
            "kind of change": results.change_kind,
            "data set": f"{results.data.name} ({results.data.root})",
            "split": results.split,
            "images": results.images,
            "labels": label,
            "ground sample distance": None
            if results.gsd is None or results.gsd.gsd_m is None
            else f"{results.gsd.gsd_m:g} m",
            "tiles": results.mode
            if results.tile_px is None
            else f"{results.mode}, {results.tile_px} px",
            "test-time augmentation": results.test_time,
            "computed on": " ".join(filter(None, (results.runtime, results.device))),
            "seconds": results.seconds,
            "changedet": results.version,
        }
    )


def _sets_headlines(results: MixtureEvaluationResults) -> Headlines:
    worst = f"of {results.worst_set}" if results.worst_set else ""
    return Headlines(
        [
            Headline(results.mean_f1, "mean F1 of the sets", emphasis="main"),
            Headline(results.worst_f1, "worst F1", worst),
            Headline(results.images, "images"),
        ]
    )


def _sets_table(results: MixtureEvaluationResults) -> Table:
    rows: list[list[Cell]] = []
    for name, one in results.sets.items():
        rows.append(
            [
                name,
                one.change_kind or one.labelled_kind,
                one.images,
                one.f1,
                Interval(*one.intervals.get("f1", (math.nan, math.nan)), one.f1, digits=3),
                one.precision,
                one.recall,
                one.best_f1,
                one.average_precision,
            ]
        )
    left_out = f"Left out: {', '.join(results.left_out)}." if results.left_out else ""
    return Table(
        f"{results.data.name}, split {results.split}",
        ["data set", "kind", "images", "F1", "95 %", "precision", "recall", "best F1", "AP"],
        rows,
        note=left_out,
    )
