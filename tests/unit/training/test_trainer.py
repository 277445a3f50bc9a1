"""The training loop by itself, on parts small enough to follow by hand."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from changedet.data.training.sampling import EpochBatches
from changedet.data.training.transforms import PairSample
from changedet.errors import TrainingError
from changedet.losses.loss_sum import add_sums
from changedet.losses.registry import LossOptions, build_pixel_losses
from changedet.losses.supervision import BranchLoss
from changedet.metrics.histogram import ScoreHistogram
from changedet.models.base import ChangeModel
from changedet.training.callbacks import TrainingCallback
from changedet.training.checkpoint import TrainingPosition
from changedet.training.ranks import OneProcess
from changedet.training.schedule import TableSchedule
from changedet.training.trainer import (
    Interrupted,
    StopRequested,
    Trainer,
    TrainerSettings,
    TrainingParts,
    Validation,
)
from changedet.types import IGNORED, BranchOutput, ChangeMap, Normalisation

AS_STORED = Normalisation((0.0,), (0.0,), (1.0,), (1.0,))
LENGTH, SIZE = 6, 4
CPU = torch.device("cpu")
NO_IMAGES = ScoreHistogram(
    np.zeros(1, np.float32), np.zeros((0, 1), np.int64), np.zeros((0, 1), np.int64)
)


class Linear(ChangeModel):
    """A logit of one weight and one bias: gradients can be told by hand."""

    architecture = "linear"

    def __init__(self) -> None:
        super().__init__(
            in_channels=1, stride=1, branch_names=("fused",), fixed_tile=False, options={}
        )
        self.classify = nn.Conv2d(1, 1, kernel_size=1)
        nn.init.constant_(self.classify.weight, 0.1)
        nn.init.constant_(self.classify.bias, 0.0)

    def compare(self, before, after, *, branches, levels):
        logit = self.classify(after - before).squeeze(1)
        return {"fused": BranchOutput(change=ChangeMap.from_logit(logit))}


class Pairs(Dataset):
    """Sample i has changed by i + 1 everywhere; the upper rows of odd ones are ignored."""

    def __len__(self):
        return LENGTH

    def __getitem__(self, key):
        before = torch.zeros(1, SIZE, SIZE)
        label = torch.full((SIZE, SIZE), key.index % 3 == 0, dtype=torch.uint8)
        if key.index % 2:
            label[: SIZE // 2] = IGNORED
        return PairSample(before, before + key.index + 1.0, label, torch.tensor(key.index))


class Recorder(TrainingCallback):
    """Writes down all that it is told of."""

    def __init__(self, events):
        self.events = events
        self.rows = []

    def on_start(self, progress, *, batches, epochs):
        self.events.append(f"start {batches}x{epochs}")

    def on_batch(self, progress, *, pairs):
        self.events.append(f"batch {progress.epoch}.{progress.batch} of {pairs}")

    def on_log(self, row):
        self.rows.append(row)
        self.events.append(f"log {row.step}")

    def on_validation(self, event):
        self.events.append(f"validated {event.progress.epoch}.{event.progress.batch}")


class Run:
    """A trainer, what it is made of and what it did."""

    def __init__(self, folder, *, f_scores=(), ranks=None, should_stop=lambda: False, **settings):
        self.events = []
        self.recorder = Recorder(self.events)
        self.model = Linear()
        self.f_scores = list(f_scores)
        ranks = OneProcess() if ranks is None else ranks
        sampler = EpochBatches(LENGTH, batch_size=2, seed=0, rank=ranks.rank, world=ranks.world)
        parts = TrainingParts(
            model=self.model,
            loss=BranchLoss(
                build_pixel_losses({"bce": 1.0}, LossOptions()), branch_weights={"fused": 1.0}
            ),
            optimizer=torch.optim.SGD(self.model.parameters(), lr=0.1),
            schedule=TableSchedule(((9, 0.1),), 9),
            loader=DataLoader(Pairs(), batch_sampler=sampler),
            sampler=sampler,
            names=[f"pair_{i}.png" for i in range(LENGTH)],
            normalisation=AS_STORED,
            validate=self.validate,
            export=self.export,
        )
        base = TrainerSettings(
            epochs=1,
            seed=0,
            validate_every=100,
            validate_every_epochs=1,
            log_every=1,
            checkpoint_every=100,
            keep_best=2,
        )
        self.trainer = Trainer(
            parts,
            replace(base, **settings),
            folder=folder,
            device=CPU,
            callbacks=[self.recorder],
            should_stop=should_stop,
            ranks=ranks,
        )

    def use(self, **parts):
        self.trainer.parts = replace(self.trainer.parts, **parts)

    def validate(self, progress):
        self.events.append("validate")
        f_score = self.f_scores.pop(0) if self.f_scores else 0.5
        return Validation(NO_IMAGES, f_score, 0.5, 0.5)

    def export(self, path, result, progress):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{result.f_score}")
        self.events.append(f"export {path.name}")

    def fit(self):
        return self.trainer.fit(TrainingPosition())

    @property
    def weights(self):
        return [p.detach().item() for p in self.model.parameters()]


def batches(epoch=1):
    """What the loader of one process gives in an epoch."""
    sampler = EpochBatches(LENGTH, batch_size=2, seed=0)
    sampler.set_epoch(epoch)
    return list(DataLoader(Pairs(), batch_sampler=sampler))


def gradient(model, samples):
    """Gradient of the mean of the batches' losses, by hand."""
    model = copy.deepcopy(model)
    model.zero_grad()
    losses = []
    for sample in samples:
        logit = model.classify(sample.after - sample.before).squeeze(1)
        kept = sample.label != IGNORED
        losses.append(
            nn.functional.binary_cross_entropy_with_logits(logit[kept], sample.label[kept].float())
        )
    torch.stack(losses).mean().backward()
    return [float(p.grad) for p in model.parameters()]


