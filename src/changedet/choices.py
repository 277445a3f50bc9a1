"""Options that take one of a few names, or a number of a range."""

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


def check_share(setting: str, value: float) -> None:
    """Refuse a share of what is dropped that is none, or all.

    Raises:
        ConfigError: If the value is not in [0, 1).
    """
    if not 0.0 <= value < 1.0:
        raise ConfigError(f"{setting} must be in [0, 1), got {value:g}")


def nearest(name: str, names: Sequence[str], *, most: int = 1, otherwise: str | None = None) -> str:
    """Return ``"did you mean 'x'?"``; case does not matter.

    Args:
        name: What was asked for.
        names: What there is.
        most: How many names to suggest.
        otherwise: To return where no name is near; None: the list of names.
    """
    by_key = {known.lower(): known for known in names}
    # Lower than difflib's own cutoff: "cvaa" and "tset" are near enough.
    keys = difflib.get_close_matches(name.lower(), by_key, n=most, cutoff=0.5)
    if keys:
        return f"did you mean {' or '.join(repr(by_key[key]) for key in keys)}?"
    return f"there are: {', '.join(names)}" if otherwise is None else otherwise
