"""Names that would drive the terminal, readers that leave, signals that end a program."""

import io
import os
import signal
import sys

import pytest
import typer

from changedet.cli.main import main
from changedet.cli.scene_progress import scene_progress
from changedet.cli.streams import (
    PrintableStream,
    QuietStream,
    ended_by_signals,
    guarded_streams,
    results_console,
)
from changedet.cli.wording import error_line, with_options
from changedet.errors import ConfigError, StorageError

# Clears the screen, names the window, colours, turns the writing around, and is no UTF-8.
HOSTILE = "a\x1b[2J\x1b]0;title\x07\x1b[31m[red]b[/red] :smile:\u202e\udcff.tif"
SHOWN = r"a\u001b[2J\u001b]0;title\u0007\u001b[31m[red]b[/red] :smile:\u202e\udcff.tif"


class Full(io.StringIO):
    """A stream on a full disk, a closed pipe or a closed terminal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))

    flush = lambda self: self.write("")  # noqa: E731


def test_what_acts_on_a_terminal_is_written_out(capsys):
    with guarded_streams():
        typer.echo(HOSTILE)
        typer.echo(HOSTILE, err=True)
        results_console().print(HOSTILE, soft_wrap=True)
        with scene_progress() as display:
            display.say(HOSTILE)
    out, err = capsys.readouterr()
    for printed in (out, err):
        assert not {"\x1b", "\x07", "\u202e", "\udcff"} & set(printed)
        assert printed.count("[red]b[/red] :smile:") == 2
    assert SHOWN in err


def test_colours_of_our_own_stay_on_a_terminal():
    stream = io.StringIO()
    stream.isatty = lambda: True
    PrintableStream(QuietStream(stream, "results")).write("\x1b[1mbold\x1b[0m\x1b[2Jcleared\n")
    assert stream.getvalue() == "\x1b[1mbold\x1b[0m\\u001b[2Jcleared\n"


def test_messages_are_printable_and_hold_no_passwords():
    assert with_options(HOSTILE) == SHOWN
    error = ConfigError("cannot open 'PG:host=h password=secret' of https://me:secret@host/x")
    assert error_line(error) == "cannot open 'PG:host=h password=***' of https://host/x"


@pytest.mark.parametrize("number", [5, 28, 32])
def test_messages_that_nobody_can_read_end_no_run(number):
    stream = QuietStream(Full(number), "messages")
    assert stream.write("text") == 4
    stream.flush()


def test_results_without_a_reader_end_the_program_as_sigpipe_does():
    with pytest.raises(SystemExit) as end:
        QuietStream(Full(32), "results").write("text")
    assert end.value.code == 141
    QuietStream(Full(5), "results").write("text")
    with pytest.raises(StorageError, match="cannot write to standard output: No space left"):
        QuietStream(Full(28), "results").write("text")


def test_a_pipe_that_is_closed_early_leaves_no_trace(monkeypatch, capfd):
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr(sys, "argv", ["changedet", "schema", "scene"])
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit) as end:
            main()
    assert end.value.code == 141
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_the_program(number):
    cleaned = []

    def run() -> None:
        try:
            signal.raise_signal(number)
        finally:
            cleaned.append(number)

    with ended_by_signals(), pytest.raises(SystemExit) as end:
        run()
    assert (end.value.code, cleaned) == (128 + number, [number])
    assert signal.getsignal(number) == signal.SIG_DFL


def test_an_ignored_signal_stays_ignored():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, former)
