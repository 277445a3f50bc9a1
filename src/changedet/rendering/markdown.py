"""The content of a summary page as Markdown, next to the page itself."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from changedet.errors import DataError
from changedet.rendering.page import (
    Block,
    Cell,
    Headlines,
    Note,
    Pictures,
    Section,
    Table,
    cell_text,
)
from changedet.storage.atomic import write_text
from changedet.storage.text import printable

# What Markdown would take for markup: emphasis, code, HTML, entities and links. An underscore
# inside a word is none.
_MARKUP = re.compile(r"[\\`*~<|\[\]]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
# What would make a heading, a quotation, a rule or a list of a line.
_LINE_MARKUP = re.compile(r"^(?=[#>+=-])|(?<=^\d)(?=[.)])")


def write_markdown(
    out: Path, *, title: str, sections: Sequence[Section], subtitle: str = ""
) -> None:
    """Write the sections of a page as Markdown; pictures are linked, relative to the file.

    What the text holds is never markup: characters that would be are escaped.

    Args:
        out: The Markdown file.
        title: Its heading.
        sections: As for :func:`changedet.rendering.page.write_summary`.
        subtitle: A line below the title.

    Raises:
        DataError: If there are charts or blocks to move in it, which Markdown has none of.
        StorageError: If the file cannot be written.
    """
    parts = [f"# {_text(title)}", *([_paragraph(subtitle)] if subtitle else [])]
    for section in sections:
        parts += [f"## {_text(section.title)}"] if section.title else []
        parts += [_block(block, out.parent) for block in section.blocks]
    write_text(out, "\n\n".join(parts) + "\n")


def _block(block: Block, folder: Path) -> str:
    if isinstance(block, Headlines):
        items = [(_cell(item.value), _text(item.name), _text(item.detail)) for item in block.items]
        return "\n".join(
            f"- **{value}** {name}" + (f" ({detail})" if detail else "")
            for value, name, detail in items
        )
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Pictures):
        return _pictures(block, folder)
    if isinstance(block, Note):
        return _note(block)
    raise DataError(f"a {type(block).__name__} can be drawn in a page, not in Markdown")


def _note(note: Note) -> str:
    if note.kind == "code":
        # A fence is longer than any inside of it.
        longest = max(map(len, re.findall("`+", note.text)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"{fence}\n{printable(note.text)}\n{fence}"
    return f"> **Note:** {_text(note.text)}" if note.kind == "warning" else _paragraph(note.text)


def _table(table: Table) -> str:
    sides = ["--:" if is_number else "---" for is_number in table.number_columns]
    lines = [
        _row(map(_text, table.header)),
        f"|{'|'.join(sides)}|",
        *(_row(map(_cell, row)) for row in table.rows),
    ]
    if table.highlighted is not None:
        row = table.rows[table.highlighted]
        lines[2 + table.highlighted] = _row(f"**{_cell(cell)}**" for cell in row)
    note = f"\n\n{_paragraph(table.note)}" if table.note else ""
    return f"**{_text(table.caption)}**\n\n" + "\n".join(lines) + note


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return _text(cell_text(cell, undefined="-"))


def _pictures(pictures: Pictures, folder: Path) -> str:
    lines = [f"**{_text(pictures.caption)}**", ""] if pictures.caption else []
    for item in pictures.items:
        place = quote(Path(os.path.relpath(item.path, folder)).as_posix())
        lines.append(f"- {_paragraph(item.caption)}: ![{_text(item.caption)}]({place})")
    return "\n".join(lines)


def _text(text: str) -> str:
    """Text inside of a line: in one line, with nothing in it that is markup."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(printable(text).split()))


def _paragraph(text: str) -> str:
    """Text at the beginning of a line, which is no heading or list either."""
    return _LINE_MARKUP.sub(r"\\", _text(text))
