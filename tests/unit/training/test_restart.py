"""What a training does that torchrun has started again."""

import os
from pathlib import Path

import pytest

from changedet.training.dataset_statistics import TrainingRecord
from changedet.training.launch import Launch
from changedet.training.request import TrainRequest
from changedet.training.restart import settle_restart

AGAIN = Launch(world=2, restarts=1, job="ours", launcher="here")
OLD_RECORD = Path(__file__).parents[1] / "root" / "old_results" / "training.json"


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that a torchrun has begun on two machines, without a checkpoint."""
    out = tmp_path / "run"
    ours = {"job": "ours", "launchers": ("here", "there"), "processes": 2}
    record = TrainingRecord.read(OLD_RECORD).model_copy(update=ours)
    record.write(out / "run.json")
    return out


def save(out, *, later):
    last = out / "checkpoints" / "last.safetensors"
    last.parent.mkdir(exist_ok=True)
    last.write_bytes(b"")
    written = (out / "run.json").stat().st_mtime_ns
    os.utime(last, ns=(0, written + (1 if later else -1)))


def asked(out, **options):
    return TrainRequest(
        out=out, data=Path("pairs"), recipe="small", overrides=("training.epochs=9",), **options
    )


def test_without_torchrun_the_command_means_what_it_says(begun):
    save(begun, later=True)
    request = asked(begun)
    assert settle_restart(request, Launch()) is request


@pytest.mark.parametrize(
    "launch",
    [
        # Machines that have joined are no failure, so nothing is counted.
        Launch(world=3, job="ours", launcher="there"),
        Launch(world=2, restarts=1, launcher="here"),
        # The first process may have moved to a machine that was not there before.
        Launch(world=2, restarts=1, job="ours", launcher="elsewhere"),
    ],
)
def test_the_torchrun_that_began_a_run_goes_on_with_it(begun, launch):
    save(begun, later=True)
    assert settle_restart(asked(begun), launch).mode == "resume"


def test_a_run_with_a_checkpoint_goes_on_from_it_with_its_own_settings(begun):
    save(begun, later=True)
    settled = settle_restart(asked(begun, mode="overwrite", init="model"), AGAIN)
    assert settled == TrainRequest(out=begun, data=Path("pairs"), mode="resume")


def test_a_run_without_a_checkpoint_begins_again(begun):
    settled = settle_restart(asked(begun), AGAIN)
    assert settled == asked(begun, mode="overwrite")


def test_a_resumed_run_goes_back_to_its_epoch_only_until_it_has_saved_there(begun):
    save(begun, later=False)
    request = asked(begun, mode="resume", start_epoch=2)
    assert settle_restart(request, AGAIN) is request
    save(begun, later=True)
    assert settle_restart(request, AGAIN).start_epoch is None


@pytest.mark.parametrize(
    "launch",
    [
        Launch(world=2, restarts=1, job="another", launcher="elsewhere"),
        # The same name, but a new call of torchrun.
        Launch(world=2, job="ours", launcher="elsewhere"),
        Launch(world=2, restarts=1, launcher="elsewhere"),
    ],
)
def test_the_run_of_another_torchrun_is_left_to_the_command(begun, launch, tmp_path):
    save(begun, later=True)
    request = asked(begun, mode="overwrite")
    assert settle_restart(request, launch) is request
    elsewhere = asked(tmp_path / "new")
    assert settle_restart(elsewhere, AGAIN) is elsewhere
