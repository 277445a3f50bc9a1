"""The real command, killed at any moment and resumed, ends with the bits of an undisturbed run."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

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


def start(out: Path, *arguments: str, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "changedet", "train", "--out", str(out), "--device", "cpu"]
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def new_run(out: Path, data: Path, **options) -> subprocess.Popen[str]:
    settings = [part for item in SETTINGS.items() for part in ("--set", "=".join(item))]
    return start(out, "--data", str(data), *settings, **options)


def wait_for_rows(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    log = out / "logs" / "train.csv"
    while not log.is_file() or len(log.read_text().splitlines()) <= count:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)


def finish(process: subprocess.Popen[str]) -> str:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return err


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
    process = new_run(out, pairs_folder)
    for rows_before_the_kill in (3, 6, 9):
        wait_for_rows(out, rows_before_the_kill, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        process = start(out, "--resume")
    finish(process)
    for name in ("checkpoints/last.safetensors", "best.safetensors"):
        one, other = load_file(undisturbed / name), load_file(out / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), name
    for log in ("train.csv", "validation.csv"):
        assert read_rows(undisturbed / "logs" / log) == read_rows(out / "logs" / log)
    kept = [sorted(p.name for p in (run / "checkpoints").iterdir()) for run in (undisturbed, out)]
    assert kept[0] == kept[1]


def test_ctrl_c_saves_and_says_how_to_go_on(pairs_folder, tmp_path):
    out = tmp_path / "run"
    # A group of its own: Ctrl-C on a terminal reaches the workers of the loader, too.
    process = new_run(out, pairs_folder, start_new_session=True)
    wait_for_rows(out, 2, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert f"go on with: changedet train --out {out} --resume" in err
    assert "Traceback" not in err
    assert "going on from epoch" in finish(start(out, "--resume"))
