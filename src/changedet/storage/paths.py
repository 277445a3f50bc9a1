"""Paths that may be given as strings."""

from dataclasses import fields
from pathlib import Path
from typing import Any


class PathFields:
    """Base of frozen dataclasses: a string in a field for a path becomes a path."""

    def __post_init__(self) -> None:
        """Convert the strings."""
        instance: Any = self
        for field in fields(instance):
            value = getattr(self, field.name)
            if isinstance(value, str) and field.type in (Path, Path | None):
                object.__setattr__(self, field.name, Path(value))
