"""``changedet schema``: the published JSON Schema of every kind of result file."""

import json
from typing import Annotated

import typer

from changedet.cli.completion import complete_schema


def schema(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="Kind of result file; without it, the kinds are listed.",
            show_default=False,
            autocompletion=complete_schema,
        ),
    ] = None,
) -> None:
    """List the kinds of result files, or print the JSON Schema of one."""
    from changedet.results import list_kinds, results_schema

    if name is None:
        typer.echo("\n".join(list_kinds()))
    else:
        typer.echo(json.dumps(results_schema(name), indent=2))
