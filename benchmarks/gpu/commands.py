"""Start ``changedet`` as a user would, watch its training log, and stop it in time."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gpu.schedule import Pace

_POLL_S = 0.05
#: After the first Ctrl-C a training ends its batch and saves; then it is killed.
_GRACE_S = 15.0
_PROGRAM = (sys.executable, "-m", "changedet")


class CommandError(Exception):
    """A command failed; the message holds the end of what it wrote."""


def settings(*items: str) -> list[str]:
    """Turn ``section.key=value`` items into options."""
    return [word for item in items for word in ("--set", item)]


def run(words: Sequence[str], *, log: Path, deadline: float, threads: int = 4) -> float:
    """Run ``changedet`` to its end.

    Args:
        words: Its arguments.
        log: File that gets all that it writes, behind what it holds.
        deadline: ``time.time()`` at which it is killed.
        threads: Threads of the tensor library.

    Returns:
        Seconds it took.

    Raises:
        CommandError: If it fails or does not end in time.
    """
    started = time.time()
    process = start(words, log=log, threads=threads)
    try:
        status = process.wait(timeout=max(0.1, deadline - time.time()))
    except subprocess.TimeoutExpired:
        raise CommandError(f"{words[0]} did not end in time") from None
    finally:
        end(process)
    if status != 0:
        raise CommandError(f"{words[0]} ended with {status}: {tail(log)}")
    return time.time() - started


def start(words: Sequence[str], *, log: Path, threads: int) -> "subprocess.Popen[bytes]":
    """Start ``changedet`` without a terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [*_PROGRAM, *words]
    with log.open("ab") as file:
        file.write(f"$ changedet {' '.join(words)}\n".encode())
        file.flush()
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={
                # A number that is set already wins, as on a machine that is shared.
                "OMP_NUM_THREADS": str(threads),
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                "TERM": "dumb",
            },
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    """See to it that a process has ended: ask it, then kill it."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_GRACE_S)
    if process.poll() is None:
        process.kill()
        process.wait()


def tail(log: Path, length: int = 600) -> str:
    """The end of a log, in one line."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return " ".join(text.split())[-length:]


class Training:
    """One ``changedet train`` command, begun or gone on with, watched through its log.

    Args:
        folder: Folder of the run.
        words: Arguments behind ``train`` and before ``--out``, for a new run.
        log: File that gets what it writes.
        threads: Threads of the tensor library.
    """

    def __init__(self, folder: Path, words: Sequence[str], *, log: Path, threads: int = 4) -> None:
        self.folder = folder
        self.log = log
        self.started = time.time()
        self.rows: list[tuple[float, int]] = []
        self.seconds = 0.0
        self.was_stopped = False
        self._place = 0
        can_resume = (folder / "checkpoints" / "last.safetensors").is_file()
        command = ["train", "--out", str(folder)]
        if can_resume:
            # Rows of the former start say nothing of this one's speed.
            self._place = self._csv.stat().st_size if self._csv.is_file() else 0
            command.append("--resume")
        else:
            command += [*words, *(["--overwrite"] if (folder / "run.json").is_file() else [])]
        self._process = start(command, log=log, threads=threads)

    @property
    def _csv(self) -> Path:
        return self.folder / "logs" / "train.csv"

    def wait(self, deadline: float) -> None:
        """Wait for its end; at the deadline it is stopped, and keeps its best validation so far.

        Raises:
            CommandError: If it fails.
        """
        try:
            while self._process.poll() is None:
                self._look()
                if time.time() >= deadline:
                    self.was_stopped = True
                    break
                time.sleep(_POLL_S)
        finally:
            end(self._process)
            self.seconds = time.time() - self.started
        status = self._process.returncode
        if status != 0 and not self.was_stopped:
            raise CommandError(f"train ended with {status}: {tail(self.log)}")

    def pace(self, batch_size: int) -> Pace:
        """What a training of a single epoch taught.

        Args:
            batch_size: Crops of a batch.

        Raises:
            CommandError: If it left too few rows in its log.
        """
        if len(self.rows) < 3:
            raise CommandError(f"too few rows in {self._csv} to tell a speed")
        # The second half: kernels are chosen and images decoded in the first batches.
        (begun, first), (ended, last) = self.rows[len(self.rows) // 2 - 1], self.rows[-1]
        speed = (last - first) / max(1e-6, ended - begun)
        beginning = self.rows[0][0] - self.rows[0][1] / speed
        return Pace(
            start_s=max(0.0, beginning - self.started),
            crops_per_s=speed * batch_size,
            end_s=max(0.0, self.started + self.seconds - ended),
        )

    def _look(self) -> None:
        """Take note of the rows that the log has gained; a row's step is counted in batches."""
        try:
            with self._csv.open("rb") as file:
                file.seek(self._place)
                text = file.read()
        except OSError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._place += len(whole)
        now = time.time()
        for line in whole.splitlines():
            step = line.split(b",", 1)[0]
            if step.isdigit():
                self.rows.append((now, int(step)))
