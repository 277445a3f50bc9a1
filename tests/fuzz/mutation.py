"""Damage valid inputs: bytes, text and trees of JSON, each from a random source alone."""

import copy
import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

#: Stands for a number that JSON can hold and Python cannot print.
_HUGE = "@huge@"
_DEEP = "@deep@"
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 255, 256, 2**31 - 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1),
    *(0.5, -0.0, 1e-320, 1e300, float("nan"), float("inf"), -float("inf")),
    *("", " ", "a", "nan", "1", "../../x", "/etc/passwd", "\ud800", "\x00", "\x1b[2J", "a" * 300),
    *([], {}, [[]], [None], {"": None}, [1, 2, 3], _HUGE, _DEEP),
)
_WORDS = (
    *("0", "-1", "1e999", "nan", "NaN", "inf", "9" * 400, "9" * 5000, "null", "true", "~", "''"),
    *("\t", "\r", "\n", "\x00", "\ufeff", "{", "}", "[", "]", ":", ",", "&a", "*a", "<<", "!!int"),
    *("2019-02-30", "1:2:3", "0x", "..", "/", "\\", "é", "%", "#", '"', "'", "<", ">", "&#0;"),
)
_INTEGERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63)


def damage_bytes(random: Random, content: bytes) -> bytes:
    """Change a few bytes, or parts, or the length."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 5, 8))):
        if not data:
            data += random.randbytes(random.randint(1, 64))
        random.choice(_BYTE_DAMAGES)(random, data)
    return bytes(data)


def _flip(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _flip_in_the_head(random: Random, data: bytearray) -> None:
    data[random.randrange(min(len(data), 256))] = random.choice((0, 1, 0x7F, 0x80, 0xFF))


def _put_integer(random: Random, data: bytearray) -> None:
    width, letter = random.choice(((2, "H"), (4, "I"), (8, "Q")))
    value = random.choice(_INTEGERS) & (2 ** (8 * width) - 1)
    at = random.randrange(len(data))
    packed = struct.pack(random.choice("<>") + letter, value)
    data[at : at + width] = packed[: len(data) - at]


def _put_float(random: Random, data: bytearray) -> None:
    value = random.choice((float("nan"), float("inf"), 1e308, 0.0, -1e-310))
    at = random.randrange(len(data))
    data[at : at + 8] = struct.pack("<d", value)[: len(data) - at]


def _truncate(random: Random, data: bytearray) -> None:
    del data[random.randrange(len(data)) :]


def _cut_out(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    del data[at : at + random.choice((1, 2, 7, 64, 1000))]


def _repeat(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    data[at:at] = data[at : at + random.choice((1, 4, 32, 256))] * random.choice((1, 2, 50))


def _insert(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.randbytes(random.choice((1, 2, 8, 100)))


_BYTE_DAMAGES: tuple[Callable[[Random, bytearray], None], ...] = (
    *(_flip, _flip_in_the_head, _put_integer, _put_integer, _put_float),
    *(_truncate, _cut_out, _repeat, _insert),
)


def damage_text(random: Random, text: str) -> bytes:
    """Replace words and numbers, move and repeat lines, or save it in another encoding."""
    for _ in range(random.choice((1, 1, 2, 4))):
        lines = text.split("\n")
        at = random.randrange(len(lines))
        kind = random.randrange(6)
        if kind == 0:
            lines[at] = lines[at] * random.choice((0, 2, 30))
        elif kind == 1:
            lines.insert(random.randrange(len(lines)), lines[at])
        elif kind == 2:
            words = lines[at].split(" ")
            words[random.randrange(len(words))] = random.choice(_WORDS)
            lines[at] = " ".join(words)
        elif kind == 3:
            place = random.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:place] + random.choice(_WORDS) + lines[at][place:]
        elif kind == 4:
            lines[at] = random.choice((" ", "    ", "\t", "- ")) + lines[at]
        else:
            opening, closing = random.choice((("[", "]"), ("{a: ", "}"), ("- ", "")))
            depth = random.choice((3, 70, 3000))
            lines[at] = opening * depth + "1" + closing * depth
        text = "\n".join(lines)
    encodings = ("utf-8",) * 8 + ("utf-16", "latin-1", "utf-8-sig")
    content = text.encode(random.choice(encodings), errors="replace")
    return damage_bytes(random, content) if random.random() < 0.2 else content


def odd_value(random: Random) -> Any:
    """Give a value that is seldom expected, to be changed at will."""
    return copy.deepcopy(random.choice(ODD_VALUES))


def damage_tree(random: Random, tree: Any) -> Any:
    """Replace, remove, rename, repeat or exchange parts of plain JSON values."""
    tree = json.loads(json.dumps(tree))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        places = list(_places(tree))
        if not places:
            return odd_value(random)
        holder, key = random.choice(places)
        kind = random.randrange(8)
        if kind <= 3:
            holder[key] = odd_value(random)
        elif kind == 4:
            del holder[key]
        elif kind == 5 and isinstance(holder, dict):
            holder[random.choice(("", "a", key + "_", "pretrained", "__class__"))] = holder.pop(key)
        elif kind == 6:
            other, name = random.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        else:
            count = random.choice((1, 3, 200))
            holder[key] = [copy.deepcopy(holder[key]) for _ in range(count)]
    return tree


def dump_tree(tree: Any) -> str:
    """Write it as JSON, with values that Python would not write."""
    text = json.dumps(tree)
    text = text.replace(f'"{_HUGE}"', "9" * 5000)
    return text.replace(f'"{_DEEP}"', "[" * 3000 + "]" * 3000)


def _places(tree: Any) -> Any:
    if isinstance(tree, dict):
        for key in list(tree):
            yield tree, key
            yield from _places(tree[key])
    elif isinstance(tree, list):
        for index in range(min(len(tree), 20)):
            yield tree, index
            yield from _places(tree[index])
