"""The content of a summary page as Markdown, beside the page itself."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from changedet.rendering.page import (
    Block,
    Cell,
    Headlines,
    Note,
    Pictures,
    Section,
    Table,
)
from changedet.storage.atomic import write_text


def write_markdown(
    out: Path, *, title: str, sections: Sequence[Section], subtitle: str = ""
) -> None:
    """Write the sections of a page as Markdown; pictures are linked, relative to the file.

    Args:
        out: The Markdown file.
        title: Its heading.
        sections: As for :func:`changedet.rendering.page.write_summary`.
        subtitle: A line below the title.

    Raises:
        StorageError: If the file cannot be written.
    """
    parts = [f"# {title}", *([subtitle] if subtitle else [])]
    for section in sections:
        parts += [f"## {section.title}"] if section.title else []
        parts += [_block(block, out.parent) for block in section.blocks]
    write_text(out, "\n\n".join(parts) + "\n")


def _block(block: Block, folder: Path) -> str:
    if isinstance(block, Headlines):
        items = [(_cell(item.value), item.name, item.detail) for item in block.items]
        return "\n".join(
            f"- **{value}** {name}" + (f" ({detail})" if detail else "")
            for value, name, detail in items
        )
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Pictures):
        return _pictures(block, folder)
    return _note(block)


def _note(note: Note) -> str:
    if note.kind == "code":
        return f"```\n{note.text}\n```"
    return f"> **Note:** {note.text}" if note.kind == "warning" else note.text


def _table(table: Table) -> str:
    is_number = [
        any(isinstance(row[column], int | float) for row in table.rows)
        for column in range(len(table.header))
    ]
    lines = [
        _row(table.header),
        "|" + "|".join("--:" if number else "---" for number in is_number) + "|",
        *(_row([_cell(cell) for cell in row]) for row in table.rows),
    ]
    if table.highlighted is not None:
        row = table.rows[table.highlighted]
        lines[2 + table.highlighted] = _row([f"**{_cell(cell)}**" for cell in row])
    note = f"\n\n{table.note}" if table.note else ""
    return f"**{table.caption}**\n\n" + "\n".join(lines) + note


def _row(cells: Sequence[str]) -> str:
    # A vertical bar would begin another cell, a line break another row.
    clean = [" ".join(cell.replace("|", "\\|").split()) for cell in cells]
    return f"| {' | '.join(clean)} |"


def _cell(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return "-"
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def _pictures(pictures: Pictures, folder: Path) -> str:
    lines = [f"**{pictures.caption}**", ""] if pictures.caption else []
    for item in pictures.items:
        place = quote(Path(os.path.relpath(item.path, folder)).as_posix())
        lines.append(f"- {item.caption}: ![{item.caption}]({place})")
    return "\n".join(lines)
