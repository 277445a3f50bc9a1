"""Many things in one message."""

from collections.abc import Sequence


def first_few(values: Sequence[object], *, most: int = 3, separator: str = ", ") -> str:
    """Join the first few of many values and say how many more there are.

    Args:
        values: Shown as by :class:`str`.
        most: How many are shown.
        separator: Between two of them.
    """
    shown = separator.join(str(value) for value in values[:most])
    rest = len(values) - most
    if rest <= 0:
        return shown
    # "a, b and 2 more", but "a; b; and 2 more": parts with a semicolon may hold commas.
    return f"{shown}{'' if separator == ', ' else separator.rstrip()} and {rest} more"
