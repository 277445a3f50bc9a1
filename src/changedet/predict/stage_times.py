"""CPU time of the stages of a scene, which run at the same time in several threads."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Reading both dates (and resampling one), the network, blending tiles, writing GeoTIFFs, polygons,
#: the preview.
Stage: TypeAlias = Literal["read", "score", "blend", "write", "polygons", "preview"]


class StageTimes:
    """Adds up the CPU seconds of each stage; may be used from many threads.

    CPU time, because threads that wait for each other, and other programs, use up the rest.

    Attributes:
        seconds: Of each stage, so far.
    """

    def __init__(self) -> None:
        self.seconds: dict[Stage, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def thread(self, stage: Stage) -> Iterator[None]:
        """Count what this thread uses to a stage."""
        with self._counted(stage, time.thread_time):
            yield

    @contextmanager
    def process(self, stage: Stage) -> Iterator[None]:
        """Count what all threads use to a stage; no other one may be running."""
        with self._counted(stage, time.process_time):
            yield

    @contextmanager
    def rest(self, stage: Stage) -> Iterator[None]:
        """Count to a stage what all threads use, without what is counted to others meanwhile."""

        def left() -> float:
            with self._lock:
                others = sum(self.seconds.values()) - self.seconds.get(stage, 0.0)
            return time.process_time() - others

        with self._counted(stage, left):
            yield

    @contextmanager
    def _counted(self, stage: Stage, clock: Callable[[], float]) -> Iterator[None]:
        started = clock()
        try:
            yield
        finally:
            used = clock() - started
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + used
