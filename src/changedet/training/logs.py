"""The records of a training run: CSV logs, TensorBoard, curves and figures of each validation."""

import csv
import io
from pathlib import Path
from typing import Any, Literal

from changedet.errors import ResultsError
from changedet.losses.distillation import TEACHER
from changedet.metrics.protocol import (
    SELECTION_SET_NOTE,
    TRAINING_SET_NOTE,
    best_threshold_metrics,
)
from changedet.rendering.heatmap import colour_scale
from changedet.rendering.plots import write_precision_recall_curve
from changedet.storage.atomic import write_text
from changedet.storage.results import Figure, Results
from changedet.storage.text import read_text
from changedet.training.callbacks import LogRow, TrainingCallback, ValidationEvent
from changedet.training.checkpoint import TrainingPosition
from changedet.training.event_log import EventLog

LOSS_TERMS = ("loss", "position", "channel", "fused")
TRAIN_COLUMNS = (
    "step",
    "epoch",
    "batch",
    "learning_rate",
    *(name if name == "loss" else f"loss_{name}" for name in LOSS_TERMS),
    "f_score",
    "best_f_score",
)
VALIDATION_COLUMNS = (
    "step",
    "epoch",
    "batch",
    "max_f1",
    "threshold",
    "precision",
    "recall",
    "average_precision",
    "roc_auc",
    "stored_threshold",
    "best_f_score",
)


SET_COLUMNS = ("step", "epoch", "batch", "set", "kind", "f1", "best_f1", "images")


class ValidationResults(Results):
    """Figures of one validation of a training run, optimistic since they choose the model.

    Attributes:
        step: Steps of the optimiser so far.
        epoch: Epoch of the training, from 1.
        batch: Batches of that epoch so far.
        max_f1: Highest F1 over 96 thresholds.
        threshold: That threshold, a score.
        precision: Precision there.
        recall: Recall there.
        average_precision: Area under the precision-recall curve.
        roc_auc: Area under the ROC curve.
        stored_threshold: Threshold that is stored with the model.
        best_f_score: Highest F1 of the run so far.
        distance: The threshold as a distance.
        images: Number of pairs.
        heatmaps: Which scores the colours of this validation's heat maps stand for.
        note: What a reader must know.
    """

    kind: Literal["validation"] = "validation"
    step: int
    epoch: int
    batch: int
    max_f1: Figure
    threshold: Figure
    precision: Figure
    recall: Figure
    average_precision: Figure
    roc_auc: Figure
    stored_threshold: Figure
    best_f_score: Figure
    distance: Figure
    images: int
    heatmaps: str | None = None
    note: str


