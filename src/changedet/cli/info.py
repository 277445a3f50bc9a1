"""``changedet info``: print the metadata of a model file."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.streams import results_console

if TYPE_CHECKING:
    from rich.table import Table

    from changedet.card import ModelCard

_NOT_STATED = "-"
# So many channels have an order of colours.
_COLOURS = 3


def info(
    file: Annotated[Path, typer.Argument(help="Model file (.safetensors).")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Print the metadata of a model file; its weights are not read."""
    from changedet.card import read_card, read_parameter_count, read_precision

    card, parameters, precision = read_card(file), read_parameter_count(file), read_precision(file)
    if as_json:
        stated = {
            **card.to_dict(),
            "threshold_source": card.threshold_source,
            "selection_source": card.selection_source,
            "parameters": parameters,
            "precision": precision,
        }
        typer.echo(json.dumps(stated, indent=2))
        return

    results_console().print(
        _table(card, parameters=parameters, precision=precision, title=str(file))
    )


def _table(card: "ModelCard", *, parameters: int | None, precision: str, title: str) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(card, parameters=parameters, precision=precision):
        # As text: a path or a note in square brackets is no markup.
        table.add_row(name, Text(value))
    return table


def _rows(
    card: "ModelCard", *, parameters: int | None, precision: str
) -> Iterable[tuple[str, str]]:
    stats = card.normalisation
    yield "architecture", card.architecture
    yield "options", _lines(card.options)
    yield "parameters", _NOT_STATED if parameters is None else f"{parameters / 1e6:.2f} M"
    yield "weights stored as", precision
    yield "pixels", card.pixel_type
    if card.source_bands is not None:
        yield "bands of the rasters", _bands(card.source_bands, card.source_bands_after)
    if len(stats.mean_before) == _COLOURS:
        yield "channel order", stats.bands.upper()
    yield "mean before, after", f"{_numbers(stats.mean_before)}; {_numbers(stats.mean_after)}"
    yield (
        "std before, after",
        f"{_numbers(stats.std_before)}; {_numbers(stats.std_after)}",
    )
    yield "tile", f"{card.tile_px} px"
    yield "threshold (score)", _NOT_STATED if card.threshold is None else f"{card.threshold:.4f}"
    yield "threshold chosen", card.threshold_source or _NOT_STATED
    yield "weights chosen", card.selection_source or _NOT_STATED
    yield "test-time augmentation", card.test_time
    yield "metrics", _lines(card.metrics)
    yield "trained on", _data(card)
    yield "label encoding", _lines(card.label or {})
    yield "recipe", _lines(card.recipe or {})
    yield "written by", f"changedet {card.package_version} (format {card.format_version})"
    yield "licence", card.licence_note or _NOT_STATED


def _data(card: "ModelCard") -> str:
    name = card.data_name or _NOT_STATED
    if card.blocks is None:
        return name
    scenes = card.blocks["scenes"]
    trained, chosen = (
        sum(len(scene[role]) for scene in scenes) for role in ("training", "validation")
    )
    return f"{name} ({trained} blocks of scenes, {chosen} for validation)"


def _bands(before: Iterable[int], after: Iterable[int] | None) -> str:
    text = ", ".join(map(str, before))
    return text if after is None else f"{text}; after: {', '.join(map(str, after))}"


def _lines(values: Mapping[str, object], *, prefix: str = "") -> str:
    """One ``name: value`` a line, nested names dotted."""
    lines = []
    for name, value in values.items():
        nested = _by_name(value)
        if nested:
            lines.append(_lines(nested, prefix=f"{prefix}{name}."))
        else:
            lines.append(f"{prefix}{name}: {_value(value)}")
    return "\n".join(lines) or _NOT_STATED


def _by_name(value: object) -> Mapping[str, object]:
    """Give the parts of a value that has named ones; those of a list are numbered from 1."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        return {str(number): part for number, part in enumerate(value, start=1)}
    return {}


def _value(value: object) -> str:
    if value is None:
        return _NOT_STATED
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
