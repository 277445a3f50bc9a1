"""``changedet models``: list the models that can be asked for by name."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from changedet.cli.options import JsonOption
from changedet.cli.streams import results_console

if TYPE_CHECKING:
    from changedet.model_search import FoundModel

_MEGABYTE = 1e6
# Names are to be copied: up to so many characters they are not broken.
_WHOLE_NAME = 24
# What not every model states, and the head of its column.
_IF_STATED = {"kinds": "finds", "working_gsd_m": "pixels of (m)"}


def models(
    *,
    as_json: JsonOption = False,
    folders: Annotated[bool, typer.Option("--folders", help="List the folders instead.")] = False,
) -> None:
    """List the model files at hand, for --model NAME.

    They are looked for in the folders of the variable CHANGEDET_MODELS (separated as in PATH), then
    in the folder for the user's data, then in models/ of the checkout that changedet runs from.
    """
    from changedet.baselines.names import BASELINE_PREFIX, list_baselines
    from changedet.model_search import list_models_at_hand, model_folders

    if folders:
        typer.echo("\n".join(map(str, model_folders())))
        return
    rows = [_facts(model) for model in list_models_at_hand()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    longest = max((len(row["name"]) for row in rows), default=0)
    table.add_column("name", overflow="fold", min_width=min(longest, _WHOLE_NAME))
    table.add_column("what it is")
    table.add_column("MB", justify="right")
    # Only where a model states them: they take room from the names.
    stated = [name for name in _IF_STATED if any(row[name] for row in rows)]
    for name in stated:
        table.add_column(_IF_STATED[name], overflow="fold")
    table.add_column("trained on")
    table.add_column("F1", justify="right")
    for row in rows:
        f1 = row["f1"]
        cells = (
            row["name"],
            row.get("problem") or _network(row),
            f"{row['size_bytes'] / _MEGABYTE:.1f}",
            *(_stated(row[name]) for name in stated),
            row["data"] or "-",
            "-" if f1 is None else f"{f1:.3f}",
        )
        table.add_row(*(Text(cell) for cell in cells))
    if rows:
        results_console().print(table)
        typer.echo("F1 is of the images that chose the threshold, hence optimistic.")
    else:
        typer.echo("no model file is in any of these folders:")
        typer.echo("\n".join(f"  {folder}" for folder in model_folders()))
    names = ", ".join(f"{BASELINE_PREFIX}{name}" for name in list_baselines())
    typer.echo(f"untrained methods, which need no file: {names}")


def _network(row: dict[str, Any]) -> str:
    """Name the network, and the form of the file where it is not the usual one."""
    form = "" if row["form"] == "PyTorch" else f" ({row['form']})"
    return f"{row['architecture']}{form}"


def _stated(value: dict[str, float] | tuple[float, float] | None) -> str:
    """Write the kinds of change, or the range of ground sample distances."""
    if not value:
        return "-"
    if isinstance(value, dict):
        return ", ".join(value)
    return "-".join(f"{side:g}" for side in value)


def _facts(model: "FoundModel") -> dict[str, Any]:
    from changedet.card import is_exported, read_card
    from changedet.cli.model_facts import selection_f1
    from changedet.errors import CheckpointError

    facts: dict[str, Any] = {
        "name": model.name,
        "path": str(model.path),
        "size_bytes": model.path.stat().st_size,
        "architecture": None,
        "form": None,
        "data": None,
        "f1": None,
        "kinds": {},
        "working_gsd_m": None,
    }
    try:
        card = read_card(model.path)
    except CheckpointError as error:
        return {**facts, "problem": f"cannot be used: {error}"}
    return {
        **facts,
        "architecture": card.architecture,
        "form": "ONNX" if is_exported(model.path) else "PyTorch",
        "data": card.data_name,
        "f1": selection_f1(card),
        "kinds": {kind.name: kind.threshold for kind in card.kinds},
        "working_gsd_m": card.working_gsd_m,
    }