class CsvLog:
    """A CSV file that can be cut back to its first rows, as resuming needs it."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path = path
        self.columns = columns

    def start(self, rows: int) -> None:
        """Keep the header and the first ``rows`` rows; make the file if there is none."""
        kept: list[str] = []
        if rows and self.path.is_file():
            kept = read_text(self.path, error=ResultsError).splitlines()[1 : rows + 1]
        write_text(self.path, "\n".join([",".join(self.columns), *kept]) + "\n")

    def add(self, values: dict[str, object]) -> None:
        """Append a row; columns without a value stay empty. Floats keep every digit."""
        line = io.StringIO()
        row = [values.get(column) for column in self.columns]
        csv.writer(line, lineterminator="\n").writerow(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line.getvalue())


def _rows_until(path: Path, *, step: int) -> int:
    """Count the rows of a log, whose first column is the step, up to a step."""
    rows = csv.DictReader(read_text(path, error=ResultsError).splitlines())
    return sum(1 for row in rows if int(row["step"] or 0) <= step)


class RunRecords(TrainingCallback):
    """Write what training has to leave behind (spec 4) under a run's folder.

    ``logs/train.csv`` and ``logs/validation.csv``; TensorBoard under ``logs/tensorboard``;
    ``validation/{epoch}_{batch}_P_R.jpg`` and ``validation/{epoch}_{batch}_metric.json``.

    Args:
        folder: Of the run.
        is_taught: Whether a teacher has a share in the loss, which then has a column.
        is_selection: Whether the validation split chooses the model, or else is trained on.
    """

    def __init__(self, folder: Path, *, is_taught: bool = False, is_selection: bool = True) -> None:
        self.folder = folder
        taught = (f"loss_{TEACHER}",) if is_taught else ()
        self._train = CsvLog(folder / "logs" / "train.csv", (*TRAIN_COLUMNS, *taught))
        self._note = (
            f"{SELECTION_SET_NOTE}: the threshold is chosen on these same images"
            if is_selection
            else f"{TRAINING_SET_NOTE}: these images are trained on"
        )
        self._validation = CsvLog(folder / "logs" / "validation.csv", VALIDATION_COLUMNS)
        self._sets = CsvLog(folder / "logs" / "validation_sets.csv", SET_COLUMNS)
        self._board: EventLog | None = None

    def on_start(self, progress: TrainingPosition, *, batches: int, epochs: int) -> None:
        """Cut the logs back to the position and open TensorBoard."""
        self._train.start(progress.log_rows)
        self._validation.start(progress.validations)
        if self._sets.path.is_file():
            self._sets.start(_rows_until(self._sets.path, step=progress.step))
        self._board = EventLog(self.folder / "logs" / "tensorboard", first_step=progress.step + 1)

    def on_log(self, row: LogRow) -> None:
        """Add a row to the training log."""
        losses = {("loss" if k == "loss" else f"loss_{k}"): v for k, v in row.losses.items()}
        scores = {"f_score": row.f_score, "best_f_score": row.best_f_score}
        self._train.add(
            {
                "step": row.step,
                "epoch": row.epoch,
                "batch": row.batch,
                "learning_rate": row.learning_rate,
                **losses,
                **scores,
            }
        )
        self._scalars(row.step, {**losses, "learning_rate": row.learning_rate}, group="train")

    def on_validation(self, event: ValidationEvent) -> None:
        """Write the curve, the figures and a row."""
        progress = event.progress
        best = best_threshold_metrics(event.histogram)
        figures: dict[str, Any] = {
            "max_f1": progress.f_score,
            "threshold": best.threshold,
            "precision": best.precision,
            "recall": best.recall,
            "average_precision": best.average_precision,
            "roc_auc": best.roc_auc,
            "stored_threshold": event.threshold,
            "best_f_score": progress.best_f_score,
        }
        position = {"step": progress.step, "epoch": progress.epoch, "batch": progress.batch}
        stem = self.folder / "validation" / f"{progress.epoch}_{progress.batch}"
        write_precision_recall_curve(
            stem.with_name(f"{stem.name}_P_R.jpg"),
            event.histogram,
            title=f"validation, epoch {progress.epoch}, batch {progress.batch}",
        )
        ValidationResults(
            **position,
            **figures,
            distance=best.distance,
            images=best.images,
            heatmaps=colour_scale(event.threshold).describe(),
            note=self._note,
        ).write(stem.with_name(f"{stem.name}_metric.json"))
        self._validation.add({**position, **figures})
        for one in event.by_set:
            if not self._sets.path.is_file():
                self._sets.start(0)
            scores = {"f1": one.f1, "best_f1": one.best_f1, "images": one.images}
            self._sets.add({**position, "set": one.name, "kind": one.kind, **scores})
        numbers = {k: v for k, v in figures.items() if isinstance(v, float)}
        numbers |= {f"{one.name}_f1": one.f1 for one in event.by_set}
        self._scalars(progress.step, numbers, group="validation")

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _scalars(self, step: int, values: dict[str, float], *, group: str) -> None:
        if self._board is not None:
            self._board.add(step, {f"{group}/{name}": value for name, value in values.items()})
