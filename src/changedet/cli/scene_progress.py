"""A progress bar for scenes, on the error stream: share done, Mpx/s, time left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from changedet.cli.options import ProgressForm
from changedet.cli.streams import messages_console, tell_progress
from changedet.cli.wording import is_warning, with_options
from changedet.predict.flow import TilesDone


class SceneDisplay:
    """Shows how far a scene is, and prints sentences above the bar.

    Args:
        bar: Where progress is shown.
        console: Where sentences go.
        quiet: Print warnings only.
        form: ``lines``: tell progress line by line instead of in the bar.
    """

    def __init__(
        self, bar: Progress, console: Console, *, quiet: bool, form: ProgressForm = "bar"
    ) -> None:
        self._bar = bar
        self._console = console
        self._quiet = quiet
        self._form = form
        self._task = bar.add_task("score", total=None, visible=False, rate="")
        self._since = time.monotonic()
        self._begun = 0

    def say(self, message: str) -> None:
        """Print a line."""
        if self._quiet and not is_warning(message):
            return
        self._console.print(with_options(message), markup=False)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away between two scenes, while the block prints to standard output."""
        self._bar.reset(self._task, visible=False)
        shown = self._bar.live.is_started
        if shown:
            self._bar.stop()
        yield
        if shown:
            self._bar.start()

    def update(self, tiles: TilesDone) -> None:
        """Advance the bar; a new scene restarts the clock."""
        if self._form == "lines":
            if not self._quiet:
                tell_progress(tiles.done, tiles.total)
            return
        task = self._bar.tasks[0]
        now = time.monotonic()
        if not task.visible or tiles.done < task.completed:
            self._since, self._begun = now, tiles.done
            self._bar.reset(self._task, total=tiles.total, completed=tiles.done, visible=True)
        share = (tiles.done - self._begun) / tiles.total
        rate = share * tiles.pixels / 1e6 / max(now - self._since, 1e-9)
        self._bar.update(self._task, completed=tiles.done, rate=f"{rate:.2f} Mpx/s")


@contextmanager
def scene_progress(*, quiet: bool = False, form: ProgressForm = "bar") -> Iterator[SceneDisplay]:
    """Show a bar while the block runs; off a terminal only sentences are printed, or lines."""
    console = messages_console()
    bar = Progress(
        TextColumn("scoring"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or form == "lines" or not console.is_terminal,
    )
    with bar:
        yield SceneDisplay(bar, console, quiet=quiet, form=form)