def test_events_come_in_order(tmp_path):
    run = Run(tmp_path, epochs=2, log_every=2, validate_every=2, f_scores=[0.5, 0.4, 0.6, 0.3])
    position = run.fit()
    assert run.events == [
        "start 3x2",
        "batch 1.1 of 2",
        "batch 1.2 of 2",
        "log 2",
        "validate",
        "export best_1_2.safetensors",
        "export best.safetensors",
        "validated 1.2",
        "batch 1.3 of 2",
        "log 3",
        "validate",
        "validated 1.3",
        "batch 2.1 of 2",
        "log 4",
        "batch 2.2 of 2",
        "validate",
        "export best_2_2.safetensors",
        "export best.safetensors",
        "validated 2.2",
        "batch 2.3 of 2",
        "log 6",
        "validate",
        "validated 2.3",
    ]
    assert (position.epoch, position.batch, position.step) == (2, 3, 6)
    assert (position.best_f_score, position.f_score) == (0.6, 0.3)


def test_only_so_many_best_models_are_kept(tmp_path):
    run = Run(tmp_path, validate_every=1, f_scores=[0.1, 0.2, 0.3])
    position = run.fit()
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("best_*"))
    assert kept == position.best_files == ["best_1_2.safetensors", "best_1_3.safetensors"]
    assert (tmp_path / "best.safetensors").read_text() == "0.3"


def test_a_step_follows_the_gradient_of_its_batch(tmp_path):
    run = Run(tmp_path)
    expected = run.weights
    for sample in batches():
        model = Linear()
        for parameter, value in zip(model.parameters(), expected, strict=True):
            nn.init.constant_(parameter, value)
        expected = [
            value - 0.1 * slope
            for value, slope in zip(expected, gradient(model, [sample]), strict=True)
        ]
    run.fit()
    assert run.weights == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("accumulate", [2, 3, 4])
