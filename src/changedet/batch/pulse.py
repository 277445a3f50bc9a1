"""Signs of life: work that takes long goes on, an input that hangs does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from changedet.batch.task import Pulse
from changedet.predict.flow import TilesDone

#: How often a worker tells that it lives, in seconds.
BEAT_S: Final = 1.0
# Who waits for a disk or a network uses less of a CPU: threads of libraries look around meanwhile.
_WORKING_SHARE: Final = 0.05


class Heart:
    """Tells from time to time how far the item at hand is, and whether work goes on.

    Work goes on where tiles are done or the process uses a CPU. A raster that a server or a disk
    never delivers does neither, and neither does a library that holds Python up.

    Args:
        tell: Called with each sign of life from a thread of its own; None: :meth:`pulse` is asked.
    """

    def __init__(self, tell: Callable[[Pulse], None] | None = None) -> None:
        self._tell = tell
        self._pulse = Pulse(0)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._thread.start()

    def begin(self, identifier: str) -> None:
        """Say which item is at hand."""
        with self._lock:
            self._pulse = Pulse(self._pulse.life + 1, identifier)

    def progress(self, tiles: TilesDone) -> None:
        """Say how far it is."""
        with self._lock:
            pulse = self._pulse
            self._pulse = Pulse(pulse.life + 1, pulse.id, tiles.done, tiles.total, tiles.pixels)

    def pulse(self) -> Pulse:
        """Give the latest sign of life."""
        with self._lock:
            return self._pulse

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()

    def _beat(self) -> None:
        then, used = time.monotonic(), time.process_time()
        while not self._ended.wait(BEAT_S):
            now, now_used = time.monotonic(), time.process_time()
            if now_used - used > _WORKING_SHARE * (now - then):
                with self._lock:
                    pulse = self._pulse
                    self._pulse = Pulse(
                        pulse.life + 1, pulse.id, pulse.done, pulse.total, pulse.pixels
                    )
            then, used = now, now_used
            if self._tell is not None:
                self._tell(self.pulse())
