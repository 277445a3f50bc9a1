"""How far a run over an archive is: totals, workers, speed, time left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict


class WorkerStatus(BaseModel):
    """What one worker is at.

    Attributes:
        name: Of the worker.
        item: Id of the item at hand; None: it waits or starts.
        share: How much of the item's tiles is scored, in [0, 1].
        mpx_per_s: Millions of pixels a second since it was ready.
        note: What it does where it is at no item.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    item: str | None
    share: float
    mpx_per_s: float
    note: str = ""


class Status(BaseModel):
    """How far a run is.

    Attributes:
        state: ``running``, ``finished``, ``stopped`` before the end.
        started: When it began, in seconds since 1970.
        updated: When this was written, likewise.
        total: Items of the catalogue; None: not known yet.
        done: Items whose results were made.
        unchanged: Items whose results were there.
        failed: Items that were given up.
        retrying: Items that wait for another attempt.
        mpx: Millions of pixels of the items that are done.
        mpx_per_s: The same a second, of all workers together, with what they are at.
        eta_s: Seconds left at this speed; None: not known.
        workers: Each of them.
    """

    model_config = ConfigDict(frozen=True)

    state: str
    started: float
    updated: float
    total: int | None
    done: int
    unchanged: int
    failed: int
    retrying: int
    mpx: float
    mpx_per_s: float
    eta_s: float | None
    workers: tuple[WorkerStatus, ...] = ()


@dataclass
class Tally:
    """What a run has done so far.

    Attributes:
        total: Items of the catalogue; None: not known.
        done: Items whose results were made.
        unchanged: Items whose results were there.
        failed: Items that were given up.
        redated: Items that are unchanged but for their dates in the catalogue.
        attempts: Attempts at items that were not unchanged.
        mpx: Millions of pixels of the items that are done.
        repeated: Ids that the catalogue holds more than once; the first item of each counts.
        started: When it began, by the wall clock.
    """

    total: int | None = None
    done: int = 0
    unchanged: int = 0
    failed: int = 0
    redated: int = 0
    attempts: int = 0
    mpx: float = 0.0
    repeated: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    _clock: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self._clock

    def status(
        self, state: str, *, retrying: int, workers: tuple[WorkerStatus, ...], at_hand_mpx: float
    ) -> Status:
        """Sum up for those who watch.

        Args:
            state: See :class:`Status`.
            retrying: Items that wait for another attempt.
            workers: What they are at.
            at_hand_mpx: Millions of pixels of unfinished items that are scored.
        """
        elapsed = max(self.seconds, 1e-9)
        ended = self.done + self.failed
        eta = None
        if self.total is not None and ended:
            eta = max(0, self.total - ended - self.unchanged) * elapsed / ended
        return Status(
            state=state,
            started=self.started,
            updated=time.time(),
            total=self.total,
            done=self.done,
            unchanged=self.unchanged,
            failed=self.failed,
            retrying=retrying,
            mpx=self.mpx,
            mpx_per_s=(self.mpx + at_hand_mpx) / elapsed,
            eta_s=eta,
            workers=workers,
        )
