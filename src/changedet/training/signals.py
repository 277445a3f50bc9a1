"""Take over Ctrl-C, SIGTERM and SIGHUP for the time being."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def signals_to(handler: Callable[[int], None], *, once: bool = False) -> Iterator[None]:
    """Send SIGINT, SIGTERM and SIGHUP to a handler instead of whoever had them.

    SIGHUP (the terminal was closed) stays ignored where it is (``nohup``). Outside of the main
    thread signals stay with whoever embeds this.

    Args:
        handler: Told the number of every signal.
        once: After the first signal the next ones are taken as they would be without this.
    """
    former: dict[signal.Signals, Any] = {}

    def give_back() -> None:
        for number, own in former.items():
            signal.signal(number, own)

    def handle(number: int, frame: FrameType | None) -> None:
        if once:
            give_back()
        handler(number)

    with contextlib.suppress(ValueError):
        for number in _taken():
            former[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        give_back()


def _taken() -> list[signal.Signals]:
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers
