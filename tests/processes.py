"""Python programs in processes of their own, without a fresh import of PyTorch for each of them.

A server that has imported what takes seconds forks each program. A forked program has a process
number, memory and signals of its own; what importing itself does is tested with a fresh Python.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
_PRELOADED = [
    "changedet.cli.main",
    "changedet.training.run",
    # A training imports these when it draws and logs.
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "tensorboard.compat.proto.event_pb2",
]
#: Far more than any test needs: a program that hangs ends the test, not its timing.
_PATIENCE_S = 300.0


class Program:
    """A program that has been started, the leader of a process group.

    Attributes:
        pid: Its process, and its group.

    Args:
        main: What it runs; a function that the other process can import by name.
        arguments: For this function.
        folder: New folder for what it prints.
    """

    def __init__(self, main: Callable[..., None], *arguments: object, folder: Path) -> None:
        _FORKS.set_forkserver_preload(_PRELOADED)
        folder.mkdir(parents=True)
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        self._process = _FORKS.Process(target=_begin, args=(self._out, self._err, main, *arguments))
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """The same of its error messages."""
        return self._err.read_text()

    def wait_until(self, is_reached: Callable[[], bool]) -> None:
        """Wait for something that it does while it goes on."""
        end = time.monotonic() + _PATIENCE_S
        while not is_reached():
            assert self._process.is_alive(), self.err
            assert time.monotonic() < end, "it hangs"
            time.sleep(0.005)

    def wait(self) -> int:
        """Wait for its end and return its exit status, negative for a signal."""
        self._process.join(_PATIENCE_S)
        if self._process.is_alive():
            self.kill()
            raise AssertionError("it hangs")
        return self._process.exitcode

    def kill(self) -> int:
        """End it at once, as a power cut would; return its exit status."""
        # It may have ended by itself.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._process.join()
        return self._process.exitcode


def start_changedet(*words: object, folder: Path) -> Program:
    """Start ``changedet WORDS``."""
    return Program(_changedet, *map(str, words), folder=folder)


def start_ranks(
    world: int,
    main: Callable[..., None],
    *arguments: object,
    folder: Path,
    restarts: int = 0,
    job: str = "job",
) -> list[Program]:
    """Start a function in several processes that find each other, as torchrun would do.

    Args:
        world: Number of processes.
        main: As for :class:`Program`.
        arguments: Likewise.
        folder: New folder for what they print.
        restarts: How often they were started before.
        job: Name of this call of torchrun.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        "WORLD_SIZE": f"{world}",
        "LOCAL_WORLD_SIZE": f"{world}",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": f"{port}",
        "TORCHELASTIC_RESTART_COUNT": f"{restarts}",
        "TORCHELASTIC_RUN_ID": job,
    }
    folder.mkdir(parents=True)
    return [
        Program(
            _as_rank,
            {**common, "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"},
            main,
            *arguments,
            folder=folder / f"rank_{rank}",
        )
        for rank in range(world)
    ]


def train_ranks(world: int, *words: object, folder: Path, **options: Any) -> list[Program]:
    """Start ``changedet train WORDS`` in several processes, see :func:`start_ranks`."""
    return start_ranks(world, _changedet, "train", *map(str, words), folder=folder, **options)


def run_code(code: str, *arguments: object, folder: Path) -> str:
    """Run Python code with ``sys.argv[1:]`` and return what it prints; it must not fail."""
    program = Program(_code, code, *map(str, arguments), folder=folder)
    assert program.wait() == 0, program.err
    return program.out


def _begin(out: Path, err: Path, main: Callable[..., None], *arguments: object) -> None:
    os.setsid()
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    main(*arguments)


def _as_rank(environ: dict[str, str], main: Callable[..., None], *arguments: object) -> None:
    os.environ.update(environ)
    main(*arguments)


def _changedet(*words: str) -> None:
    from changedet.cli.main import main

    sys.argv = ["changedet", *words]
    main()


def _code(code: str, *arguments: str) -> None:
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<test>", "exec"), {"__name__": "__main__"})
