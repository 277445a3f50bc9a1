"""Workers as processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Final

from changedet.batch.engine import Alive, Event, Finished, Lost, Ready, Refused
from changedet.batch.pulse import Heart
from changedet.batch.task import Outcome, Pulse, Task
from changedet.errors import ChangeDetError

if TYPE_CHECKING:
    from changedet.batch.runner import Setup

#: What libraries ask for the number of threads that they compute with, when they are loaded.
THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)
_GOES_S: Final = 5.0


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection


class LocalEngine:
    """Starts each worker as a process of its own, which holds the model.

    Args:
        setup: What workers are started with.
        workers: How many there may be.
    """

    def __init__(self, setup: Setup, *, workers: int) -> None:
        self._setup = setup
        self._most = workers
        self._workers: dict[str, _Worker] = {}
        self._started = 0
        # A fork would copy the threads of this process in whatever state they are.
        self._context = multiprocessing.get_context("spawn")

    def capacity(self) -> int:
        """Say how many workers there may be."""
        return self._most

    def start_worker(self) -> str:
        """Start a process, see :class:`changedet.batch.engine.Engine`."""
        self._started += 1
        name = f"worker {self._started}"
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(there, self._setup, os.getpid()), name=name, daemon=True
        )
        with _threads(self._setup.threads):
            process.start()
        there.close()
        self._workers[name] = _Worker(process, here)
        return name

    def give(self, worker: str, tasks: Sequence[Task]) -> None:
        """Send tasks to a process."""
        # One that has just died will be told of by the next wait.
        with contextlib.suppress(OSError):
            self._workers[worker].connection.send(tuple(tasks))

    def stop_worker(self, worker: str) -> None:
        """Kill a process."""
        entry = self._workers.pop(worker, None)
        if entry is not None:
            entry.process.kill()
            entry.process.join(_GOES_S)
            entry.connection.close()

    def wait(self, timeout_s: float) -> list[Event]:
        """Wait for what the processes say."""
        names = {entry.connection: name for name, entry in self._workers.items()}
        events: list[Event] = []
        for connection in wait(list(names), timeout_s):
            assert isinstance(connection, Connection)  # noqa: S101 - nothing else was waited for
            name = names[connection]
            try:
                # What a process has said before it died comes first.
                events.append(_event(name, connection.recv()))
            except (EOFError, OSError, pickle.UnpicklingError):
                events.append(self._lose(name))
        return events

    def close(self) -> None:
        """Kill all processes."""
        for name in list(self._workers):
            self.stop_worker(name)

    def _lose(self, name: str) -> Lost:
        entry = self._workers.pop(name)
        entry.connection.close()
        entry.process.join(_GOES_S)
        code = entry.process.exitcode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return Lost(name, f"its process was ended by {signal.Signals(-code).name}")
        return Lost(name, f"its process ended with exit code {code}")


def _event(name: str, message: object) -> Event:
    if isinstance(message, Pulse):
        return Alive(name, message)
    if isinstance(message, tuple):
        return Finished(name, message)
    if isinstance(message, Exception):
        return Refused(name, message)
    return Ready(name)


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Have processes that are started meanwhile compute with so many threads."""
    former = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    if number is not None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(number)))
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _work(connection: Connection, setup: Setup, parent: int) -> None:
    """Do what comes, until nobody sends anything; runs in the process."""
    # Ctrl-C goes to all processes of a terminal; the one that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lock = threading.Lock()

    def send(message: Any) -> None:  # noqa: ANN401
        with lock:
            connection.send(message)

    def tell(pulse: Pulse) -> None:
        try:
            send(pulse)
        except OSError:
            # Whoever started this process was killed: what it does here is in the next one's way.
            os._exit(1)

    def watch(pulse: Pulse) -> None:
        if os.getppid() != parent:
            os._exit(1)
        tell(pulse)

    heart = Heart(watch)
    try:
        from changedet.batch.runner import ItemRunner

        runner = ItemRunner(setup)
    except ChangeDetError as error:
        send(error)
        return
    send("ready")
    with contextlib.suppress(EOFError, OSError):
        while True:
            tasks: Sequence[Task] = connection.recv()
            outcomes: list[Outcome] = []
            for task in tasks:
                heart.begin(task.item.id)
                outcomes.append(runner.run(task, progress=heart.progress))
            send(tuple(outcomes))
