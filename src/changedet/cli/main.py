"""The ``changedet`` command: one line for every mistake of the user, tracebacks only for bugs."""

import sys
from typing import Annotated

import typer

from changedet._version import __version__
from changedet.cli.ablate import ablate
from changedet.cli.benchmark import app as benchmark_app
from changedet.cli.calibrate import calibrate
from changedet.cli.convert import convert
from changedet.cli.data import app as data_app
from changedet.cli.demo import demo
from changedet.cli.ensemble import ensemble
from changedet.cli.evaluate import evaluate
from changedet.cli.info import info
from changedet.cli.predict import predict
from changedet.cli.recipes import recipes
from changedet.cli.schema import schema
from changedet.cli.streams import ended_by_signals, guarded_streams
from changedet.cli.train import train
from changedet.cli.train_arguments import TrainCommand
from changedet.cli.wording import error_line
from changedet.errors import ChangeDetError

app = typer.Typer(
    name="changedet",
    help="What changed between these two satellite or aerial images?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer's callback signature
    if value:
        typer.echo(f"changedet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: FBT002 - a flag of the command line
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """What changed between these two satellite or aerial images?"""


app.command(cls=TrainCommand)(train)
for command in (
    evaluate,
    calibrate,
    ensemble,
    ablate,
    predict,
    convert,
    info,
    recipes,
    schema,
    demo,
):
    app.command()(command)
app.add_typer(data_app, name="data")
app.add_typer(benchmark_app, name="benchmark")


def main() -> None:
    """Run the command line and exit: 0 done, 1 a check failed, 2 the user's mistake."""
    with guarded_streams(), ended_by_signals():
        try:
            app()
        except ChangeDetError as error:
            typer.echo(f"changedet: {error_line(error)}", err=True)
            sys.exit(error.exit_code)
