"""The real command, killed at any moment and resumed, ends with the bits of an undisturbed run."""

import csv
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from processes import Program, start_changedet

SETTINGS = {
    "model.encoder": "test_efficientnet",
    "model.encoder_weights": "none",
    "model.head_width": "16",
    "data.crop_px": "32",
    "data.workers": "1",
    "training.epochs": "3",
    "training.batch_size": "2",
    "training.validate_every": "2",
    "training.checkpoint_every": "1",
    "training.log_every": "1",
}
pytestmark = pytest.mark.slow


def start(out: Path, *arguments: str) -> Program:
    words = ("train", "--out", out, "--device", "cpu", *arguments)
    attempts = len(list(out.parent.glob("printed_*")))
    return start_changedet(*words, folder=out.parent / f"printed_{attempts}")


def new_run(out: Path, data: Path) -> Program:
    settings = [part for item in SETTINGS.items() for part in ("--set", "=".join(item))]
    return start(out, "--data", str(data), *settings)


def wait_for_rows(out: Path, count: int, program: Program) -> None:
    log = out / "logs" / "train.csv"
    program.wait_until(lambda: log.is_file() and len(log.read_text().splitlines()) > count)


def finish(program: Program) -> str:
    assert program.wait() == 0, program.err
    return program.err


def read_rows(path: Path) -> list[list[str]]:
    with path.open() as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, pairs_folder) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(new_run(out, pairs_folder))
    return out


def test_killed_at_several_moments_it_ends_with_the_same_bits(undisturbed, pairs_folder, tmp_path):
    out = tmp_path / "run"
    program = new_run(out, pairs_folder)
    for rows_before_the_kill in (3, 6, 9):
        wait_for_rows(out, rows_before_the_kill, program)
        assert program.kill() == -signal.SIGKILL
        program = start(out, "--resume")
    finish(program)
    for name in ("checkpoints/last.safetensors", "best.safetensors"):
        one, other = load_file(undisturbed / name), load_file(out / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), name
    for log in ("train.csv", "validation.csv"):
        assert read_rows(undisturbed / "logs" / log) == read_rows(out / "logs" / log)
    kept = [sorted(p.name for p in (run / "checkpoints").iterdir()) for run in (undisturbed, out)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_says_how_to_go_on(number, pairs_folder, tmp_path):
    out = tmp_path / "run"
    program = new_run(out, pairs_folder)
    wait_for_rows(out, 2, program)
    # Ctrl-C or the end of a terminal reach the workers of the loader, too.
    os.killpg(program.pid, number)
    status = program.wait()
    assert status == 128 + number, program.err
    assert program.err.count("stopping after this batch") == 1
    assert f"resume with: changedet train --out {out} --resume" in program.err
    assert "Traceback" not in program.err
    assert "resuming at epoch" in finish(start(out, "--resume"))


def test_a_second_run_in_the_same_folder_is_refused(pairs_folder, tmp_path):
    out = tmp_path / "run"
    program = new_run(out, pairs_folder)
    wait_for_rows(out, 1, program)
    for again in (start(out, "--resume"), new_run(out, pairs_folder)):
        assert again.wait() == 2
        assert again.err == (
            f"changedet: another run is writing to {out} (--out); wait for it, or choose another "
            "folder\n"
        )
    program.kill()
    (out / "checkpoints" / ".best_9_9.safetensors.part").write_text("half")
    finish(start(out, "--resume"))
    assert not list(out.rglob(".*"))
