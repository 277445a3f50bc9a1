"""Options that take one of a few names."""

import difflib
from collections.abc import Sequence

from changedet.errors import ConfigError


def check_choice(setting: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        ConfigError: Naming the setting, the choices and the value.
    """
    if value not in choices:
        raise ConfigError(f"{setting} must be one of {', '.join(choices)}, got {value!r}")


def nearest(name: str, names: Sequence[str]) -> str:
    """Return ``"did you mean 'x'?"``, or the list of names where none is near."""
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
