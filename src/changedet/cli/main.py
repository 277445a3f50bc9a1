"""The ``changedet`` command: one line for every mistake of the user, tracebacks only for bugs."""

import errno
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final

import typer

from changedet._optional import explained_imports
from changedet._version import __version__
from changedet.cli.ablate import ablate
from changedet.cli.batch import batch
from changedet.cli.benchmark import app as benchmark_app
from changedet.cli.calibrate import calibrate
from changedet.cli.convert import convert
from changedet.cli.data import app as data_app
from changedet.cli.demo import demo
from changedet.cli.describe import describe
from changedet.cli.ensemble import ensemble
from changedet.cli.evaluate import evaluate
from changedet.cli.export import export
from changedet.cli.info import info
from changedet.cli.models import models
from changedet.cli.predict import predict
from changedet.cli.quantise import quantise
from changedet.cli.recipes import recipes
from changedet.cli.report import report
from changedet.cli.schema import schema
from changedet.cli.streams import ended_by_signals, guarded_streams
from changedet.cli.train import train
from changedet.cli.train_arguments import TrainCommand
from changedet.cli.view import view
from changedet.cli.wording import error_line, paragraphs, print_help_of_group, usage_line
from changedet.errors import ChangeDetError, ConfigError
from changedet.training.launch import VOICE

_INTERRUPTED: Final = 130
# What the parser refuses; Typer has it from Click, or from its own copy of Click.
_UsageError: Final[type[Exception]] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="changedet",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="changedet COMMAND --help explains a command. Exit codes: 0 done, 1 a check or the "
    "training failed, 2 invalid input, 130 stopped by Ctrl-C.",
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer's callback signature
    if value:
        typer.echo(f"changedet {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """What changed between these two satellite or aerial images?"""
    print_help_of_group(ctx)


_PANELS: Final[Mapping[str, Sequence[Callable[..., object]]]] = {
    "Find changes": (predict, batch, view, demo),
    "Train": (recipes, calibrate, ensemble),
    "Measure": (evaluate, ablate, report),
    "Model files and results": (models, info, describe, convert, export, quantise, schema),
}
for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command(cls=TrainCommand, rich_help_panel="Train")(train)
app.add_typer(data_app, name="data", rich_help_panel="Train")
app.add_typer(benchmark_app, name="benchmark", rich_help_panel="Measure")
for entry in [
    entry for group in (app, data_app, benchmark_app) for entry in group.registered_commands
]:
    # Typer would keep the line breaks of the source code.
    entry.help = paragraphs(str(getattr(entry.callback, "__doc__", "")))


def _tell(line: str) -> None:
    """Print what is wrong, unless another of the processes that train together does."""
    if sys.argv[1:2] != ["train"] or VOICE.is_heard():
        typer.echo(f"changedet: {line}", err=True)


def main() -> None:
    """Run the command line and exit: 0 done, 1 a check failed, 2 the user's mistake."""
    with guarded_streams(), ended_by_signals():
        try:
            with explained_imports():
                code = app(standalone_mode=False, prog_name="changedet")
        except ChangeDetError as error:
            _tell(error_line(error))
            sys.exit(error.exit_code)
        except _UsageError as error:
            _tell(usage_line(error, sys.argv[1:]))
            sys.exit(2)
        except OSError as error:
            if "--install-completion" in sys.argv[1:]:
                fault = ConfigError(f"{error.filename}: {error.strerror}; check HOME")
                typer.echo(f"changedet: {error_line(fault)}", err=True)
                sys.exit(fault.exit_code)
            # A name that no file can have is the user's mistake, anything else that escapes a bug.
            if error.errno != errno.ENAMETOOLONG:
                raise
            fault = ConfigError(f"{str(error.filename)[:80]}…: {error.strerror}; check the path")
            typer.echo(f"changedet: {error_line(fault)}", err=True)
            sys.exit(fault.exit_code)
        except (typer.Abort, KeyboardInterrupt):
            sys.exit(_INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)
