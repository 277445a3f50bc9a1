"""Facts of all results: tables of settings, and how models and numbers are called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from changedet.rendering.page import Cell, Table


def facts_table(facts: Mapping[str, Cell], *, caption: str = "", note: str = "") -> Table:
    """Show what is known, one fact in a row; what is None is left out."""
    rows = [[name, value] for name, value in facts.items() if value is not None]
    return Table(
        caption or "In short",
        ["", "value"],
        # As text: a column of numbers would be set to the right.
        [[name, f"{value:,}" if isinstance(value, int) else str(value)] for name, value in rows],
        note=note,
    )


def model_words(model: Mapping[str, Any]) -> str:
    """Name a model or an untrained baseline as result files describe it."""
    if "baseline" in model:
        return f"untrained baseline {model['baseline']}"
    words = [str(model.get("path") or model.get("file") or model.get("name") or "a model")]
    if model.get("architecture"):
        words.append(str(model["architecture"]))
    if model.get("sha256"):
        words.append(f"SHA-256 {str(model['sha256'])[:12]}")
    return ", ".join(words)


def heading(title: str, about: str) -> str:
    """Write the heading of a part: with whose part it is, if a page is about several results."""
    return f"{title}: {about}" if title else about[0].upper() + about[1:]


def number_words(value: float) -> str:
    """Write a share with three digits, or a dash where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def flat(settings: Mapping[str, Any], *, above: str = "") -> dict[str, str]:
    """Write nested settings by dotted keys."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, above=f"{name}.")
        else:
            found[name] = _written(value)
    return found


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, list):
        return ", ".join(_written(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
