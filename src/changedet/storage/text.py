"""Text of people: files of it, many things in one message, strange characters written out."""

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from changedet.errors import ChangeDetError

#: Largest text file that is read as a whole.
MOST_BYTES: Final = 64_000_000
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


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


_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
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


def is_file(path: Path) -> bool:
    """Tell whether there is such a file; there is none of a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Tell whether there is such a file or folder, likewise."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def read_text(path: Path, *, error: type[ChangeDetError]) -> str:
    """Read a text file that a person may have written in any editor.

    UTF-8, or UTF-16 with a byte order mark, which is left out.

    Args:
        path: The file.
        error: Class of the error.

    Raises:
        ChangeDetError: As ``error`` says, if it cannot be read, is too large or no such text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"cannot read {path}: {reason}; check the path") from problem
    if len(content) > MOST_BYTES:
        raise error(f"{path} is larger than {MOST_BYTES:,} bytes; check whether it is a text file")
    encoding = "utf-16" if content.startswith(_UTF_16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as problem:
        place = f"0x{content[problem.start]:02x} in line {content.count(10, 0, problem.start) + 1}"
        raise error(
            f"cannot read {path} as UTF-8 text (byte {place}); save it in UTF-8"
        ) from problem
    if "\0" in text:
        raise error(f"{path} is no text file: it contains NUL bytes; check the file")
    return text


def plain_cell(value: object) -> object:
    """Make a value safe for a CSV file: a spreadsheet takes no text for a formula.

    Args:
        value: Text that begins like a formula gets an apostrophe in front; numbers stay, also
            written as text.
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
