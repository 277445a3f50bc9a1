"""How far a batch is: one line per worker and a total."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from changedet.cli.options import ProgressForm
from changedet.cli.streams import messages_console, tell_progress

if TYPE_CHECKING:
    from changedet.batch.tally import Status

# Off a terminal, every line stays.
_LINES_EVERY_S: Final = 30.0


class Watching(Protocol):
    """Is told how far a run is."""

    def update(self, status: "Status") -> None:
        """Show it."""


def status_lines(status: "Status") -> list[str]:
    """Say how far a run is: one line per worker, the total last."""
    lines = []
    for worker in status.workers:
        what = worker.note or "waits"
        if worker.item is not None:
            what = f"{worker.item} {100 * worker.share:3.0f} %"
        lines.append(f"{worker.name}: {what}  {worker.mpx_per_s:.2f} Mpx/s")
    ended = status.done + status.unchanged + status.failed
    of_all = "" if status.total is None else f" of {status.total:,}"
    parts = [f"{ended:,}{of_all} items", f"{status.mpx_per_s:.2f} Mpx/s"]
    if status.unchanged:
        parts.append(f"{status.unchanged:,} unchanged")
    parts.append(f"{status.failed:,} failed")
    if status.retrying:
        parts.append(f"{status.retrying:,} to be tried again")
    if status.eta_s is not None and status.state == "running":
        parts.append(f"{duration(status.eta_s)} left")
    return [*lines, f"total: {', '.join(parts)}"]


def duration(seconds: float) -> str:
    """Write a time in hours, minutes and seconds, of which the leading zeros are left out."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Screen:
    """Lines on a terminal that are drawn anew."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def update(self, status: "Status") -> None:
        lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in status_lines(status)]
        self._live.update(Group(*lines))


class _Lines:
    """Plain lines, now and then and at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed_at = time.monotonic()

    def update(self, status: "Status") -> None:
        now = time.monotonic()
        if status.state == "running" and now - self._printed_at < _LINES_EVERY_S:
            return
        self._printed_at = now
        lines = status_lines(status)
        for line in lines if status.state == "running" else lines[-1:]:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class _ForPrograms:
    def update(self, status: "Status") -> None:
        if status.total is not None:
            tell_progress(status.done + status.unchanged + status.failed, status.total)


class _Silence:
    def update(self, status: "Status") -> None:
        pass


@contextmanager
def batch_progress(*, quiet: bool, form: ProgressForm) -> Iterator[Watching]:
    """Show how far a run is while the block runs."""
    console = messages_console()
    if quiet:
        yield _Silence()
    elif form == "lines":
        yield _ForPrograms()
    elif console.is_terminal:
        with Live(console=console, refresh_per_second=2) as live:
            yield _Screen(live)
    else:
        yield _Lines(console)
