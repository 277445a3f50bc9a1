"""``changedet info``: print the metadata of a model file."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.model_facts import kinds_line, network_line, selection_f1, working_line
from changedet.cli.options import JsonOption, ModelArgument
from changedet.cli.streams import results_console

if TYPE_CHECKING:
    from rich.table import Table

    from changedet.card import ModelCard
    from changedet.kinds import KindOfChange

_NOT_STATED = "-"
# So many channels have an order of colours.
_COLOURS = 3


def info(
    file: ModelArgument,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Print everything that the file says of itself.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what a model is, what it takes and how good it was.

    The weights are not read.
    """
    from changedet.card import read_card, read_parameter_count, read_precision
    from changedet.model_search import find_model

    path = find_model(file)
    card, parameters, precision = read_card(path), read_parameter_count(path), read_precision(path)
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
    rows = (_rows if full else _main_rows)(card, parameters=parameters, precision=precision)
    results_console().print(_table(rows, title=str(path)))
    if not full:
        typer.echo("--full prints everything, --json for programs")


def _table(rows: Iterable[tuple[str, str]], *, title: str) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        # As text: a path or a note in square brackets is no markup.
        table.add_row(name, Text(value))
    return table


def _main_rows(
    card: "ModelCard", *, parameters: int | None, precision: str
) -> Iterable[tuple[str, str]]:
    """Give what one has to know to use the model, and to judge its results."""
    channels = len(card.normalisation.mean_before)
    size = "" if parameters is None else f"{parameters / 1e6:.2f} M parameters, "
    yield "network", network_line(card)
    yield "size", f"{size}{precision} weights"
    yield (
        "input",
        f"{channels} bands of {card.pixel_type}{_order(card)}, tiles of {card.tile_px} px",
    )
    if card.source_bands is not None:
        yield "bands of the rasters", _bands(card.source_bands, card.source_bands_after)
    yield "trained on", _data(card)
    if card.domain is not None:
        yield "images", card.domain.describe() or _NOT_STATED
    working = working_line(card)
    if working is not None:
        yield "works on pixels of", f"{working}; others are resampled"
    kinds = kinds_line(card)
    if kinds is not None:
        yield "kinds of change", f"{kinds}; --kind chooses, else the first"
    elif card.threshold is None:
        yield "threshold", "none; predict needs --threshold, or choose one: changedet calibrate"
    else:
        source = card.threshold_source
        yield "threshold", f"{card.threshold:.4f}" + ("" if source is None else f" ({source})")
    yield "test-time augmentation", card.test_time
    f1 = selection_f1(card)
    if f1 is not None:
        yield "F1", f"{f1:.4f} on the images that chose the threshold (optimistic)"
    yield "licence", card.licence_note or _NOT_STATED


def _order(card: "ModelCard") -> str:
    stats = card.normalisation
    return f" ({stats.bands.upper()})" if len(stats.mean_before) == _COLOURS else ""


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
    if card.working_gsd_m is not None:
        yield "works on pixels of", working_line(card) or _NOT_STATED
    for kind in card.kinds:
        yield f"kind {kind.name}", _kind(kind)
    yield "threshold (score)", _NOT_STATED if card.threshold is None else f"{card.threshold:.4f}"
    yield "threshold chosen", card.threshold_source or _NOT_STATED
    yield "weights chosen", card.selection_source or _NOT_STATED
    yield "test-time augmentation", card.test_time
    yield "metrics", _lines(card.metrics)
    yield "trained on", _data(card)
    yield from _domain_rows(card)
    yield "label encoding", _lines(card.label or {})
    yield "recipe", _lines(card.recipe or {})
    yield "written by", f"changedet {card.package_version} (format {card.format_version})"
    yield "licence", card.licence_note or _NOT_STATED


def _kind(kind: "KindOfChange") -> str:
    threshold, chosen = kind.threshold, kind.threshold_selection
    parts = ["no threshold" if threshold is None else f"threshold {threshold:.4f}"]
    parts += [] if chosen is None else [chosen.describe()]
    parts += [] if kind.temperature is None else [f"temperature {kind.temperature:.3g}"]
    return "\n".join(parts)


def _domain_rows(card: "ModelCard") -> Iterable[tuple[str, str]]:
    domain = card.domain
    if domain is None:
        yield "images", _NOT_STATED
        return
    yield "images", domain.describe() or _NOT_STATED
    values = domain.values or ()
    lines = [
        f"band {number}: median {found.middle:g}, 98 % from {found.low:g} to {found.high:g}"
        for number, found in enumerate(values, 1)
    ]
    yield "values of the images", "\n".join(lines) or _NOT_STATED
    sets = [
        f"{one.name}: {one.windows} windows; 95 % of {one.held_out} others within {one.usual:.3g}"
        for one in domain.sets
    ]
    yield "looks of the images", "\n".join(sets) or _NOT_STATED


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
