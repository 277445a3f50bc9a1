"""Several processes train one model: as one would, stopped together, killed, and told in one line.

The processes find each other through the variables that torchrun sets; torchrun itself is in
``test_torchrun.py``.
"""

import csv
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from changedet.card import read_card
from mixtures import write_mixture, write_model
from processes import Program, start_changedet, start_ranks, train_ranks
from stand_ins import TINY_NETWORK, TINY_PYRAMID

SETTINGS = (
    *TINY_NETWORK,
    "training.epochs=2",
    "training.batch_size=3",
    "training.validate_every=2",
    "training.checkpoint_every=1",
    "training.log_every=1",
    "training.ema_decay=0.9",
    "optimizer.lr=1e-4",
    "schedule.kind=constant",
)
GENTLE = ("optimizer.lr=1e-5", "training.log_every=1")
SMALL = "model.encoder=test_efficientnet"
pytestmark = pytest.mark.slow


def words(out: Path, data: Path, *changes: str) -> list[str]:
    settings = [part for item in (*SETTINGS, *changes) for part in ("--set", item)]
    return ["--data", str(data), "--out", str(out), "--device", "cpu", *settings]


def finish(programs: list[Program]) -> None:
    codes = [program.wait() for program in programs]
    assert codes == [0] * len(codes), [program.err for program in programs]


def rows(out: Path, log: str = "train.csv") -> list[dict[str, str]]:
    with (out / "logs" / log).open() as file:
        return list(csv.DictReader(file))


def losses(out: Path) -> list[float]:
    return [float(row["loss"]) for row in rows(out)]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "checkpoints" / "last.safetensors")


def messages(programs: list[Program]) -> list[str]:
    """What the user is told, by all processes."""
    return [
        line
        for program in programs
        for line in program.err.splitlines()
        if line.startswith("changedet:")
    ]


def wait_for_rows(out: Path, count: int, program: Program) -> None:
    log = out / "logs" / "train.csv"
    program.wait_until(lambda: log.is_file() and len(log.read_text().splitlines()) > count)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, pairs_folder) -> Path:
    """A run of one process: seven pairs in batches of three, so the last one has one."""
    out = tmp_path_factory.mktemp("alone") / "run"
    finish([start_changedet("train", *words(out, pairs_folder), folder=out.parent / "printed")])
    return out


@pytest.fixture(scope="module")
def together(tmp_path_factory, pairs_folder) -> Path:
    """The same of two processes."""
    out = tmp_path_factory.mktemp("together") / "run"
    programs = train_ranks(2, *words(out, pairs_folder), folder=out.parent / "printed")
    finish(programs)
    assert "2 processes share every batch" in programs[0].err
    assert (programs[1].out, messages(programs)) == ("", [])
    return out


def assert_as_alone(out: Path, alone: Path) -> None:
    assert losses(out)[0] == pytest.approx(losses(alone)[0], rel=1e-6)
    # Rounding, from the first step on: Adam divides by the size of a gradient.
    assert losses(out) == pytest.approx(losses(alone), rel=1e-3)
    positions = [[row[name] for name in ("step", "epoch", "batch")] for row in rows(out)]
    assert positions == [[row[name] for name in ("step", "epoch", "batch")] for row in rows(alone)]
    for own, other in zip(rows(out, "validation.csv"), rows(alone, "validation.csv"), strict=True):
        assert (own["step"], own["max_f1"]) == (other["step"], other["max_f1"])
    stored, expected = weights(out), weights(alone)
    assert stored.keys() == expected.keys()
    for name, value in expected.items():
        if "running" in name or "num_batches" in name:
            torch.testing.assert_close(stored[name], value, rtol=1e-3, atol=1e-4, msg=name)
    card, other = (read_card(run / "best.safetensors") for run in (out, alone))
    assert card.options == other.options


def test_two_processes_train_as_one_does(together, alone):
    assert_as_alone(together, alone)


def _by_a_script(data: str, out: str) -> None:
    """What a script does that torchrun starts in every process."""
    import changedet

    said: list[str] = []
    trained = changedet.train(data, out, settings=SETTINGS, device="cpu", say=said.append)
    sys.stdout.write(f"{trained.path} {trained.progress.step} {len(said) > 0}\n")