def test_an_accumulated_step_follows_the_mean_of_its_batches_losses(tmp_path, accumulate):
    run = Run(tmp_path, accumulate=accumulate)
    model, samples = Linear(), batches()
    # Three batches an epoch: the last group of an epoch may be short.
    for first in range(0, 3, accumulate):
        slopes = gradient(model, samples[first : first + accumulate])
        with torch.no_grad():
            for parameter, slope in zip(model.parameters(), slopes, strict=True):
                parameter -= 0.1 * slope
    run.fit()
    assert run.weights == pytest.approx([p.detach().item() for p in model.parameters()], rel=1e-5)


def test_validations_and_stops_wait_for_a_whole_step(tmp_path):
    run = Run(tmp_path, accumulate=2, validate_every=1, should_stop=lambda: True)
    with pytest.raises(Interrupted) as stop:
        run.fit()
    assert stop.value.progress.batch == 2
    assert run.events.index("validate") > run.events.index("batch 1.2 of 2")


def test_gradients_are_clipped_to_the_norm(tmp_path):
    run = Run(tmp_path, accumulate=3, clip_norm=0.01)
    before = run.weights
    run.fit()
    slopes = [(old - new) / 0.1 for old, new in zip(before, run.weights, strict=True)]
    assert np.hypot(*slopes) == pytest.approx(0.01, rel=1e-3)
    free = gradient(Linear(), batches())
    assert np.hypot(*free) > 0.02
    assert slopes[0] / slopes[1] == pytest.approx(free[0] / free[1], rel=1e-3)


def test_a_log_row_holds_the_mean_loss_since_the_row_before(tmp_path):
    each = Run(tmp_path / "each")
    each.fit()
    both = Run(tmp_path / "both", log_every=2)
    both.fit()
    first, second, third = (row.losses["loss"] for row in each.recorder.rows)
    assert [row.losses["loss"] for row in both.recorder.rows] == pytest.approx(
        [(first + second) / 2, third]
    )


@pytest.mark.parametrize("step", [1, 2])
def test_a_stop_after_any_batch_saves_the_position_and_resuming_changes_nothing(tmp_path, step):
    whole = Run(tmp_path / "whole")
    whole.fit()
    part = Run(tmp_path / "part", should_stop=lambda: len(batch_events(part)) == step)
    with pytest.raises(Interrupted) as stop:
        part.fit()
    assert stop.value.progress.step == step
    assert part.trainer.last_path.is_file()
    part.trainer.should_stop = lambda: False
    part.trainer.fit(stop.value.progress)
    assert part.weights == whole.weights
    assert batch_events(part) == batch_events(whole)


def batch_events(run):
    return [event for event in run.events if event.startswith("batch")]


def test_a_stop_during_a_validation_leaves_it_to_be_done_again(tmp_path):
    run = Run(tmp_path, validate_every=2)

    def stop(progress):
        raise StopRequested

    run.use(validate=stop)
    with pytest.raises(Interrupted) as caught:
        run.fit()
    assert (caught.value.progress.batch, caught.value.progress.validated_batch) == (2, 0)
    run.use(validate=run.validate)
    del run.events[:]
    run.trainer.fit(caught.value.progress)
    assert run.events[:2] == ["start 3x1", "validate"]


def test_a_loss_that_is_not_finite_names_the_files_of_its_batch(tmp_path):
    run = Run(tmp_path)
    nn.init.constant_(run.model.classify.weight, float("nan"))
    files = ", ".join(f"pair_{i}.png" for i in batches()[0].index.tolist())
    with pytest.raises(TrainingError, match=rf"not finite in epoch 1 .*files: {files};"):
        run.fit()
    assert not run.trainer.last_path.exists()


def test_a_wrapper_is_called_and_the_model_in_it_is_saved(tmp_path):
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module
            self.calls = 0

        def forward(self, *batch):
            self.calls += 1
            return self.module(*batch)

    class Wrapping(OneProcess):
        def wrap(self, module, *, sync_batch_norm):
            assert sync_batch_norm
            self.wrapper = Wrapper(module)
            return self.wrapper

    ranks = Wrapping()
    run = Run(tmp_path, ranks=ranks)
    run.fit()
    plain = Run(tmp_path / "plain")
    plain.fit()
    assert ranks.wrapper.calls == 3
    assert run.weights == plain.weights
    assert run.trainer.last_path.read_bytes() == plain.trainer.last_path.read_bytes()


