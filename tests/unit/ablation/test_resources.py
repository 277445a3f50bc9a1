"""Time, speed, memory and budget of a training."""

import signal

import pytest

from changedet.ablation import resources as module
from changedet.ablation.resources import (
    ResourceMeter,
    Resources,
    read_resources,
)
from changedet.errors import StorageError
from changedet.training.checkpoint import TrainingPosition


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stops(monkeypatch) -> list[int]:
    sent: list[int] = []
    monkeypatch.setattr(module.signal, "raise_signal", sent.append)
    return sent


def batch(meter: ResourceMeter, clock: Clock, seconds: float, pairs: int = 4) -> None:
    clock.now += seconds
    meter.on_batch(TrainingPosition(), pairs=pairs)


def start(meter: ResourceMeter) -> ResourceMeter:
    meter.on_start(TrainingPosition(), batches=10, epochs=1)
    return meter


def test_speed_leaves_out_the_first_batch_and_validations(tmp_path, clock):
    meter = start(ResourceMeter(tmp_path / "r.json", clock=clock))
    assert meter.resources.pairs_per_second is None
    batch(meter, clock, 50.0)
    batch(meter, clock, 2.0)
    clock.now += 30.0
    meter.on_validation(None)
    batch(meter, clock, 2.0)
    assert meter.resources.pairs_per_second == 2.0
    assert meter.resources.seconds == 84.0


def test_a_resumed_training_adds_to_what_was_taken_before(tmp_path, clock):
    path = tmp_path / "r.json"
    first = start(ResourceMeter(path, clock=clock))
    batch(first, clock, 5.0)
    batch(first, clock, 1.0)
    first.close()
    assert read_resources(path).state == "begun"
    clock.now += 1000.0
    second = start(ResourceMeter(path, clock=clock))
    batch(second, clock, 5.0)
    batch(second, clock, 3.0)
    second.close()
    second.finish()
    stored = read_resources(path)
    assert (stored.seconds, stored.training_seconds, stored.pairs) == (14.0, 4.0, 8)
    assert stored.state == "finished"


def test_a_spent_budget_stops_once_and_cleanly(tmp_path, clock, stops):
    meter = start(ResourceMeter(tmp_path / "r.json", budget_s=10.0, clock=clock))
    batch(meter, clock, 9.0)
    assert stops == []
    batch(meter, clock, 1.0)
    batch(meter, clock, 1.0)
    assert stops == [signal.SIGINT]
    meter.close()
    assert read_resources(tmp_path / "r.json").state == "budget spent"


def test_a_training_whose_parent_is_gone_stops(tmp_path, clock, stops, monkeypatch):
    meter = start(ResourceMeter(tmp_path / "r.json", clock=clock))
    monkeypatch.setattr(module.os, "getppid", lambda: 1_000_000)
    batch(meter, clock, 1.0)
    assert stops == [signal.SIGINT]
    assert meter.resources.state == "begun"


def test_memory_is_that_of_the_process_or_of_the_gpu(tmp_path, clock, monkeypatch):
    meter = start(ResourceMeter(tmp_path / "p.json", clock=clock))
    meter.close()
    stored = read_resources(tmp_path / "p.json")
    assert stored.memory == "process"
    assert stored.peak_bytes is None or stored.peak_bytes > 10_000_000
    monkeypatch.setattr(module.torch.cuda, "max_memory_allocated", lambda: 123)
    start(ResourceMeter(tmp_path / "g.json", on_gpu=True, clock=clock)).close()
    stored = read_resources(tmp_path / "g.json")
    assert (stored.memory, stored.peak_bytes) == ("gpu", 123)


def test_memory_is_averaged_over_batches_and_over_interruptions(tmp_path, clock, monkeypatch):
    held = iter([2.0e9, 4.0e9, 9.0e9])
    monkeypatch.setattr(module.torch.cuda, "max_memory_allocated", lambda: 123)
    monkeypatch.setattr(module.torch.cuda, "memory_reserved", lambda: next(held))
    path = tmp_path / "r.json"
    for batches in (2, 1):
        meter = start(ResourceMeter(path, on_gpu=True, clock=clock))
        for _ in range(batches):
            batch(meter, clock, 1.0)
        meter.close()
    stored = read_resources(path)
    assert (stored.average_bytes, stored.looks) == (pytest.approx(5.0e9), 3)


def test_a_process_holds_less_on_average_than_at_its_peak(tmp_path, clock):
    meter = start(ResourceMeter(tmp_path / "r.json", clock=clock))
    batch(meter, clock, 1.0)
    meter.close()
    stored = meter.resources
    known = stored.average_bytes is not None and stored.peak_bytes is not None
    assert not known or 10_000_000 < stored.average_bytes <= stored.peak_bytes


def test_nothing_is_taken_before_the_start_and_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "r.json"
    assert read_resources(path) == Resources()
    ResourceMeter(path).close()
    assert read_resources(path).seconds == 0.0
    path.write_text("{")
    with pytest.raises(StorageError, match=r"r\.json cannot be read"):
        read_resources(path)