def test_a_script_trains_in_all_processes_together(together, pairs_folder, tmp_path):
    out = tmp_path / "run"
    programs = start_ranks(
        2, _by_a_script, str(pairs_folder), str(out), folder=tmp_path / "printed"
    )
    finish(programs)
    assert [program.out.split() for program in programs] == [
        [str(out / "best.safetensors"), "6", "True"],
        [str(out / "best.safetensors"), "6", "False"],
    ]
    assert_same_bits(out, together)


def _trains_twice(data: str, out: str) -> None:
    """Train, then go on with the weights that came out; one process does the rest."""
    import changedet

    first = changedet.train(data, f"{out}/first", settings=SETTINGS, device="cpu")
    again = changedet.train(data, f"{out}/again", settings=SETTINGS, device="cpu", init=first.path)
    if os.environ["RANK"] == "0":
        changedet.evaluate(again.path, data, out=f"{out}/judged", split="val", device="cpu")


def test_a_script_may_train_several_times_and_go_on_in_one_process(
    together, pairs_folder, tmp_path
):
    finish(
        start_ranks(2, _trains_twice, str(pairs_folder), str(tmp_path), folder=tmp_path / "printed")
    )
    assert_same_bits(tmp_path / "first", together)
    record = json.loads((tmp_path / "again" / "run.json").read_text())
    assert record["processes"] == 2
    assert losses(tmp_path / "again") != losses(tmp_path / "first")
    assert (tmp_path / "judged" / "metrics.json").is_file()


def _has_begun_by_itself(data: str, out: str) -> None:
    """Do what scripts for torchrun often begin with, and then train."""
    import changedet
    from changedet.errors import ConfigError

    torch.distributed.init_process_group("gloo")
    try:
        changedet.train(data, out, settings=SETTINGS, device="cpu")
    except ConfigError as error:
        sys.stdout.write(str(error))


def test_a_script_that_has_joined_the_processes_itself_is_told_to_leave_that(
    pairs_folder, tmp_path
):
    out = tmp_path / "run"
    programs = start_ranks(
        2, _has_begun_by_itself, str(pairs_folder), str(out), folder=tmp_path / "printed"
    )
    finish(programs)
    for program in programs:
        assert "torch.distributed is initialised already" in program.out
        assert "remove init_process_group()" in program.out
    assert not out.exists()


def test_a_mixture_and_a_teacher_are_shared_as_well(tmp_path):
    mixture = write_mixture(tmp_path / "data")
    teacher = write_model(tmp_path / "teacher.safetensors")
    changes = (
        *TINY_PYRAMID,
        "data.working_gsd_m=[0.5, 1.0]",
        f"teacher.models={teacher}",
        "teacher.weight=0.5",
        "augmentation.paste=0.5",
        "training.epochs=2",
        "training.batch_size=2",
        *GENTLE,
    )
    settings = [part for one in changes for part in ("--set", one)]
    given = ["pyramid_small", "--data", str(mixture), "--device", "cpu", *settings]
    one, two = tmp_path / "1", tmp_path / "2"
    finish([start_changedet("train", *given, "--out", one, folder=tmp_path / "printed_1")])
    finish(train_ranks(2, *given, "--out", two, folder=tmp_path / "printed_2"))
    assert len(losses(one)) > 2
    for name in ("loss", "loss_fused", "loss_teacher"):
        own, expected = ([float(row[name]) for row in rows(run)] for run in (two, one))
        assert own[0] == pytest.approx(expected[0], rel=1e-5)
        assert own == pytest.approx(expected, rel=1e-3)
    for log, names in (
        ("validation.csv", ("step", "max_f1")),
        ("validation_sets.csv", ("set", "images", "f1")),
    ):
        assert [[row[name] for name in names] for row in rows(two, log)] == [
            [row[name] for name in names] for row in rows(one, log)
        ]


def test_three_processes_of_which_two_have_no_share_of_the_last_batch_train_as_one(
    alone, pairs_folder, tmp_path
):
    out = tmp_path / "run"
    finish(train_ranks(3, *words(out, pairs_folder), folder=tmp_path / "printed"))
    assert_as_alone(out, alone)


