"""One self-contained HTML page from headline figures, tables, pictures and notes."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import quote

from changedet.errors import DataError
from changedet.storage.atomic import write_text

#: A cell of a table; numbers are set to the right, None is shown as a dash.
Cell: TypeAlias = str | int | float | None
ImageUse: TypeAlias = Literal["link", "embed"]


@dataclass(frozen=True)
class Headline:
    """One big figure: what a reader should take away.

    Attributes:
        value: The figure; a float is shown with four digits after the point.
        name: What it is.
        detail: A few words below, such as its interval.
        emphasis: Whether it is the main figure of its row.
    """

    value: Cell
    name: str
    detail: str = ""
    emphasis: Literal["main", "plain"] = "plain"


@dataclass(frozen=True)
class Headlines:
    """A row of big figures."""

    items: Sequence[Headline]


@dataclass(frozen=True)
class Table:
    """Rows under a header, with a caption above.

    Attributes:
        caption: What the table shows.
        header: Names of the columns.
        rows: Cells, each row as long as the header.
        highlighted: Index of the row that matters most, none by default.
        note: A line below, such as how the figures were measured.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    highlighted: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """One picture file (PNG, JPEG or GIF) with what it shows.

    Attributes:
        path: The file.
        caption: What to see in it.
    """

    path: Path
    caption: str


@dataclass(frozen=True)
class Pictures:
    """Pictures with captions.

    Attributes:
        items: The pictures.
        caption: What they have in common.
        layout: One below the other over the full width, or side by side as many as fit.
    """

    items: Sequence[Picture]
    caption: str = ""
    layout: Literal["strip", "grid"] = "strip"


@dataclass(frozen=True)
class Note:
    """A paragraph; a warning is set off, code keeps its lines."""

    text: str
    kind: Literal["text", "warning", "code"] = "text"


