"""Messages of protocol buffers, field by field, without a description of what they hold.

The encoding is that of protobuf.dev/programming-guides/encoding: each field is a number, a kind and
a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a field holds: a whole number, or the bytes of a text, a message or other values.
Value: TypeAlias = "int | bytes | memoryview"

_VARINT: Final = 0
_FIXED_64: Final = 1
_BYTES: Final = 2
_FIXED_32: Final = 5
_LONGEST_VARINT: Final = 10


def fields(content: memoryview) -> Iterator[tuple[int, Value]]:
    """Give the fields of a message: their numbers and what they hold.

    Raises:
        ValueError: If it is no message, or cut short.
    """
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("a field has no number")
        if kind == _VARINT:
            value, place = _varint(content, place)
            yield number, value
            continue
        if kind == _BYTES:
            length, place = _varint(content, place)
        elif kind in (_FIXED_64, _FIXED_32):
            length = 8 if kind == _FIXED_64 else 4
        else:
            raise ValueError(f"a field is of the unknown kind {kind}")
        end = place + length
        if end > len(content):
            raise ValueError("it ends too early")
        yield number, content[place:end]
        place = end


def as_message(value: Value) -> memoryview:
    """Let a value through that can be a message.

    Raises:
        ValueError: If it is a number.
    """
    if isinstance(value, int):
        raise ValueError("a number stands where a message is expected")
    return memoryview(value)


def as_text(value: Value) -> str:
    """Read a text; what is no UTF-8 becomes the sign for it.

    Raises:
        ValueError: If it is a number.
    """
    return bytes(as_message(value)).decode("utf-8", errors="replace")


def as_number(value: Value) -> int:
    """Let a whole number through.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(value, int):
        raise ValueError("a message stands where a number is expected")
    return value


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """Read a number of variable length, and where the next field begins."""
    value = 0
    for index, byte in enumerate(content[place : place + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    raise ValueError("a number does not end")
