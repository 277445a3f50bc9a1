"""What the shell offers after a tab: names of models, recipes, tables, baselines, benchmarks."""

from collections.abc import Iterable
from pathlib import Path

import typer

from changedet.baselines.names import BASELINE_PREFIX, list_baselines

_DEVICES = ("auto", "cpu", "cuda", "mps")


def complete_model(incomplete: str) -> list[str]:
    """Names of the models at hand, and model files and folders beginning like this."""
    from changedet.model_search import EXPORTED, SUFFIX, list_models_at_hand

    names = _beginning(incomplete, (model.name for model in list_models_at_hand()))
    return [*names, *_paths(incomplete, suffixes=(SUFFIX, EXPORTED))]


def complete_method(incomplete: str) -> list[str]:
    """The same, and the untrained methods."""
    names = (f"{BASELINE_PREFIX}{name}" for name in list_baselines())
    return [*_beginning(incomplete, names), *complete_model(incomplete)]


def complete_kind(ctx: typer.Context, incomplete: str) -> list[str]:
    """Kinds of change that the model before it on the command line tells apart, or known ones."""
    from changedet.card import read_card
    from changedet.errors import ChangeDetError
    from changedet.kinds import KNOWN_KINDS
    from changedet.model_search import find_model

    named = ctx.params.get("model") or next(iter(ctx.params.get("models") or ()), None)
    try:
        kinds = [kind.name for kind in read_card(find_model(named)).kinds] if named else []
    except ChangeDetError:
        kinds = []
    return _beginning(incomplete, kinds or KNOWN_KINDS)


def complete_recipe(incomplete: str) -> list[str]:
    """Names of the recipes, and YAML files."""
    from changedet.training.recipes import list_recipes

    return [*_beginning(incomplete, list_recipes()), *_yaml_files(incomplete)]


def complete_table(incomplete: str) -> list[str]:
    """Names of the ablation tables, and YAML files."""
    from changedet.ablation.table import list_tables

    return [*_beginning(incomplete, list_tables()), *_yaml_files(incomplete)]


def complete_benchmark(incomplete: str) -> list[str]:
    """Names of the public benchmarks."""
    from changedet.data.benchmarks import BENCHMARKS

    return _beginning(incomplete, (row.name for row in BENCHMARKS))


def complete_schema(incomplete: str) -> list[str]:
    """Kinds of result files."""
    from changedet.results import list_kinds

    return _beginning(incomplete, list_kinds())


def complete_device(incomplete: str) -> list[str]:
    """Names of devices."""
    return _beginning(incomplete, _DEVICES)


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.lower().startswith(incomplete.lower())]


def _yaml_files(incomplete: str) -> list[str]:
    return _paths(incomplete, suffixes=(".yaml", ".yml"))


def _paths(incomplete: str, *, suffixes: tuple[str, ...]) -> list[str]:
    """Folders, and files with these endings, whose path begins like this."""
    place = Path(incomplete)
    folder = place if incomplete.endswith(("/", "\\")) else place.parent
    start = "" if folder == place else place.name
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        f"{entry}/" if entry.is_dir() else str(entry)
        for entry in entries
        if entry.name.startswith(start)
        and (start or not entry.name.startswith("."))
        and (entry.is_dir() or entry.suffix in suffixes)
    ]