def test_a_run_of_two_processes_goes_on_with_one(together, alone, pairs_folder, tmp_path):
    out = tmp_path / "run"
    once = words(out, pairs_folder, "training.epochs=1")
    finish(train_ranks(2, *once, folder=tmp_path / "first"))
    resumed = ("train", "--out", out, "--resume", "--epochs", "2", "--device", "cpu")
    finish([start_changedet(*resumed, folder=tmp_path / "then")])
    assert_as_alone(out, alone)


def test_what_one_process_is_told_stops_all_and_resuming_changes_no_bit(
    together, pairs_folder, tmp_path
):
    out = tmp_path / "run"
    programs = train_ranks(2, *words(out, pairs_folder), folder=tmp_path / "first")
    wait_for_rows(out, 2, programs[0])
    os.kill(programs[1].pid, signal.SIGINT)
    assert [program.wait() for program in programs] == [130, 130]
    (told,) = messages(programs)
    assert "stopped at epoch 1, batch" in told
    assert told.endswith(f"resume with: torchrun … -m changedet train --out {out} --resume")
    finish(train_ranks(2, "--out", out, "--resume", "--device", "cpu", folder=tmp_path / "resumed"))
    assert_same_bits(out, together)


def assert_same_bits(out: Path, other: Path) -> None:
    assert rows(out) == rows(other)
    assert rows(out, "validation.csv") == rows(other, "validation.csv")
    for name in ("checkpoints/last.safetensors", "best.safetensors"):
        stored, expected = load_file(out / name), load_file(other / name)
        assert stored.keys() == expected.keys()
        assert all(torch.equal(stored[key], expected[key]) for key in expected), name


def test_the_same_command_goes_on_by_itself_where_a_process_was_killed(
    together, pairs_folder, tmp_path
):
    out = tmp_path / "run"
    first = train_ranks(2, *words(out, pairs_folder), folder=tmp_path / "first")
    wait_for_rows(out, 3, first[0])
    first[1].kill()
    assert first[0].wait() == 1
    (told,) = messages(first)
    assert "process 0 of 2 has lost the others: one of them has ended" in told
    # As torchrun starts them again: the command is that of a new run.
    again = train_ranks(2, *words(out, pairs_folder), folder=tmp_path / "again", restarts=1)
    finish(again)
    assert "resuming at epoch 1, batch" in again[0].err
    assert_same_bits(out, together)


