"""Learning rate as a pure function of the position in training, so that resuming needs no state."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from changedet.errors import ConfigError

if TYPE_CHECKING:
    from changedet.training.config import ExperimentConfig


class Schedule(Protocol):
    """Learning rate at a position."""

    def __call__(self, epoch: int, fraction: float) -> float:
        """Learning rate.

        Args:
            epoch: Counted from 1.
            fraction: Share of the epoch that is done, in [0, 1).
        """


@dataclass(frozen=True)
class TableSchedule:
    """Constant learning rates by epoch (spec 3).

    Attributes:
        steps: ``(last epoch, learning rate)``, epochs counted from 1 and rising; each row holds up
            to and including its last epoch.
        epochs: How many epochs are trained; the table must reach that far.
    """

    steps: tuple[tuple[int, float], ...]
    epochs: int

    def __post_init__(self) -> None:
        ends = [end for end, _ in self.steps]
        if not ends or ends != sorted(set(ends)) or ends[0] < 1:
            raise ConfigError(
                f"schedule.steps must list increasing last epochs from 1, got {ends}; for example "
                "[[40, 1e-4], [60, 1e-5]]"
            )
        if ends[-1] < self.epochs:
            raise ConfigError(
                f"schedule.steps ends at epoch {ends[-1]} but training.epochs is {self.epochs}; "
                "add a row for the remaining epochs"
            )

    def __call__(self, epoch: int, fraction: float) -> float:
        """Learning rate of the row that ``epoch`` falls into; ``fraction`` plays no part."""
        return next(lr for end, lr in self.steps if epoch <= end)


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up to ``peak``, then half a cosine down to ``final``; lengths in epochs."""

    peak: float
    epochs: int
    warmup_epochs: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_epochs <= self.epochs:
            raise ConfigError(
                f"schedule.warmup_epochs must be in [0, {self.epochs}] (training.epochs), "
                f"got {self.warmup_epochs}"
            )

    def __call__(self, epoch: int, fraction: float) -> float:
        """Learning rate at ``epoch - 1 + fraction`` epochs done."""
        done = epoch - 1 + fraction
        if done < self.warmup_epochs:
            # From a hundredth of the peak: a rate of exactly 0 would waste the first step.
            return self.peak * max(0.01, done / self.warmup_epochs)
        rest = self.epochs - self.warmup_epochs
        share = min(1.0, (done - self.warmup_epochs) / rest) if rest else 0.0
        return self.final + (self.peak - self.final) * 0.5 * (1.0 + math.cos(math.pi * share))


def build_schedule(config: "ExperimentConfig") -> Schedule:
    """Make the learning-rate schedule of an experiment.

    Raises:
        ConfigError: If the steps do not fit the epochs.
    """
    settings, epochs = config.schedule, config.training.epochs
    if settings.kind == "cosine":
        return CosineSchedule(
            config.optimizer.lr,
            epochs,
            warmup_epochs=settings.warmup_epochs,
            final=settings.final_lr,
        )
    if settings.kind == "table":
        return TableSchedule(settings.steps, epochs)
    return TableSchedule(((epochs, config.optimizer.lr),), epochs)
