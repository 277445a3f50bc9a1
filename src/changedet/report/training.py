"""Sections about a training run: figures, curves, data and settings."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from changedet.errors import ResultsError
from changedet.rendering.charts import Axis, Chart, Line
from changedet.rendering.page import Block, Headline, Headlines, Note, Section, Table
from changedet.report.facts import facts_table, flat, heading
from changedet.storage.text import is_file, read_text
from changedet.storage.yaml import yaml_tree
from changedet.training.dataset_statistics import TrainingRecord

_TRAINED = {
    "loss": "all terms",
    "loss_position": "position branch",
    "loss_channel": "channel branch",
    "loss_fused": "fused result",
}
_VALIDATED = {"max_f1": "F1", "precision": "precision", "recall": "recall"}
#: Shorter logs are drawn point by point, longer ones as means of as many parts.
_DRAWN_POINTS = 400
_MIXED = (
    "F1 is the mean of the data sets (or the worst, as training.select_by says), each at the "
    "threshold of its kind of change; precision and recall are those of all pixels together."
)


def training_sections(folder: Path, record: TrainingRecord, *, title: str) -> list[Section]:
    """Describe a training run.

    Args:
        folder: Where it lies.
        record: What was measured on its data.
        title: Heading of the first section; empty: none.

    Raises:
        ResultsError: If a log or the settings are damaged.
    """
    trained, validated = read_log(folder, "train"), read_log(folder, "validation")
    blocks: list[Block] = [_headlines(trained, validated)]
    if not validated:
        blocks.append(Note("No validation has taken place yet.", kind="warning"))
    else:
        blocks.append(
            Note(
                "These figures are those of the validation images, which chose the model and its "
                "threshold: optimistic. changedet evaluate measures it on other images."
            )
        )
    return [
        Section(title or "Figures", blocks),
        Section(
            heading(title, "curves"), _charts(trained, validated, is_mixture=record.is_mixture)
        ),
        Section(heading(title, "data and settings"), [_data(record), *_settings(folder)]),
    ]


def read_log(folder: Path, name: str) -> list[dict[str, float]]:
    """Read a log of a run: figures by column, NaN where there is none; empty without a log.

    Args:
        folder: Of the run.
        name: ``train`` or ``validation``.

    Raises:
        ResultsError: If the log is damaged.
    """
    path = folder / "logs" / f"{name}.csv"
    if not is_file(path):
        return []
    rows = list(csv.DictReader(read_text(path, error=ResultsError).splitlines()))
    try:
        return [
            {key: math.nan if value in ("", None) else float(value) for key, value in row.items()}
            for row in rows
        ]
    except (TypeError, ValueError) as error:
        raise ResultsError(f"{path} is damaged; remove it for a page without it") from error


def best_validation(validated: Sequence[dict[str, float]]) -> dict[str, float] | None:
    """Give the validation with the highest F1; the first among equals."""
    known = [row for row in validated if not math.isnan(row.get("max_f1", math.nan))]
    return max(known, key=lambda row: row["max_f1"], default=None)


def validation_line(name: str, validated: Sequence[dict[str, float]], *, column: str) -> Line:
    """Draw a figure of the validations over epochs."""
    points = [(row["epoch"], row.get(column, math.nan)) for row in validated]
    return Line(name, points)


def _headlines(
    trained: Sequence[dict[str, float]], validated: Sequence[dict[str, float]]
) -> Headlines:
    epochs = max((row["epoch"] for row in [*trained, *validated]), default=0)
    items = [Headline(int(epochs), "epochs begun")]
    best = best_validation(validated)
    if best is not None:
        at = f"epoch {best['epoch']:.0f}, optimistic"
        items = [
            Headline(best["max_f1"], "best F1 on validation", at, emphasis="main"),
            Headline(best.get("precision"), "precision"),
            Headline(best.get("recall"), "recall"),
            Headline(best.get("average_precision"), "average precision"),
            *items,
        ]
    return Headlines(items)


def _charts(
    trained: Sequence[dict[str, float]],
    validated: Sequence[dict[str, float]],
    *,
    is_mixture: bool,
) -> list[Block]:
    charts: list[Block] = []
    if trained:
        lines = [
            Line(name, _thinned([(row["step"], row.get(key, math.nan)) for row in trained]))
            for key, name in _TRAINED.items()
            if any(not math.isnan(row.get(key, math.nan)) for row in trained)
        ]
        # A single branch is the whole loss.
        lines = lines[:1] if len(lines) == 2 else lines
        charts.append(
            Chart("Loss", Axis("steps"), Axis("loss", low=0), [_named(lines)[0], *lines[1:]])
        )
    if validated:
        charts.append(
            Chart(
                "Validation, at the best threshold of each",
                Axis("epoch", low=0),
                Axis("share", 0, 1),
                [validation_line(name, validated, column=key) for key, name in _VALIDATED.items()],
            )
        )
    if trained:
        points = _thinned([(row["step"], row.get("learning_rate", math.nan)) for row in trained])
        rate = Axis("rate", low=0)
        charts.append(Chart("Learning rate", Axis("steps"), rate, [Line("", points)]))
    return charts


def _named(lines: Sequence[Line]) -> list[Line]:
    """Leave out the name of a line that has no other beside it."""
    return [Line("", lines[0].points)] if len(lines) == 1 else list(lines)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Take means over neighbours where there are more points than can be told apart."""
    width = math.ceil(len(points) / _DRAWN_POINTS)
    if width <= 1:
        return list(points)
    return [
        (
            sum(x for x, _ in points[at : at + width]) / len(points[at : at + width]),
            sum(y for _, y in points[at : at + width]) / len(points[at : at + width]),
        )
        for at in range(0, len(points), width)
    ]


def _data(record: TrainingRecord) -> Table:
    domain = None if record.domain is None else record.domain.describe()
    return facts_table(
        {
            "data set": f"{record.data_name} ({record.data})",
            "images": domain,
            "labels": record.label.describe(),
            "changed pixels": None
            if record.changed_share is None
            else f"{100 * record.changed_share:.2f} %",
            "pairs of other splits found in training": len(record.leaks) or None,
            "terms": " ".join(record.terms) or None,
            "precision": record.precision,
            "teachers": ", ".join(teacher.model for teacher in record.teachers) or None,
            "changedet": record.package_version,
            "PyTorch": record.torch_version,
        },
        caption="Data",
    )


def _settings(folder: Path) -> list[Block]:
    path = folder / "config.yaml"
    if not is_file(path):
        return []
    tree = yaml_tree(read_text(path, error=ResultsError), origin=path, error=ResultsError)
    if not isinstance(tree, dict):
        raise ResultsError(f"{path} is damaged; remove it for a page without it")
    rows = [[key, value] for key, value in flat(tree).items()]
    return [Table("All settings", ["setting", "value"], rows, is_folded=True)]
