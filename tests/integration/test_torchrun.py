"""torchrun itself: a killed process, Ctrl-C, another number of processes, one line per mistake."""

import contextlib
import csv
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from safetensors.torch import load_file

from stand_ins import TINY_NETWORK

pytestmark = pytest.mark.full
SETTINGS = (
    *TINY_NETWORK,
    "training.epochs=3",
    "training.batch_size=3",
    "training.validate_every=2",
    "training.checkpoint_every=1",
    "training.log_every=1",
)
#: Far more than any of them needs: what hangs ends the test, not its timing.
_PATIENCE_S = 300.0


class Torchrun:
    """A running torchrun that trains.

    Args:
        options: Of torchrun.
        words: Of ``changedet train``.
        printed: File for what all processes print.
    """

    def __init__(self, options: Sequence[str], words: Sequence[str], printed: Path) -> None:
        self._printed = printed
        with printed.open("wb") as file:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "torch.distributed.run", *options),
                    *("-m", "changedet", "train", *words),
                ],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    @property
    def printed(self) -> str:
        """What all processes have printed so far."""
        return self._printed.read_text()

    @property
    def told(self) -> list[str]:
        """What changedet tells the user."""
        return [line for line in self.printed.splitlines() if line.startswith("changedet:")]

    def wait(self) -> int:
        """Wait for its end and return its exit status."""
        try:
            return self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._give_up()

    def wait_for_rows(self, out: Path, count: int) -> None:
        """Wait until the log of a run has so many rows."""
        log, end = out / "logs" / "train.csv", time.monotonic() + _PATIENCE_S
        while not log.is_file() or len(log.read_text().splitlines()) <= count:
            assert self._process.poll() is None, self.printed
            if time.monotonic() > end:
                self._give_up()
            time.sleep(0.02)

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def kill_rank(self, rank: int) -> None:
        """End one of its processes at once."""
        wanted = f"RANK={rank}".encode()
        (found,) = [
            child
            for child in self._children()
            if wanted in Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ]
        os.kill(found, signal.SIGKILL)

    def _children(self) -> list[int]:
        own = self._process.pid
        found = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [int(child) for child in found]

    def _give_up(self) -> NoReturn:
        """End what hangs, which would take the time of all tests after it."""
        children = self._children()
        self._process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()
        raise AssertionError(f"it hangs: {self.printed}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def new_run(out: Path, data: Path, *changes: str) -> list[str]:
    settings = [part for item in (*SETTINGS, *changes) for part in ("--set", item)]
    return ["--data", str(data), "--out", str(out), "--device", "cpu", *settings]


def rows(out: Path, log: str) -> list[list[str]]:
    with (out / "logs" / log).open() as file:
        return list(csv.reader(file))


def assert_same_bits(out: Path, other: Path) -> None:
    for log in ("train.csv", "validation.csv"):
        assert rows(out, log) == rows(other, log)
    for name in ("checkpoints/last.safetensors", "best.safetensors"):
        stored, expected = load_file(out / name), load_file(other / name)
        assert stored.keys() == expected.keys()
        assert all(torch.equal(stored[key], expected[key]) for key in expected), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, pairs_folder) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    options = ("--standalone", "--nproc-per-node", "2")
    run = Torchrun(options, new_run(out, pairs_folder), out.parent / "printed.txt")
    assert run.wait() == 0, run.printed
    assert run.printed.count("best max-F1 on validation") == 1
    return out


@pytest.mark.parametrize("style", ["standalone", "plain"])
@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_restarts_all_where_one_is_killed_and_the_result_is_the_same(
    undisturbed, pairs_folder, tmp_path, style, rank
):
    out = tmp_path / "run"
    meeting = ["--standalone"] if style == "standalone" else ["--master-port", str(free_port())]
    options = (*meeting, "--nproc-per-node", "2", "--max-restarts", "2")
    run = Torchrun(options, new_run(out, pairs_folder), tmp_path / "printed.txt")
    for count in (3, 6):
        run.wait_for_rows(out, count)
        run.kill_rank(rank)
        time.sleep(1.0)
    assert run.wait() == 0, run.printed
    assert run.printed.count("resuming at epoch") == 2, run.printed
    assert "Traceback" not in run.printed.split("torch.distributed.elastic")[0]
    assert_same_bits(out, undisturbed)


def test_ctrl_c_saves_and_two_processes_or_one_go_on(undisturbed, pairs_folder, tmp_path):
    out = tmp_path / "run"
    options = ("--standalone", "--nproc-per-node", "2")
    run = Torchrun(options, new_run(out, pairs_folder), tmp_path / "printed.txt")
    run.wait_for_rows(out, 3)
    run.interrupt()
    assert run.wait() != 0
    (told,) = run.told
    assert "stopped at epoch" in told
    resume = ["--out", str(out), "--resume", "--device", "cpu"]
    again = Torchrun(options, resume, tmp_path / "again.txt")
    assert again.wait() == 0, again.printed
    assert_same_bits(out, undisturbed)


def test_a_mistake_is_told_in_one_line_and_torchrun_gives_up(pairs_folder, tmp_path):
    out = tmp_path / "run"
    run = Torchrun(
        ("--standalone", "--nproc-per-node", "3"),
        new_run(out, pairs_folder, "training.batch_size=2"),
        tmp_path / "printed.txt",
    )
    assert run.wait() == 1
    (told,) = run.told
    assert "3 processes share batches of 2" in told
    assert not out.exists()
