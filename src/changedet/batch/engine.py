"""What an engine is: it has workers, gives them tasks, and tells what becomes of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from changedet.batch.task import Outcome, Pulse, Task


@dataclass(frozen=True)
class Ready:
    """A worker has loaded the model and takes tasks; ``where`` is its machine, if it is another."""

    worker: str
    where: str = ""


@dataclass(frozen=True)
class Refused:
    """A worker cannot work at all, and another one in its place could not either."""

    worker: str
    error: Exception


@dataclass(frozen=True)
class Lost:
    """A worker has ended, with the tasks that it had; it takes no more."""

    worker: str
    reason: str


@dataclass(frozen=True)
class Alive:
    """A sign of life of a worker."""

    worker: str
    pulse: Pulse


@dataclass(frozen=True)
class Finished:
    """A worker is done with what it was given, and takes the next."""

    worker: str
    outcomes: tuple[Outcome, ...]


Event: TypeAlias = Ready | Refused | Lost | Alive | Finished


class Engine(Protocol):
    """Runs workers somewhere. Called by one thread."""

    def capacity(self) -> int:
        """Say how many workers there is room for now."""
        ...

    def start_worker(self) -> str:
        """Start a worker; :class:`Ready` or another event follows.

        Returns:
            Its name, which no other worker of the run has.
        """
        ...

    def give(self, worker: str, tasks: Sequence[Task]) -> None:
        """Give a worker that is ready what to do; :class:`Finished` follows when all is done."""
        ...

    def stop_worker(self, worker: str) -> None:
        """End a worker at once, whatever it does; no event of it follows."""
        ...

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """Wait for events, for so long at most."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...
