"""Paths that may be given as strings, and the other way round."""

from dataclasses import fields
from pathlib import Path
from typing import Any


class PathFields:
    """Base of frozen dataclasses whose fields for paths take strings, and those for text paths."""

    def __post_init__(self) -> None:
        """Convert what is of the other kind."""
        instance: Any = self
        for field in fields(instance):
            value = getattr(self, field.name)
            if isinstance(value, str) and field.type in (Path, Path | None):
                object.__setattr__(self, field.name, Path(value))
            elif isinstance(value, Path) and field.type in (str, str | None):
                object.__setattr__(self, field.name, str(value))
