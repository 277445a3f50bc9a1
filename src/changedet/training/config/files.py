"""Settings of an experiment read from recipes and YAML files, changed, checked and written."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from changedet.choices import nearest
from changedet.errors import ConfigError
from changedet.losses.margins import DEFAULT_MARGINS
from changedet.storage.text import is_file, read_text
from changedet.storage.validation import describe
from changedet.storage.yaml import parse_yaml, yaml_tree
from changedet.training.config.sections import ExperimentConfig
from changedet.training.model_config import DEFAULT_MODEL, config_of, foreign_option
from changedet.training.recipes import list_recipes, recipe_text

#: The loss whose margins depend on the distance.
_CONTRASTIVE = "wdmc"
_LONGEST_CHAIN = 32


def load_config(source: str | Path, *, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Read settings from a recipe's name or a YAML file, then apply ``key=value`` overrides.

    A file may start from another one with ``extends: NAME_OR_FILE``; its own keys win.

    Args:
        source: Name of a shipped recipe, or path of a YAML file.
        overrides: ``section.key=value`` strings, the value in YAML.

    Raises:
        ConfigError: For a file that cannot be read, an unknown key or a value out of range.
    """
    tree = _load_tree(str(source), seen=())
    for override in overrides:
        _apply(tree, override)
    return parse_config(tree, origin=str(source))


def parse_config(tree: Mapping[str, Any], *, origin: str) -> ExperimentConfig:
    """Validate settings.

    Args:
        tree: Nested settings as read from YAML.
        origin: Where they come from, for messages.

    Raises:
        ConfigError: Naming every faulty key, and for unknown keys the nearest known one.
    """
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        faults = describe(error, ExperimentConfig, explain=partial(_explain, tree=tree))
        raise ConfigError(f"{origin}: {faults}") from error


def dump_config(config: ExperimentConfig) -> str:
    """Settings as YAML with every default written out, see :func:`dump_settings`."""
    return yaml.safe_dump(dump_settings(config), sort_keys=False)


def dump_settings(config: ExperimentConfig) -> dict[str, Any]:
    """Settings as plain JSON types, with the margins that the distance decides in place of null."""
    tree = config.model_dump(mode="json")
    if config.loss.margins is None and config.loss.terms.get(_CONTRASTIVE):
        tree["loss"]["margins"] = _margins_of(tree["model"])
    return tree


def _margins_of(model: Mapping[str, Any]) -> list[float] | None:
    """Give the default margins of the distance that a network's settings name, if they name one."""
    named = model.get("distance")
    return next((list(own) for known, own in DEFAULT_MARGINS.items() if known == named), None)


def _drop_default_margins(tree: dict[str, Any]) -> None:
    """Take margins that are those of the file's own distance as not given.

    Files written by :func:`dump_config` state them. Who changes the distance of such a file gets
    the margins of the new one, as with a file that leaves them out.
    """
    loss, model = tree.get("loss"), tree.get("model")
    if not isinstance(loss, dict) or not isinstance(model, dict) or "margins" not in loss:
        return
    if loss["margins"] == _margins_of(model):
        del loss["margins"]


def _explain(fault: ErrorDetails, tree: Mapping[str, Any]) -> str | None:
    """Word an unknown setting of the network: which there are depends on its name."""
    if fault["type"] != "extra_forbidden" or fault["loc"][0] != "model" or len(fault["loc"]) != 2:
        return None
    option, name = str(fault["loc"][1]), tree["model"].get("name", DEFAULT_MODEL)
    foreign = foreign_option(option, fault["input"], model=name)
    hint = nearest(option, list(config_of(name).model_fields))
    return foreign or f"model: unknown key {option!r}; {hint}"


def _load_tree(source: str, *, seen: tuple[str, ...]) -> dict[str, Any]:
    # One file may have many names: links, and ways through other folders.
    if any(_are_one(source, other) for other in seen):
        raise ConfigError(f"extends is circular: {' -> '.join((*seen, source))}")
    if len(seen) > _LONGEST_CHAIN:
        raise ConfigError(
            f"{seen[0]}: extends leads through more than {_LONGEST_CHAIN} files; join some of them"
        )
    text, folder = _read_source(source)
    tree = yaml_tree(text, origin=source, error=ConfigError) or {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{source} must contain 'section: …' keys, got {type(tree).__name__}")
    _drop_default_margins(tree)
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise ConfigError(f"{source}: extends must name a recipe or file, got {parent!r:.160}")
    beside = folder / parent if folder else None
    name = str(beside) if beside is not None and is_file(beside) else parent
    return _merge(_load_tree(name, seen=(*seen, source)), tree)


def _are_one(source: str, other: str) -> bool:
    """Tell whether two names are of one file or recipe."""
    if is_file(Path(source)) and is_file(Path(other)):
        return Path(source).samefile(other)
    return source == other


def _read_source(source: str) -> tuple[str, Path | None]:
    path = Path(source)
    if is_file(path):
        return read_text(path, error=ConfigError), path.parent
    if source in list_recipes():
        return recipe_text(source), None
    raise ConfigError(
        f"{source!r} is neither a file nor a recipe; {nearest(source, list_recipes())}"
    )


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _apply(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(
            f"a change to a recipe (`overrides`) must be section.key=value, got {override!r}"
        )
    *sections, last = key.strip().split(".")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"`{key}`: {text!r} is not a YAML value") from error
    node = tree
    for section in sections:
        below = node.setdefault(section, {})
        if not isinstance(below, dict):
            raise ConfigError(f"`{key}`: {section!r} is a value, not a section")
        node = below
    node[last] = value
