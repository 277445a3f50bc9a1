"""The file that TensorBoard reads, and what a full disk does to it."""

import os
from pathlib import Path

import pytest

from changedet.training.event_log import EventLog


def read(folder: Path) -> list[tuple[str, int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return [
        (name, point.step, point.value)
        for name in sorted(found.Tags()["scalars"])
        for point in found.Scalars(name)
    ]


def test_tensorboard_reads_each_figure_as_soon_as_it_is_added(tmp_path):
    log = EventLog(tmp_path / "new", first_step=1)
    log.add(1, {"train/loss": 0.5, "train/learning_rate": 0.25})
    assert read(tmp_path / "new") == [("train/learning_rate", 1, 0.25), ("train/loss", 1, 0.5)]
    log.add(2, {"train/loss": float("nan")})
    log.close()
    assert [step for _, step, _ in read(tmp_path / "new")] == [1, 1, 2]


def test_a_resumed_run_takes_the_place_of_what_it_repeats(tmp_path):
    first = EventLog(tmp_path, first_step=1)
    for step in (1, 2, 3):
        first.add(step, {"loss": float(step)})
    first.close()
    again = EventLog(tmp_path, first_step=2)
    again.add(2, {"loss": 20.0})
    again.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert read(tmp_path) == [("loss", 1, 1.0), ("loss", 2, 20.0)]


def test_a_full_disk_is_an_error_of_the_call_and_of_nothing_else(tmp_path):
    log = EventLog(tmp_path, first_step=1)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._file.fileno())
    os.close(full)
    with pytest.raises(OSError, match="No space left on device"):
        log.add(1, {"loss": 1.0})
    log.close()
