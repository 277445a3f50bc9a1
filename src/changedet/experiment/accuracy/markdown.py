"""A summary page's sections as Markdown, for repositories and pull requests."""

import math
from collections.abc import Sequence
from pathlib import Path

from changedet.experiment.summary_page import (
    Block,
    Cell,
    Headlines,
    Pictures,
    Section,
    Table,
)


def render_markdown(title: str, sections: Sequence[Section], *, subtitle: str = "") -> str:
    """Write sections as Markdown; pictures are referred to by their file name.

    Args:
        title: Title of the page.
        sections: What it holds, in order.
        subtitle: A line below the title.
    """
    parts = [f"# {title}", *([subtitle] if subtitle else [])]
    for section in sections:
        if section.title:
            parts.append(f"## {section.title}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Headlines):
        return "\n".join(
            f"- {item.name}: **{_text(item.value)}**" + (f" ({item.detail})" if item.detail else "")
            for item in block.items
        )
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Pictures):
        lines = [block.caption] if block.caption else []
        lines += [f"![{item.caption}]({Path(item.path).name})" for item in block.items]
        return "\n\n".join(lines)
    if block.kind == "code":
        return f"```\n{block.text}\n```"
    return f"> **{block.text}**" if block.kind == "warning" else block.text


def _table(table: Table) -> str:
    is_number = [
        any(isinstance(row[column], int | float) for row in table.rows)
        for column in range(len(table.header))
    ]
    lines = [
        f"**{table.caption}**",
        "",
        _row(table.header),
        "|" + "|".join("---:" if number else "---" for number in is_number) + "|",
        *(_row([_text(cell) for cell in row]) for row in table.rows),
    ]
    return "\n".join([*lines, "", table.note] if table.note else lines)


def _row(cells: Sequence[str]) -> str:
    # A vertical bar would begin another cell, a line break another row.
    clean = [" ".join(cell.replace("|", "\\|").split()) for cell in cells]
    return f"| {' | '.join(clean)} |"


def _text(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return "-"
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)
