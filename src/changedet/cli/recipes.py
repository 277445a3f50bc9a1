"""``changedet recipes``: list the recipes that come with the package, or print one."""

from typing import Annotated

import typer

from changedet.cli.completion import complete_recipe
from changedet.cli.streams import results_console


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="Recipe to print with every setting; without it, all are listed.",
            show_default=False,
            autocompletion=complete_recipe,
        ),
    ] = None,
) -> None:
    """List the shipped recipes, or print one with every setting."""
    from changedet.training.config import dump_config, load_config
    from changedet.training.recipes import list_recipes

    if name is not None:
        typer.echo(dump_config(load_config(name)), nl=False)
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("recipe", "epochs", box=None, pad_edge=False)
    table.add_column("what it is", overflow="fold")
    for recipe in list_recipes():
        config = load_config(recipe)
        table.add_row(recipe, str(config.training.epochs), escape(config.description))
    results_console().print(table)
