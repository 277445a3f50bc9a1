"""Texts for people: many things in one message, strange characters written out."""

import re
from collections.abc import Sequence
from typing import Final, Literal


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


# Control characters but tab and line feed, marks that turn the direction of writing around, and
# halves of characters, as bytes that are no UTF-8 become in file names.
_UNPRINTABLE: Final = re.compile(
    "(\x1b\\[[0-9;]*m)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ud800-\udfff]"
)


def printable(text: str, *, colours: Literal["hide", "keep"] = "hide") -> str:
    r"""Write out the characters that act on a terminal: the escape character becomes ``\u001b``.

    Args:
        text: May hold names and words of anybody's.
        colours: Whether escape sequences that do nothing but colour stay.
    """

    def write_out(found: re.Match[str]) -> str:
        if found[1] and colours == "keep":
            return found[1]
        return "".join(
            f"\\u{ord(mark):04x}" if _UNPRINTABLE.fullmatch(mark) else mark for mark in found[0]
        )

    return _UNPRINTABLE.sub(write_out, text)
