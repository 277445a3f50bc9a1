"""The training loop: batches, validation, best and last checkpoint; exact when it is resumed.

The loop knows no settings file and no concrete model, loss or data set: it gets them built. Every
random draw is a function of (seed, epoch, batch) or of (seed, epoch, sample index), so that a run
that was killed and resumed ends with the very weights of one that was not.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from changedet.data.training.sampling import EpochBatches
from changedet.data.training.transforms import PairSample
from changedet.errors import TrainingError
from changedet.losses.distillation import TaughtLoss
from changedet.losses.supervision import BranchLoss
from changedet.models.base import ChangeModel
from changedet.nn.normaliser import normalise
from changedet.training.averaging import AveragedModel
from changedet.training.callbacks import LogRow, SetScore, TrainingCallback, ValidationEvent
from changedet.training.checkpoint import TrainingPosition, save_checkpoint
from changedet.training.objective import Objective
from changedet.training.ranks import OneProcess, Ranks
from changedet.training.schedule import Schedule
from changedet.training.teacher import Teacher
from changedet.training.validation_result import SetValidation as SetValidation
from changedet.training.validation_result import Validation as Validation
from changedet.types import IGNORED, Normalisation

# Apart from the streams that samples and their order draw from (data/sampling.py).
_DROPOUT_STREAM = (2,)
# Dimensions of a batch of labels of one kind of change.
_MAPS = 3


@dataclass(frozen=True)
class TrainerSettings:
    """Length, intervals in batches, numerics.

    Attributes:
        epochs: Passes over the training list.
        validate_every: Batches within an epoch between validations.
        validate_every_epochs: Validation at the end of every n-th epoch, and of the last one.
        accumulate: Batches per optimiser step; checkpoints and validations wait for a whole step.
        clip_norm: Largest norm of all gradients together; None: no limit.
        autocast: bf16 where the device is faster with it; None: float32.
        keep: Which validated model is handed on: the best, or the last where the validation split
            is trained on and can choose none.
        sync_batch_norm: Whether batch norms see the batches of all processes; one has all.
    """

    epochs: int
    seed: int
    validate_every: int
    validate_every_epochs: int
    log_every: int
    checkpoint_every: int
    keep_best: int
    accumulate: int = 1
    clip_norm: float | None = None
    autocast: torch.dtype | None = None
    keep: Literal["best", "last"] = "best"
    sync_batch_norm: bool = True


class Interrupted(Exception):  # noqa: N818 - not an error: somebody asked the run to stop
    """Training stopped when asked to; the last checkpoint holds the position."""

    def __init__(self, progress: TrainingPosition) -> None:
        super().__init__(f"stopped at epoch {progress.epoch}, batch {progress.batch}")
        self.progress = progress


class Validator(Protocol):
    """Scores the model on the validation split."""

    def __call__(self, progress: TrainingPosition) -> Validation:
        """Validate; may raise :class:`StopRequested` where a stop was asked for meanwhile.

        Processes that train together must find the same figures, and stop together.
        """


class StopRequested(Exception):  # noqa: N818 - not an error
    """Raised out of a validation when the run was asked to stop."""


@dataclass(frozen=True)
class TrainingParts:
    """The built objects that a training run is made of.

    Attributes:
        model: Holds the weights that are optimised, saved and averaged.
        loader: Batches in the order of ``sampler``, of each the share of this process.
        sampler: Says which samples make up a batch; the last one of an epoch may be smaller.
        names: Files of each pair, by sample index, for messages.
        export: Writes the model that is evaluated, with the threshold of a validation, to a path.
        average: Moving average of the model's weights, which is then what is validated and
            exported; None: the model itself.
        teacher: Says what it sees in each sample, which ``loss`` then takes beside the labels.
    """

    model: ChangeModel
    loss: BranchLoss | TaughtLoss
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    loader: DataLoader[PairSample]
    sampler: EpochBatches
    names: Sequence[str]
    normalisation: Normalisation
    validate: Validator
    export: Callable[[Path, Validation, TrainingPosition], None]
    average: AveragedModel | None = None
    teacher: Teacher | None = None


class Trainer:
    """Train a model until its epochs are done.

    Args:
        parts: What is trained, on what, towards what.
        settings: Length and intervals.
        folder: Where checkpoints go: ``best.safetensors`` and ``checkpoints/``.
        device: Where the model is.
        callbacks: Told of batches, log rows and validations.
        should_stop: Asked after every step; True ends the run with :class:`Interrupted`, in all
            processes at the same step.
        ranks: The processes that train this model together. Only the main one writes files and
            tells callbacks; the sampler of each must walk through its own share of the batches.
    """

    def __init__(
        self,
        parts: TrainingParts,
        settings: TrainerSettings,
        *,
        folder: Path,
        device: torch.device,
        callbacks: Sequence[TrainingCallback] = (),
        should_stop: Callable[[], bool] = lambda: False,
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks = OneProcess() if ranks is None else ranks
        self.parts = parts
        self.settings = settings
        self.folder = folder
        self.device = device
        self.callbacks = callbacks if self.ranks.is_main else ()
        self.should_stop = should_stop
        self.batches = len(parts.loader)
        self._called: nn.Module = parts.model
        self._pending: list[tuple[Tensor, dict[str, Tensor]]] = []
        self._saved_step = 0

    @property
    def last_path(self) -> Path:
        """The checkpoint that an interrupted run resumes from."""
        return self.folder / "checkpoints" / "last.safetensors"

    def fit(self, progress: TrainingPosition) -> TrainingPosition:
        """Train from a position to the end.

        Args:
            progress: Where to start; it is moved on in place.

        Raises:
            Interrupted: When asked to stop; the last checkpoint is written.
            TrainingError: If the loss is not finite; the message names the batch's files.
            StorageError: If a checkpoint cannot be written.
        """
        devices = [self.device.index or 0] if self.device.type == "cuda" else []
        self._saved_step = progress.step
        self._called = self.ranks.wrap(
            Objective(
                self.parts.model,
                self.parts.loss,
                autocast=self.settings.autocast,
                whole=self.ranks.whole,
            ),
            sync_batch_norm=self.settings.sync_batch_norm,
        )
        with torch.random.fork_rng(devices=devices):
            for callback in self.callbacks:
                callback.on_start(progress, batches=self.batches, epochs=self.settings.epochs)
            if self._validation_due(progress):
                self._validate(progress)
            while progress.epoch <= self.settings.epochs:
                self._run_epoch(progress)
                if progress.epoch == self.settings.epochs:
                    break
                progress.epoch, progress.batch, progress.validated_batch = progress.epoch + 1, 0, 0
            return progress

    def _run_epoch(self, progress: TrainingPosition) -> None:
        if progress.batch >= self.batches:
            return
        self._called.train()
        self.parts.sampler.set_epoch(progress.epoch, start=progress.batch)
        for sample in self.parts.loader:
            rate = self._set_learning_rate(progress)
            self._train_batch(sample, progress)
            progress.batch += 1
            progress.step += 1
            self._tell_batch(progress, rate)
            if progress.batch % self.settings.accumulate == 0 or progress.batch == self.batches:
                self._after_step(progress)

    def _train_batch(self, sample: PairSample, progress: TrainingPosition) -> None:
        torch.manual_seed(_batch_seed(self.settings.seed, progress))
        before, after = (
            image.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            for image in (sample.before, sample.after)
        )
        lesson = () if self.parts.teacher is None else (self.parts.teacher(before, after),)
        before, after = normalise(before, after, self.parts.normalisation)
        label = sample.label.to(self.device, non_blocking=True)
        # Several kinds of change: the maps of the network come pair by pair, too.
        label = label.flatten(0, 1) if label.dim() > _MAPS else label
        sampler = self.parts.sampler
        own = sampler.own_size(progress.batch)
        self.ranks.attend(own=own, whole=sampler.size(progress.batch))
        if not own:
            label = torch.full_like(label, IGNORED)
        # Of the batches of this optimiser step, of which the last one of an epoch may have fewer.
        first = progress.batch - progress.batch % self.settings.accumulate
        size = min(self.settings.accumulate, self.batches - first)
        ends_step = progress.batch + 1 == first + size
        with contextlib.nullcontext() if ends_step else self.ranks.apart(self._called):
            terms = self._called(before, after, label, *lesson)
            (terms.total / size).backward()
        self._pending.append(
            (
                sample.index,
                {
                    "loss": terms.total.detach(),
                    **{name: term.detach() for name, term in terms.terms.items()},
                },
            )
        )
        # On a GPU each look at a loss makes the host wait, so there they are looked at in bulk.
        if self.device.type == "cpu" or len(self._pending) >= self.settings.log_every:
            self._flush(progress)
        if ends_step:
            self._step_optimizer(progress)

    def _step_optimizer(self, progress: TrainingPosition) -> None:
        if self.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parts.model.parameters(), self.settings.clip_norm)
        self.parts.optimizer.step()
        self.parts.optimizer.zero_grad(set_to_none=True)
        if self.parts.average is not None:
            self.parts.average.update(self.parts.model, step=progress.step + 1)

    def _after_step(self, progress: TrainingPosition) -> None:
        validation_due = self._validation_due(progress)
        if validation_due:
            self._validate(progress)
        if self.ranks.any(self.should_stop()):
            self._save_last(progress)
            raise Interrupted(progress)
        is_old = progress.step - self._saved_step >= self.settings.checkpoint_every
        if validation_due or is_old or progress.batch == self.batches:
            self._save_last(progress)

    def _validation_due(self, progress: TrainingPosition) -> bool:
        every = self.settings.validate_every
        passed = progress.batch // every > progress.validated_batch // every
        is_last = progress.epoch == self.settings.epochs
        closes = is_last or progress.epoch % self.settings.validate_every_epochs == 0
        at_end = progress.batch == self.batches and progress.validated_batch < self.batches
        return passed or (closes and at_end)

    def _validate(self, progress: TrainingPosition) -> None:
        self._flush(progress)
        # Without synchronised batch norms each process has running statistics of its own.
        judged = self.parts.model if self.parts.average is None else self.parts.average.module
        self.ranks.copy_from_main(judged.buffers())
        try:
            result = self.parts.validate(progress)
        except StopRequested:
            # Not validated yet as far as the checkpoint knows: resuming starts with it.
            self._save_last(progress)
            raise Interrupted(progress) from None
        self._called.train()
        progress.validated_batch = progress.batch
        progress.validations += 1
        progress.f_score = result.f_score
        is_best = progress.best_f_score is None or result.f_score > progress.best_f_score
        if is_best:
            progress.best_f_score = result.f_score
        if is_best or self.settings.keep == "last":
            self._export_best(result, progress)
        event = ValidationEvent(
            progress,
            result.histogram,
            result.threshold,
            result.roc_auc,
            is_best,
            by_set=tuple(
                SetScore(one.name, one.kind, one.f1, one.best_f1, one.histogram.images)
                for one in result.sets
            ),
        )
        for callback in self.callbacks:
            callback.on_validation(event)

    def _export_best(self, result: Validation, progress: TrainingPosition) -> None:
        name = f"best_{progress.epoch}_{progress.batch}.safetensors"
        if self.ranks.is_main:
            self.parts.export(self.folder / "checkpoints" / name, result, progress)
            self.parts.export(self.folder / "best.safetensors", result, progress)
        # A resumed run finds again a best model that it had already found before it was killed.
        progress.best_files = [*(n for n in progress.best_files if n != name), name]
        while len(progress.best_files) > self.settings.keep_best:
            oldest = self.folder / "checkpoints" / progress.best_files.pop(0)
            if self.ranks.is_main:
                oldest.unlink(missing_ok=True)

    def _save_last(self, progress: TrainingPosition) -> None:
        self._flush(progress)
        if self.ranks.is_main:
            save_checkpoint(
                self.last_path,
                model=self.parts.model,
                optimizer=self.parts.optimizer,
                progress=progress,
                average=self.parts.average,
            )
        self._saved_step = progress.step

    def _flush(self, progress: TrainingPosition) -> None:
        """Bring pending losses to the host, look for a loss that is no number, add them up."""
        if not self._pending:
            return
        names = list(self._pending[0][1])
        values = torch.stack(
            [torch.stack([losses[name].float() for name in names]) for _, losses in self._pending]
        ).tolist()
        for (indices, _), row in zip(self._pending, values, strict=True):
            if not np.isfinite(row).all():
                shares = self.ranks.gather(indices.tolist())
                numbers = dict.fromkeys(number for share in shares for number in share)
                files = ", ".join(self.parts.names[number] for number in numbers)
                raise TrainingError(
                    f"the loss is not finite in epoch {progress.epoch} (losses {row}); the batch's "
                    f"files: {files}; check them, or lower optimizer.lr or set training.clip_norm"
                )
            for name, value in zip(names, row, strict=True):
                progress.loss_sums[name] = progress.loss_sums.get(name, 0.0) + value
            progress.loss_count += 1
        self._pending.clear()

    def _tell_batch(self, progress: TrainingPosition, rate: float) -> None:
        pairs = self.parts.sampler.size(progress.batch - 1)
        for callback in self.callbacks:
            callback.on_batch(progress, pairs=pairs)
        if progress.step % self.settings.log_every and progress.batch != self.batches:
            return
        self._flush(progress)
        means = {name: total / progress.loss_count for name, total in progress.loss_sums.items()}
        row = LogRow(
            step=progress.step,
            epoch=progress.epoch,
            batch=progress.batch,
            learning_rate=rate,
            losses=means,
            f_score=progress.f_score,
            best_f_score=progress.best_f_score,
        )
        progress.loss_sums, progress.loss_count = {}, 0
        progress.log_rows += 1
        for callback in self.callbacks:
            callback.on_log(row)

    def _set_learning_rate(self, progress: TrainingPosition) -> float:
        rate = self.parts.schedule(progress.epoch, progress.batch / self.batches)
        for group in self.parts.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_factor", 1.0)
        return rate


def _batch_seed(seed: int, progress: TrainingPosition) -> int:
    entropy = np.random.SeedSequence(
        [seed, progress.epoch, progress.batch], spawn_key=_DROPOUT_STREAM
    )
    return int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
