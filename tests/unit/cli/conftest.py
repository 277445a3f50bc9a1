"""Two ways to run a command: as the program that a user starts, and alone, by Typer's runner."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import typer
from typer.testing import CliRunner, Result


class Ended(NamedTuple):
    """What a user gets of a command that has ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Make a function that runs ``changedet WORDS``, with the error messages of the program."""
    from changedet.cli.main import main

    def call(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["changedet", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return Ended(int(end.value.code or 0), printed.out, printed.err)

    return call


@pytest.fixture
def invoke() -> Callable[..., Result]:
    """Make a function that runs a command alone: an app, or the function of one command.

    An error that the program would print is the result's exception.
    """

    def call(command: typer.Typer | Callable[..., Any], *words: object) -> Result:
        app = command
        if not isinstance(command, typer.Typer):
            app = typer.Typer(pretty_exceptions_enable=False)
            app.command()(command)
        return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})

    return call
