"""The accuracy benchmark for readers: one page, as HTML and as Markdown."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from changedet.data.tools.near_duplicates import NearDuplicate
from changedet.domain import describe_range
from changedet.evaluation.benchmark.methods import COST_SIDE_PX
from changedet.evaluation.benchmark.repeats import METHOD, SplitRepeats
from changedet.evaluation.benchmark.results import AccuracyResults, MethodResult
from changedet.metrics.objects import SIZE_CLASSES, SizeClass
from changedet.rendering.charts import MOST_LINES, Axis, Chart, Line
from changedet.rendering.markdown import write_markdown
from changedet.rendering.page import (
    Block,
    Cell,
    Interval,
    Note,
    Picture,
    Pictures,
    Section,
    Table,
    write_summary,
)
from changedet.rendering.plots import SizeLine, SizePanel, write_size_recall_chart

PAGE = "accuracy.html"
MARKDOWN = "accuracy.md"
CHART = "size_recall.png"
_MOST_PAIRS = 50
_NO_VALUE = "-"


def write_report(folder: Path, report: AccuracyResults) -> None:
    """Write ``accuracy.html``, ``accuracy.md`` and ``size_recall.png``.

    Args:
        folder: Where to.
        report: What was found.

    Raises:
        StorageError: If a file cannot be written.
    """
    write_size_recall_chart(folder / CHART, _size_panels(report.methods))
    picture = Pictures([Picture(folder / CHART, "Share of the labelled objects found, by size")])
    title = f"Accuracy on {report.data.name}, split {report.data.split}"
    subtitle = f"{report.images} pairs; {_threshold_rule(report)}"
    write_summary(
        folder / PAGE,
        title=title,
        sections=_sections(report, _size_charts(report.methods)),
        subtitle=subtitle,
    )
    write_markdown(
        folder / MARKDOWN, title=title, sections=_sections(report, [picture]), subtitle=subtitle
    )


def _size_panels(methods: Sequence[MethodResult]) -> list[SizePanel]:
    return [
        SizePanel(
            view.title,
            [
                SizeLine(
                    entry.title,
                    "model" if entry.kind == "model" else "baseline",
                    entry.views[number].objects.by_size,
                )
                for entry in methods
            ],
        )
        for number, view in enumerate(methods[0].views)
    ]


def _size_charts(methods: Sequence[MethodResult]) -> list[Chart]:
    """Draw what the picture shows, as charts that a page can colour."""
    more = len(methods) - MOST_LINES
    return [
        Chart(
            f"Share of the labelled objects found: {view.title}",
            Axis("size in pixels", labels=[size.text for size in SIZE_CLASSES]),
            Axis("share found", 0, 1),
            [
                Line(
                    entry.title if len(methods) > 1 else "",
                    [
                        (float(place), size.recall)
                        for place, size in enumerate(entry.views[number].objects.by_size)
                    ],
                    style="line" if entry.kind == "model" else "dashed",
                    intervals=[size.interval for size in entry.views[number].objects.by_size],
                )
                for entry in methods[:MOST_LINES]
            ],
            note="Bars: 95 % intervals over images."
            + (f" {more} more methods are in the table only." if more > 0 else ""),
        )
        for number, view in enumerate(methods[0].views)
    ]


def _sections(report: AccuracyResults, found_by_size: Sequence[Block]) -> list[Section]:
    views = range(len(report.methods[0].views))
    return [
        Section("", _warnings(report)),
        Section("Figures", [_figures(report, number) for number in views]),
        Section(
            "Found objects by size",
            [*found_by_size, *(_sizes(report, number) for number in views)],
        ),
        Section("Near-duplicates", _repeats(report)),
        Section("Cost", [_cost(report)]),
        Section("How this was measured", _rules(report)),
    ]


def _threshold_rule(report: AccuracyResults) -> str:
    if report.data.threshold == "stored":
        return "each method at its own threshold"
    chosen_on = report.data.threshold_split
    if chosen_on == report.data.split:
        return "thresholds chosen on these same images"
    return f"thresholds chosen on split {chosen_on}, applied unchanged"


def _warnings(report: AccuracyResults) -> list[Block]:
    notes: dict[str, list[str]] = {}
    for entry in report.methods:
        if entry.note is not None:
            notes.setdefault(entry.note, []).append(entry.title)
    blocks: list[Block] = []
    for note, titles in notes.items():
        whose = "all methods" if len(titles) == len(report.methods) else ", ".join(titles)
        blocks.append(Note(f"Figures of {whose}: {note}.", "warning"))
    repeated = report.near_duplicates.repeats_of_training
    if repeated:
        blocks.append(
            Note(
                f"{repeated} of the {report.images} pairs are near-duplicates of training "
                "pairs; see below for the figures without them.",
                "warning",
            )
        )
    return [*blocks, *(Note(sentence) for sentence in report.left_out)]


def _figures(report: AccuracyResults, number: int) -> Table:
    rows: list[list[Cell]] = []
    for entry in report.methods:
        result = entry.views[number]
        pixels, objects = result.pixels, result.objects
        rows.append(
            [
                entry.title,
                pixels.f1,
                Interval(*pixels.intervals["f1"], pixels.f1),
                pixels.iou,
                pixels.precision,
                pixels.recall,
                objects.f1,
                Interval(*objects.intervals["f1"], objects.f1),
                pixels.average_precision,
                pixels.roc_auc,
                pixels.threshold,
                entry.note or "",
            ]
        )
    return Table(
        caption=_caption(report, number),
        header=(
            "method",
            "F1",
            "95 % interval",
            "IoU",
            "precision",
            "recall",
            "object F1",
            "95 % interval",
            "AP",
            "ROC-AUC",
            "threshold",
            "note",
        ),
        rows=rows,
        highlighted=_best(report, number),
    )


def _sizes(report: AccuracyResults, number: int) -> Table:
    header = ["method", *(_size_text(size, report.gsd_m) for size in SIZE_CLASSES)]
    rows: list[list[Cell]] = [
        [entry.title, *(size.recall for size in entry.views[number].objects.by_size)]
        for entry in report.methods
    ]
    counted = report.methods[0].views[number].objects.by_size
    rows.append(["objects", *(size.objects for size in counted)])
    return Table(f"Share of objects found: {_caption(report, number)}", header, rows)


def _repeats(report: AccuracyResults) -> list[Block]:
    repeats = report.near_duplicates
    if not repeats.splits:
        return [
            Note(
                "The data set has no other split to compare with, so near-duplicates of training "
                "images could not be searched.",
                "warning",
            )
        ]
    blocks: list[Block] = [
        Note(f"Compared: {METHOD}. Near-duplicates: correlation of at least {repeats.limit:g}.")
    ]
    blocks.append(
        Table(
            "Images shared by the reported split and others",
            ("split", "used for", "images", "repeated here", "identical", "shifted frames"),
            [
                [
                    split.split,
                    split.role,
                    split.images,
                    split.repeated,
                    split.identical,
                    "searched" if split.shifts == "search" else "not searched (too many images)",
                ]
                for split in repeats.splits
            ],
        )
    )
    blocks += [_pairs(split) for split in repeats.splits if split.pairs]
    if repeats.repeats_of_training:
        blocks += [_without(report, number) for number in range(len(report.methods[0].views))]
    elif repeats.repeats_of_training is None:
        blocks.append(Note("No training split is known, so nothing could be removed.", "warning"))
    return blocks


def _pairs(repeats: SplitRepeats) -> Table:
    def row(one: NearDuplicate) -> list[Cell]:
        return [one.name, one.other, one.relation, one.correlation, one.overlap]

    more = len(repeats.pairs) - _MOST_PAIRS
    return Table(
        f"Near-duplicates in split {repeats.split}",
        ("reported pair", f"pair of {repeats.split}", "relation", "correlation", "overlap"),
        [row(one) for one in repeats.pairs[:_MOST_PAIRS]],
        note=f"and {more} more, all in accuracy.json" if more > 0 else "",
    )


def _without(report: AccuracyResults, number: int) -> Table:
    rows: list[list[Cell]] = []
    remaining = 0
    for entry in report.methods:
        result = entry.views[number]
        rest = result.without_near_duplicates
        remaining = 0 if rest is None else rest.images
        rows.append(
            [
                entry.title,
                result.pixels.f1,
                None if rest is None else rest.f1,
                None if rest is None else Interval(*rest.interval, rest.f1),
                result.objects.f1,
                None if rest is None else rest.object_f1,
                None if rest is None else Interval(*rest.object_interval, rest.object_f1),
            ]
        )
    return Table(
        f"Without near-duplicates of training images: {_caption(report, number)}",
        (
            "method",
            "F1",
            "F1 without",
            "95 % interval",
            "object F1",
            "object F1 without",
            "95 % interval",
        ),
        rows,
        note=f"{remaining} of {report.images} pairs remain",
    )


def _cost(report: AccuracyResults) -> Table:
    rows: list[list[Cell]] = []
    for entry in report.methods:
        cost, size_mb = entry.cost, entry.file_mb
        rows.append(
            [
                entry.title,
                None if cost is None else cost.parameters,
                None if cost is None else cost.views,
                _NO_VALUE if cost is None else f"{cost.gflop:.2f}",
                _NO_VALUE if size_mb is None else f"{size_mb:.2f}",
            ]
        )
    return Table(
        "What each method costs",
        (
            "method",
            "parameters",
            "views",
            f"GFLOP a {COST_SIDE_PX} x {COST_SIDE_PX} pair",
            "file in MB",
        ),
        rows,
        note="GFLOP are counted, 2 x MAC, over all views of test-time augmentation; a dash: not a "
        "network of this package, nothing is stored",
    )


def _rules(report: AccuracyResults) -> list[Block]:
    sources: list[list[Cell]] = [
        [entry.title, view.title, view.tile_px, view.threshold_source]
        for entry in report.methods
        for view in entry.views
    ]
    origin = report.origin
    return [
        Note(
            "Pixels are pooled over all images. Intervals: 95 % of a bootstrap over images "
            f"({origin.resamples} draws, seed {origin.seed}). Objects are 8-connected; a "
            "predicted one is right if its IoU with a labelled one is at least 0.5, which no "
            "object can reach twice. A labelled object is found if half of its pixels are "
            "predicted. Ignored pixels belong to no object. Undefined figures are dashes."
        ),
        Table("Thresholds", ("method", "images shown as", "tile", "chosen by"), sources),
        *_uses(report),
        Note(f"Command: {origin.command or 'none (called from Python)'}", "code"),
        Note(
            json.dumps({**origin.model_dump(), "seconds": round(report.seconds, 1)}, indent=2),
            "code",
        ),
    ]


def _uses(report: AccuracyResults) -> list[Block]:
    """Say which kind of change models looked for, and how images were resampled for them."""
    rows: list[list[Cell]] = []
    for entry in report.methods:
        gsd = entry.gsd
        working = None if gsd is None else gsd.working_gsd_m
        if entry.change_kind is not None or working is not None:
            rows.append(
                [
                    entry.title,
                    entry.change_kind or _NO_VALUE,
                    _NO_VALUE if working is None else describe_range(working),
                    _NO_VALUE if gsd is None or gsd.gsd_m is None else f"{gsd.gsd_m:.3g}",
                    _NO_VALUE if gsd is None else f"{gsd.factor:.3g}",
                ]
            )
    if not rows:
        return []
    columns = ("method", "kind of change", "works on pixels of (m)", "images (m)", "resampled by")
    return [Table("Kinds of change and ground sample distances", columns, rows)]


def _caption(report: AccuracyResults, number: int) -> str:
    return report.methods[0].views[number].title


def _best(report: AccuracyResults, number: int) -> int | None:
    def f1_of(entry: MethodResult) -> float:
        f1 = entry.views[number].pixels.f1
        return -1.0 if math.isnan(f1) else f1

    best = max(range(len(report.methods)), key=lambda row: f1_of(report.methods[row]))
    return None if f1_of(report.methods[best]) < 0.0 else best


def _size_text(size: SizeClass, gsd_m: float | None) -> str:
    if gsd_m is None:
        return f"{size.text} px"
    low, high = size.area_m2(gsd_m)
    area = f">= {low:g}" if high is None else f"{low:g}-{high:g}" if low else f"< {high:g}"
    return f"{size.text} px ({area} m²)"
