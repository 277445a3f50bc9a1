"""A progress bar that counts pairs, on the error stream."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from changedet.cli.options import ProgressForm
from changedet.cli.streams import messages_console, tell_progress


@contextmanager
def pair_progress(
    what: str, *, quiet: bool = False, form: ProgressForm = "bar"
) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while the block runs; off a terminal nothing is shown.

    Args:
        what: Word before the bar.
        quiet: Show nothing.
        form: ``lines``: a line for each step instead of the bar, wherever it goes.

    Yields:
        A function to call with the number of pairs done and of all pairs.
    """
    if form == "lines":
        yield (lambda done, total: None) if quiet else tell_progress
        return
    console = messages_console()
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pairs"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