class SecondOfTwo(OneProcess):
    """The second process of two, which is told of the first one what a test says."""

    rank, world, is_main = 1, 2, False

    def __init__(self, *, stops_at=None):
        self.asked = 0
        self.stops_at = stops_at

    def any(self, flag):
        self.asked += 1
        return flag or self.asked == self.stops_at


def test_a_process_beside_the_main_one_writes_and_tells_nothing(tmp_path):
    run = Run(tmp_path, ranks=SecondOfTwo(), validate_every=1, checkpoint_every=1)
    position = run.fit()
    # It validates, too, so that it knows the best figure; one sample of each of three batches.
    assert run.events == ["validate", "validate", "validate"]
    assert position.best_files == ["best_1_1.safetensors"]
    assert list(tmp_path.iterdir()) == []


def test_all_processes_stop_where_one_was_asked_to(tmp_path):
    run = Run(tmp_path, ranks=SecondOfTwo(stops_at=1))
    with pytest.raises(Interrupted) as stop:
        run.fit()
    assert stop.value.progress.step == 1


class OneOfSeveral(OneProcess):
    """A process whose loss is divided by the sums of all; gradients are added up by the test."""

    def __init__(self, rank, world, others):
        self.rank, self.is_main, self.world = rank, rank == 0, world
        self.others = others
        self.attended = []

    def whole(self, sums):
        for other in self.others:
            sums = add_sums(sums, other)
        return {part: loss.detach() for part, loss in sums.items()}

    def attend(self, *, own, whole):
        self.attended.append((own, whole))


@pytest.mark.parametrize(("batch", "world"), [(2, 2), (4, 2), (4, 3)])
def test_the_gradients_of_processes_add_up_to_that_of_one_with_the_whole_batch(batch, world):
    # Odd samples count half their pixels, so that a mean of means would be another loss.
    def shared(rank):
        return EpochBatches(LENGTH, batch_size=batch, seed=0, rank=rank, world=world)

    def sample_of(rank):
        sampler = shared(rank)
        sampler.set_epoch(1)
        return next(iter(DataLoader(Pairs(), batch_sampler=sampler)))

    loss = BranchLoss(
        build_pixel_losses({"bce": 1.0}, LossOptions()), branch_weights={"fused": 1.0}
    )
    model = Linear()
    samples = [sample_of(rank) for rank in range(world)]
    sums = [loss.sums(model(one.before, one.after), one.label) for one in samples]
    for own in sums:
        whole = {part: value.detach() for part, value in add_sums(*sums).items()}
        loss.combine(own, whole=whole).total.backward(retain_graph=True)
    one = EpochBatches(LENGTH, batch_size=batch, seed=0)
    one.set_epoch(1)
    together = next(iter(DataLoader(Pairs(), batch_sampler=one)))
    slopes = [p.grad.item() for p in model.parameters()]
    assert slopes == pytest.approx(gradient(Linear(), [together]), rel=1e-5)


def test_a_process_without_a_share_of_a_batch_has_no_weight_in_it(tmp_path):
    ranks = OneOfSeveral(1, 2, [])
    run = Run(tmp_path, ranks=ranks)
    sampler = EpochBatches(3, batch_size=2, seed=0, rank=1, world=2)
    run.use(sampler=sampler, loader=DataLoader(Pairs(), batch_sampler=sampler))
    run.trainer.batches = len(sampler)
    slopes = []
    after_backward = run.trainer._step_optimizer
    run.trainer._step_optimizer = lambda progress: (
        slopes.append([p.grad.item() for p in run.model.parameters()]),
        after_backward(progress),
    )
    run.fit()
    assert ranks.attended == [(1, 2), (0, 1)]
    assert any(slopes[0])
    assert slopes[1] == [0.0, 0.0]
