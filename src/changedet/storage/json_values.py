"""Results as plain JSON types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


def to_json_value(value: object) -> JsonValue:
    """Turn a result into plain JSON types; what is not a number (NaN, infinite) becomes null.

    Tuples, lists and arrays become lists, mappings become objects with text keys.

    Raises:
        TypeError: If there is no JSON type for the value.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return to_json_value(value.tolist())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    raise TypeError(f"no JSON type for {type(value).__name__}")
