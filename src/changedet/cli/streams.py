"""Standard streams that strange names cannot drive and a reader who has left does not break."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TextIO

from changedet.errors import StorageError
from changedet.storage.text import printable

if TYPE_CHECKING:
    from rich.console import Console

# The reader of a pipe has ended; the terminal is closed.
_GONE = {errno.EPIPE, errno.EIO}


class QuietStream:
    """Writes to a stream until nobody is there to read it.

    Args:
        stream: A standard stream.
        kind: ``results``: without a reader the program is of no use and ends, silently, as it does
            by SIGPIPE; ``messages``: it goes on without them.
    """

    def __init__(self, stream: TextIO, kind: Literal["results", "messages"]) -> None:
        self._stream = stream
        self._kind = kind

    def write(self, text: str) -> int:
        """Write all of a text.

        Raises:
            StorageError: If results cannot be written, for example to a file on a full disk.
        """
        try:
            self._stream.write(text)
        except OSError as error:
            self._fall_silent(error)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, see :meth:`write`."""
        try:
            self._stream.flush()
        except OSError as error:
            self._fall_silent(error)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._stream, name)

    def _fall_silent(self, error: OSError) -> None:
        # What is still in the buffer would fail again when Python ends.
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if self._kind == "messages":
            return
        if error.errno not in _GONE:
            raise StorageError(f"cannot write to standard output: {error.strerror}") from error
        if error.errno == errno.EPIPE:
            # Python has turned SIGPIPE into this error.
            raise SystemExit(128 + 13) from None


class PrintableStream:
    """Writes out what would act on a terminal, such as escape sequences in the name of a file.

    Attributes:
        unfiltered: The stream below, for what moves the cursor itself.

    Args:
        unfiltered: See above.
    """

    def __init__(self, unfiltered: QuietStream) -> None:
        self.unfiltered = unfiltered

    def write(self, text: str) -> int:
        """Write a text; colours stay on a terminal."""
        colours: Literal["keep", "hide"] = "keep" if self.unfiltered.isatty() else "hide"
        self.unfiltered.write(printable(text, colours=colours))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self.unfiltered, name)


@contextlib.contextmanager
def guarded_streams() -> Iterator[None]:
    """Put :class:`PrintableStream` in the place of both standard streams."""
    out, err = sys.stdout, sys.stderr
    # A name that the encoding of a pipe lacks letters for is written out, too.
    for stream in (out, err):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = PrintableStream(QuietStream(out, "results"))
    sys.stderr = PrintableStream(QuietStream(err, "messages"))
    try:
        yield
    finally:
        with contextlib.suppress(SystemExit):
            sys.stdout.flush()
        sys.stdout, sys.stderr = out, err


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Unwind the program on SIGTERM and SIGHUP, so that it cleans up behind itself.

    Signals that are ignored (``nohup``) stay so. Forked workers end at once.
    """
    own, former = os.getpid(), {}

    def end(number: int, frame: FrameType | None) -> NoReturn:
        if os.getpid() != own:
            os._exit(128 + number)
        raise SystemExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        with contextlib.suppress(ValueError):  # not in the main thread
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                former[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def tell_progress(done: int, total: int) -> None:
    """Print how far a command is, for programs that started it: ``progress DONE/ALL``.

    Args:
        done: Tiles or pairs that are done.
        total: All of them.
    """
    sys.stderr.write(f"progress {done}/{total}\n")
    sys.stderr.flush()


def results_console() -> "Console":
    """Make what prints tables on standard output; square brackets in names are no markup."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def messages_console() -> "Console":
    """Make what prints progress and messages on the error stream.

    It moves the cursor, hence nothing is filtered: texts are made printable before.
    """
    from rich.console import Console

    stream = getattr(sys.stderr, "unfiltered", sys.stderr)
    return Console(file=stream, soft_wrap=True, highlight=False, markup=False, emoji=False)
