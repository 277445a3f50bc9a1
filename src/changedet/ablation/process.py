"""Run the steps of an ablation one after the other, and stop them cleanly on Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from changedet.errors import StorageError
from changedet.training.signals import signals_to

_PROGRAM = (sys.executable, "-m", "changedet.ablation.worker")
#: Environment variable that tells a step who started it.
PARENT: Final = "CHANGEDET_ABLATION"
_LONGEST_REASON = 300


class StepProcesses:
    """Starts steps; a signal to this process stops the one that runs, and all that would follow.

    The first Ctrl-C lets a training end after its batch and save, the next ones stop it at once.

    Attributes:
        stopped_by: The signal that ended it; None while it runs.

    Args:
        program: What is started with the name of a step and its job behind it.
    """

    def __init__(self, program: Sequence[str] = _PROGRAM) -> None:
        self.stopped_by: int | None = None
        self._program = program
        self._signals = 0
        self._process: subprocess.Popen[bytes] | None = None

    def listening(self) -> AbstractContextManager[None]:
        """Take over SIGINT and SIGTERM for the time being."""
        return signals_to(self._stop)

    def run(self, step: str, job: Mapping[str, Any], *, log: Path) -> str | None:
        """Run a step to its end.

        Args:
            step: Its name.
            job: Its arguments, plain JSON types.
            log: File that gets, behind what it holds, all that the step writes.

        Returns:
            None if all went well, else why it failed.

        Raises:
            StorageError: If the log cannot be written.
        """
        command = [*self._program, step, json.dumps(job)]
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as file:
                # Its own process session: Ctrl-C reaches it once, through this process.
                process = subprocess.Popen(
                    command,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={**os.environ, PARENT: str(os.getpid())},
                )
        except OSError as error:
            raise StorageError(
                f"cannot write {log}: {error.strerror or error}; make room, then resume with "
                '`mode="resume"`'
            ) from error
        self._process = process
        if self.stopped_by is not None:
            process.send_signal(signal.SIGINT)
        try:
            status = process.wait()
        finally:
            self._process = None
        return None if status == 0 else failure(status, log.read_text("utf-8", errors="replace"))

    def _stop(self, number: int) -> None:
        self.stopped_by = number
        self._signals += 1
        if self._process is not None:
            self._process.send_signal(signal.SIGINT if self._signals < 3 else signal.SIGKILL)


def failure(status: int, log: str) -> str:
    """Say in one line why a step failed.

    Args:
        status: Exit status, negative for a signal.
        log: What it wrote.
    """
    if status < 0:
        name = signal.Signals(-status).name
        hint = ", often because memory ran out" if -status == signal.SIGKILL else ""
        return f"killed by {name}{hint}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1][:_LONGEST_REASON] if lines else f"ended with exit status {status}"
