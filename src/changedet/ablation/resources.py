"""Time, speed and memory of a training, kept up over interruptions; the budget in minutes."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from changedet.inference.memory import peak_process_memory, process_memory
from changedet.storage.results import Record, Results
from changedet.training.callbacks import TrainingCallback, ValidationEvent
from changedet.training.checkpoint import TrainingPosition

State = Literal["begun", "finished", "budget spent"]


class Resources(Record):
    """What a training has taken so far.

    Attributes:
        state: How it ended, if it did.
        seconds: From its first batch on, validations included, summed over interruptions.
        training_seconds: Of that, without validations and without each start's first batch.
        pairs: Pairs that were trained on in ``training_seconds``.
        peak_bytes: Most memory that it held at once: of the GPU where it trained on one, else of
            the process (workers that read images excluded); None where it cannot be told.
        memory: Which of the two memories that is.
        average_bytes: Memory that it held on average, one look after each batch: on a GPU what
            PyTorch has reserved, which is what nvidia-smi shows but for the driver's part, else
            the process; None where it cannot be told.
        looks: Batches in that average.
    """

    state: State = "begun"
    seconds: float = 0.0
    training_seconds: float = 0.0
    pairs: int = 0
    peak_bytes: int | None = None
    memory: Literal["process", "gpu"] = "process"
    average_bytes: float | None = None
    looks: int = 0

    @property
    def pairs_per_second(self) -> float | None:
        """Training speed; None before a second batch."""
        return self.pairs / self.training_seconds if self.training_seconds > 0.0 else None


class ResourcesFile(Resources, Results):
    """What a training of an ablation has taken so far."""

    kind: Literal["ablation_resources"] = "ablation_resources"


def read_resources(path: Path) -> Resources:
    """Read what :class:`ResourceMeter` wrote; nothing taken yet if there is no such file.

    Raises:
        ResultsError: If the file is damaged.
    """
    return ResourcesFile.read(path) if path.is_file() else Resources()


class ResourceMeter(TrainingCallback):
    """Measures a training, and stops it when its budget is spent or its parent is gone.

    Stopping is a SIGINT to the own process: training ends after the batch, and is saved.

    Args:
        path: File that holds the figures; a resumed training adds to them.
        budget_s: Seconds from the first batch on, validations included; None: no limit.
        on_gpu: Whether the GPU's memory is the one to measure.
        clock: Gives seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        budget_s: float | None = None,
        on_gpu: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.resources = read_resources(path)
        self._budget_s = budget_s
        self._on_gpu = on_gpu
        self._clock = clock
        self._parent = os.getppid()
        self._seen: float | None = None
        self._batch: float | None = None
        self._is_stopping = False

    def on_start(self, progress: TrainingPosition, *, batches: int, epochs: int) -> None:
        """Start the clock."""
        self._seen = self._clock()

    def on_batch(self, progress: TrainingPosition, *, pairs: int) -> None:
        """Count the batch, and stop the training where it has to end."""
        now = self._tick()
        if self._batch is not None:
            # Not from each start's first batch: workers start and kernels are chosen meanwhile.
            self._set(
                training_seconds=self.resources.training_seconds + now - self._batch,
                pairs=self.resources.pairs + pairs,
            )
        self._batch = now
        self._look()
        is_spent = self._budget_s is not None and self.resources.seconds >= self._budget_s
        is_orphan = os.getppid() != self._parent
        if (is_spent or is_orphan) and not self._is_stopping:
            self._is_stopping = True
            if is_spent:
                self._set(state="budget spent")
            signal.raise_signal(signal.SIGINT)

    def on_validation(self, event: ValidationEvent) -> None:
        """Leave the validation's time out of the training's, and save the figures."""
        self._batch = self._tick()
        self._save()

    def finish(self) -> None:
        """Take note that the training came to its own end."""
        self._set(state="finished")
        self._save()

    def close(self) -> None:
        """Save the figures."""
        self._tick()
        self._save()

    def _look(self) -> None:
        """Let the memory of this moment enter the average."""
        held = torch.cuda.memory_reserved() if self._on_gpu else process_memory()
        if held is None:
            return
        looks, before = self.resources.looks, self.resources.average_bytes or 0.0
        self._set(average_bytes=before + (held - before) / (looks + 1), looks=looks + 1)

    def _set(self, **figures: object) -> None:
        self.resources = self.resources.model_copy(update=figures)

    def _tick(self) -> float:
        now = self._clock()
        passed = 0.0 if self._seen is None else now - self._seen
        self._set(seconds=self.resources.seconds + passed)
        self._seen = now
        return now

    def _save(self) -> None:
        peak = torch.cuda.max_memory_allocated() if self._on_gpu else peak_process_memory()
        known = [bytes_ for bytes_ in (peak, self.resources.peak_bytes) if bytes_ is not None]
        self._set(
            peak_bytes=max(known, default=None),
            memory="gpu" if self._on_gpu else "process",
        )
        fields = {name: getattr(self.resources, name) for name in Resources.model_fields}
        ResourcesFile(**fields).write(self.path)