def test_a_restart_does_not_take_over_a_run_of_another_torchrun(together, pairs_folder, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(together, out)
    record = json.loads((out / "run.json").read_text())
    assert record["processes"] == 2
    record["launchers"] = ["elsewhere:1:1"]
    (out / "run.json").write_text(json.dumps(record))
    programs = train_ranks(
        2, *words(out, pairs_folder), folder=tmp_path / "printed", restarts=1, job="another"
    )
    # torchrun would end the other process; here nobody does.
    assert programs[0].wait() == 2
    programs[1].kill()
    (told,) = messages(programs)
    assert "already contains a run; use --resume to resume it" in told


def _with_other_data(mine: str, *arguments: str) -> None:
    """Train, but the second process sees another folder under the name of the first one's."""
    from changedet.cli.main import main
    from changedet.training import run

    if os.environ["RANK"] == "1":
        whole = run.index_data
        run.index_data = lambda root, config: whole(Path(mine), config)
    sys.argv = ["changedet", "train", *arguments]
    main()


def test_processes_that_see_other_data_are_refused_in_one_line(pairs_folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(pairs_folder, other)
    (other / "train" / "A" / "003.png").write_bytes(
        (other / "train" / "A" / "003.png").read_bytes() + b"more"
    )
    out = tmp_path / "run"
    arguments = (str(other), *words(out, pairs_folder))
    programs = start_ranks(2, _with_other_data, *arguments, folder=tmp_path / "printed")
    assert [program.wait() for program in programs] == [2, 2]
    (told,) = messages(programs)
    assert "process 1 (on " in told
    # Each process knows its folder by its own name, and either of them may be the one that tells.
    assert any(
        f"sees other data in {root} than process 0" in told for root in (pairs_folder, other)
    )
    assert "in the split 'train' pairs of other names or files of other sizes" in told
    assert not out.exists()


def _failing_at_a_pair(*arguments: str) -> None:
    """Train, but the second process cannot read what it is to train on in the second epoch."""
    from changedet.cli.main import main
    from changedet.data.training.pairs import PairDataset
    from changedet.errors import ImageError

    if os.environ["RANK"] == "1":
        read = PairDataset.__getitem__

        def fail(self, key):
            if key.epoch == 2:
                raise ImageError("pair_7.png is damaged")
            return read(self, key)

        PairDataset.__getitem__ = fail
    sys.argv = ["changedet", "train", *arguments]
    main()


def test_an_error_in_one_process_ends_all_and_is_told_in_one_line(pairs_folder, tmp_path):
    programs = start_ranks(
        2, _failing_at_a_pair, *words(tmp_path / "run", pairs_folder), folder=tmp_path / "printed"
    )
    assert [program.wait() for program in programs] == [1, 2]
    assert messages(programs) == ["changedet: pair_7.png is damaged"]
    assert not any("Traceback" in program.err for program in programs)


@pytest.mark.parametrize(
    "changes",
    [
        ["loss.terms={lovasz: 1.0, dice: 1.0}", "loss.level_weights=[1, 0, 0.5, 0, 1]"],
        ["training.accumulate=2", "training.clip_norm=0.1", "model.drop_path=0.2"],
        ["training.sync_batch_norm=false", "training.precision=bf16"],
    ],
)
def test_a_pyramid_trains_as_in_one_process(pairs_folder, tmp_path, changes):
    own = (*TINY_PYRAMID, *changes, "training.epochs=1", "training.batch_size=4", *GENTLE)
    settings = [part for one in own for part in ("--set", one)]
    for world in (1, 2):
        printed, out = tmp_path / f"printed_{world}", tmp_path / f"{world}"
        given = ["pyramid_small", "--data", str(pairs_folder), "--out", str(out), *settings]
        if world == 1:
            finish([start_changedet("train", *given, "--device", "cpu", folder=printed)])
        else:
            finish(train_ranks(world, *given, "--device", "cpu", folder=printed))
    is_synced = not any("sync_batch_norm" in change for change in changes)
    expected = losses(tmp_path / "1")
    assert losses(tmp_path / "2") == pytest.approx(expected, rel=1e-4 if is_synced else 0.3)
    assert (losses(tmp_path / "2")[0] == pytest.approx(expected[0], rel=1e-4)) == is_synced
    stored = [weights(tmp_path / f"{world}").keys() for world in (1, 2)]
    assert stored[0] == stored[1]


def _without_change(root: Path) -> Path:
    """A copy in which no training pair but the last has changed."""
    from PIL import Image

    for path in sorted((root / "train" / "label").glob("*.png"))[:-1]:
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    return root


def test_a_process_without_a_changed_pixel_in_its_share_trains_as_one_does(pairs_folder, tmp_path):
    data = _without_change(Path(shutil.copytree(pairs_folder, tmp_path / "data")))
    for world in (1, 2):
        printed = tmp_path / f"printed_{world}"
        own = words(tmp_path / f"{world}", data, "training.epochs=1")
        if world == 1:
            finish([start_changedet("train", *own, folder=printed)])
        else:
            finish(train_ranks(world, *own, folder=printed))
    assert losses(tmp_path / "2") == pytest.approx(losses(tmp_path / "1"), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--batch-size", "1"], "2 processes share batches of 1 .*; set --set training.batch_size"),
        (["--device", "cuda:1"], "--device cuda:1 names one GPU, but 2 processes on this machine"),
        (["--no-such-option"], "no such option: --no-such-option"),
        (["--device", "quantum"], "unknown device 'quantum'"),
    ],
)
def test_what_is_wrong_in_all_processes_is_told_once(pairs_folder, tmp_path, changes, message):
    given = ["--data", str(pairs_folder), "--out", str(tmp_path / "run"), "--set", SMALL]
    programs = train_ranks(2, *given, *changes, folder=tmp_path / "printed")
    assert programs[0].wait() == 2
    programs[1].kill()
    (told,) = messages(programs)
    assert re.search(message, told), told
    assert not (tmp_path / "run").exists()
