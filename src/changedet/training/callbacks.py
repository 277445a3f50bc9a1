"""What a training run tells those who watch it."""

from collections.abc import Mapping
from dataclasses import dataclass

from changedet.metrics.histogram import ScoreHistogram
from changedet.training.checkpoint import TrainingPosition


@dataclass(frozen=True)
class LogRow:
    """One row of the training log.

    Attributes:
        step: Batches done in all.
        epoch: Counted from 1.
        batch: Batches of that epoch that are done.
        learning_rate: Of the row's last batch.
        losses: Mean of the total (``loss``) and of each term since the row before.
        f_score: Max-F1 of the last validation, None before the first.
        best_f_score: Highest of them.
    """

    step: int
    epoch: int
    batch: int
    learning_rate: float
    losses: Mapping[str, float]
    f_score: float | None
    best_f_score: float | None


@dataclass(frozen=True)
class SetScore:
    """Figures of one data set of a mixture in a validation.

    Attributes:
        name: Of the set.
        kind: Kind of change that it labels.
        f1: F1 at the threshold of its kind.
        best_f1: F1 at the best threshold of its own.
        images: Number of its pairs.
    """

    name: str
    kind: str
    f1: float
    best_f1: float
    images: int


@dataclass(frozen=True)
class ValidationEvent:
    """A validation and what it found; ``by_set`` is empty without a mixture of data sets."""

    progress: TrainingPosition
    histogram: ScoreHistogram
    threshold: float
    roc_auc: float
    is_best: bool
    by_set: tuple[SetScore, ...] = ()


class TrainingCallback:
    """Base of callbacks: every method does nothing until it is overridden."""

    def on_start(self, progress: TrainingPosition, *, batches: int, epochs: int) -> None:
        """Take note of a start at ``progress``; an epoch has ``batches`` batches."""

    def on_batch(self, progress: TrainingPosition, *, pairs: int) -> None:
        """Take note of a finished batch of ``pairs`` pairs."""

    def on_log(self, row: LogRow) -> None:
        """Take note of a log row."""

    def on_validation(self, event: ValidationEvent) -> None:
        """Take note of a validation; a new best model is already written."""

    def close(self) -> None:
        """Release what is held; called once, also after an error."""