Block: TypeAlias = Headlines | Table | Pictures | Note


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in order; an empty title gives no heading."""

    title: str
    blocks: Sequence[Block]


def write_summary(
    out: Path,
    *,
    title: str,
    sections: Sequence[Section],
    subtitle: str = "",
    images: ImageUse = "embed",
) -> None:
    """Write one HTML page that needs nothing but itself; all text is escaped.

    Args:
        out: The HTML file.
        title: Title of the page.
        sections: What it holds, in order.
        subtitle: A line below the title.
        images: ``embed`` puts the pictures into the page, so that it can be sent around;
            ``link`` refers to them relative to the page, which stays small.

    Raises:
        DataError: If a picture is missing or of another kind, or a table row is of another length
            than its header.
        StorageError: If the page cannot be written.
    """
    body = "\n".join(_section(section, out.parent, images) for section in sections)
    lead = f'<p class="lead">{escape(subtitle)}</p>' if subtitle else ""
    page = (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escape(title)}</h1>{lead}</header>\n{body}\n</main>\n</body>\n</html>\n"
    )
    write_text(out, page)


def _section(section: Section, folder: Path, images: ImageUse) -> str:
    heading = f"<h2>{escape(section.title)}</h2>\n" if section.title else ""
    blocks = "\n".join(_block(block, folder, images) for block in section.blocks)
    return f"<section>\n{heading}{blocks}\n</section>"


def _block(block: Block, folder: Path, images: ImageUse) -> str:
    if isinstance(block, Headlines):
        return _headlines(block)
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Pictures):
        return _pictures(block, folder, images)
    if block.kind == "code":
        return f"<pre><code>{escape(block.text)}</code></pre>"
    return f'<p class="{block.kind}">{escape(block.text)}</p>'


def _headlines(block: Headlines) -> str:
    cards = [
        f'<div class="card {item.emphasis}"><dt>{escape(item.name)}</dt>'
        f"<dd>{escape(_cell_text(item.value))}</dd>"
        + (f'<dd class="detail">{escape(item.detail)}</dd>' if item.detail else "")
        + "</div>"
        for item in block.items
    ]
    return f'<dl class="cards">{"".join(cards)}</dl>'


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.header):
            raise DataError(
                f"table {table.caption!r} has {len(table.header)} columns, got a row of {len(row)}"
            )
    is_number = [
        any(isinstance(row[column], int | float) for row in table.rows)
        for column in range(len(table.header))
    ]
    sides = [' class="number"' if number else "" for number in is_number]
    head = "".join(
        f'<th scope="col"{side}>{escape(name)}</th>'
        for name, side in zip(table.header, sides, strict=True)
    )
    rows = []
    for index, row in enumerate(table.rows):
        cells = "".join(
            f"<td{side}>{escape(_cell_text(cell))}</td>"
            for cell, side in zip(row, sides, strict=True)
        )
        chosen = ' class="chosen"' if index == table.highlighted else ""
        rows.append(f"<tr{chosen}>{cells}</tr>")
    note = f'<p class="fine">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="wide"><table><caption>{escape(table.caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{note}"
    )


def _cell_text(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return "–"  # noqa: RUF001 - an en dash is meant: no value
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def _pictures(block: Pictures, folder: Path, images: ImageUse) -> str:
    figures = "".join(
        f'<figure><img src="{escape(_source(item.path, folder, images))}" '
        f'alt="{escape(item.caption)}" loading="lazy">'
        f"<figcaption>{escape(item.caption)}</figcaption></figure>"
        for item in block.items
    )
    caption = f'<p class="caption">{escape(block.caption)}</p>' if block.caption else ""
    return f'{caption}<div class="{block.layout}">{figures}</div>'


def _source(path: Path, folder: Path, images: ImageUse) -> str:
    kind = _KINDS.get(path.suffix.lower())
    if kind is None or not path.is_file():
        raise DataError(f"a picture of a page is a file in {', '.join(_KINDS)}, got {path}")
    if images == "link":
        return quote(Path(os.path.relpath(path, folder)).as_posix())
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


_KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif"}

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f7f9; --card: #ffffff; --ink: #1c1e24; --faint: #5d6470; --line: #dfe3e8;
  --accent: #0b5cc4; --accent-ground: #e8f1fd; --warn: #8a4b00; --warn-ground: #fff4e0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14161a; --card: #1d2026; --ink: #e8eaee; --faint: #a3abb8; --line: #323742;
    --accent: #7db4ff; --accent-ground: #1a2a42; --warn: #ffc46b; --warn-ground: #37290f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { max-width: 1280px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 32px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 {
  font-size: 21px; margin: 48px 0 14px; padding-bottom: 6px;
  border-bottom: 1px solid var(--line);
}
p { max-width: 78ch; margin: 0 0 14px; }
.lead { font-size: 18px; color: var(--faint); }
.cards {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 14px;
  margin: 18px 0;
}
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 16px 18px;
}
.card.main { background: var(--accent-ground); border-color: var(--accent); }
.card dt { font-size: 14px; color: var(--faint); }
.card dd {
  margin: 2px 0 0; font-size: 32px; font-weight: 650; line-height: 1.2;
  font-variant-numeric: tabular-nums;
}
.card.main dd { color: var(--accent); }
.card dd.detail, .card.main dd.detail {
  font-size: 13px; font-weight: 400; color: var(--faint); line-height: 1.4;
  margin-top: 4px;
}
.wide {
  overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; margin: 18px 0 8px;
}
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 14px 16px 8px; font-weight: 600; }
th, td {
  text-align: left; padding: 8px 16px; border-top: 1px solid var(--line);
  vertical-align: top;
}
td:first-child { min-width: 10em; }
th { font-size: 13px; font-weight: 600; color: var(--faint); border-top: 0; }
th.number, td.number { text-align: right; white-space: nowrap; }
tr.chosen td { background: var(--accent-ground); font-weight: 600; }
.fine { font-size: 13px; color: var(--faint); }
.caption { font-weight: 600; margin: 18px 0 8px; }
.strip { display: grid; gap: 18px; margin: 0 0 18px; }
.strip figure { overflow-x: auto; }
.strip img { min-width: 860px; }
.grid {
  display: grid; gap: 18px; margin: 0 0 18px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr));
}
figure {
  margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  overflow: hidden;
}
img { display: block; width: 100%; height: auto; background: #ffffff; }
.grid img { width: auto; max-width: 100%; margin: 0 auto; }
figcaption { padding: 10px 14px; font-size: 14px; color: var(--faint); }
.warning {
  background: var(--warn-ground); color: var(--warn); border-left: 4px solid currentColor;
  border-radius: 6px; padding: 10px 14px;
}
pre {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; overflow-x: auto; font-size: 14px;
}
@media print { body { background: none; } figure, .wide, .card { break-inside: avoid; } }
"""
