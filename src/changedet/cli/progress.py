"""Progress of a training on a terminal: pairs/s, loss, best F1, time left."""

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from changedet.cli.streams import messages_console
from changedet.cli.wording import is_warning, with_options
from changedet.training.callbacks import LogRow, TrainingCallback, ValidationEvent
from changedet.training.checkpoint import TrainingPosition


class TrainingDisplay(TrainingCallback):
    """A plain line for each log row and validation, and on a terminal a bar below them.

    Args:
        quiet: Show warnings only.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = messages_console()
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn(
                "{task.fields[rate]:.1f} pairs/s  loss {task.fields[loss]}  "
                "best F1 {task.fields[best]}"
            ),
            TimeRemainingColumn(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self._task: TaskID | None = None
        self._pairs = 0
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        if not self._quiet or is_warning(message):
            self.console.print(with_options(message), markup=False)

    def on_start(self, progress: TrainingPosition, *, batches: int, epochs: int) -> None:
        """Open the bar at the position."""
        self._task = self._bar.add_task(
            "train",
            total=batches * epochs,
            completed=(progress.epoch - 1) * batches + progress.batch,
            epoch=progress.epoch,
            rate=0.0,
            loss="-",
            best=_score(progress.best_f_score),
        )
        self._restart_clock()

    def on_batch(self, progress: TrainingPosition, *, pairs: int) -> None:
        """Move the bar on."""
        self._pairs += pairs
        if self._task is not None:
            self._bar.update(
                self._task,
                advance=1,
                epoch=progress.epoch,
                rate=self._rate(),
                best=_score(progress.best_f_score),
            )

    def on_log(self, row: LogRow) -> None:
        """Print a line with the learning rate and the losses (spec 4), above the bar if any."""
        if self._task is not None:
            self._bar.update(self._task, loss=f"{row.losses['loss']:.4f}")
        terms = " ".join(f"{name} {value:.4f}" for name, value in row.losses.items())
        self.say(
            f"epoch {row.epoch} batch {row.batch} lr {row.learning_rate:.3g} {terms} "
            f"f-score {_score(row.f_score)} best {_score(row.best_f_score)} "
            f"{self._rate():.1f} pairs/s"
        )
        self._restart_clock()

    def on_validation(self, event: ValidationEvent) -> None:
        """Print what a validation found."""
        mark = "  (best so far, saved)" if event.is_best else ""
        self.say(
            f"epoch {event.progress.epoch} batch {event.progress.batch}: "
            f"{'F1 of the sets' if event.by_set else 'max-F1'} "
            f"{_score(event.progress.f_score)} at score {event.threshold:.4f}, "
            f"ROC-AUC {event.roc_auc:.4f}{mark}"
        )
        for one in event.by_set:
            self.say(
                f"  {one.name} ({one.kind}, {one.images} pairs): F1 {_score(one.f1)} at the "
                f"threshold of its kind, {_score(one.best_f1)} at its own best"
            )
        self._restart_clock()

    def _rate(self) -> float:
        return self._pairs / max(time.monotonic() - self._since, 1e-9)

    def _restart_clock(self) -> None:
        self._pairs, self._since = 0, time.monotonic()


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
