"""One self-contained HTML page with headline figures, tables, images and notes."""

from __future__ import annotations

import base64
import functools
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import quote

from changedet.errors import DataError
from changedet.rendering.charts import Chart, draw
from changedet.rendering.interactive import Gallery, ThresholdExplorer, script
from changedet.storage.atomic import write_text
from changedet.storage.text import printable

if TYPE_CHECKING:
    from jinja2 import Template

# Such as "0.1000 to 0.2000".
_INTERVAL = re.compile(r"[-+.\d]+ to [-+.\d]+")
_IMAGE_KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif"}

Tone: TypeAlias = Literal["good", "bad", "open", "faint"]


@dataclass(frozen=True)
class Badge:
    """A word with a colour, which also stands where there are no colours.

    Attributes:
        text: The word.
        tone: Whether it is good or bad news, leaves something open, or says nothing.
    """

    text: str
    tone: Tone


#: A cell of a table; numbers are set to the right, None is shown as a dash.
Cell: TypeAlias = str | int | float | Badge | None
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
        is_folded: Whether only its caption is shown until a reader opens it.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    highlighted: int | None = None
    note: str = ""
    is_folded: bool = False

    @property
    def number_columns(self) -> list[bool]:
        """Whether each column holds a number, and so is set to the right."""
        return [
            any(isinstance(row[column], int | float) for row in self.rows)
            for column in range(len(self.header))
        ]


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
        layout: One below the other over the full width, wide strips that may be scrolled on a
            small screen; side by side as many as fit; or sheets, which shrink with the screen.
    """

    items: Sequence[Picture]
    caption: str = ""
    layout: Literal["strip", "grid", "sheet"] = "strip"


@dataclass(frozen=True)
class Note:
    """A paragraph; a warning is set off, code keeps its lines."""

    text: str
    kind: Literal["text", "warning", "code"] = "text"


Block: TypeAlias = Headlines | Table | Pictures | Note | Chart | ThresholdExplorer | Gallery


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
    blocks = [block for section in sections for block in section.blocks]
    for block in blocks:
        if isinstance(block, Table):
            _check_rows(block)
    page = _template().render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        script=script() if any(isinstance(b, ThresholdExplorer | Gallery) for b in blocks) else "",
        source=lambda path: _image_source(path, folder=out.parent, images=images),
    )
    write_text(out, page)


def cell_text(cell: Cell, *, undefined: str = "–") -> str:  # noqa: RUF001 - an en dash is meant
    """Show a value: a float with four digits after the point, a large integer in groups of three.

    Args:
        cell: Text, a number, a badge (its word) or None.
        undefined: Shown for None and for a float that is no finite number.
    """
    if isinstance(cell, Badge):
        return cell.text
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return undefined
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


@functools.cache
def _template() -> Template:
    # Most commands write no page.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("changedet.rendering"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell_text
    environment.filters["drawing"] = draw
    environment.tests["interval"] = lambda text: _INTERVAL.fullmatch(text) is not None
    environment.tests["badge"] = lambda cell: isinstance(cell, Badge)
    environment.tests["headlines"] = lambda block: isinstance(block, Headlines)
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.tests["pictures"] = lambda block: isinstance(block, Pictures)
    environment.tests["chart"] = lambda block: isinstance(block, Chart)
    environment.tests["explorer"] = lambda block: isinstance(block, ThresholdExplorer)
    environment.tests["gallery"] = lambda block: isinstance(block, Gallery)
    return environment.get_template("page.html.j2")


def _visible(value: object) -> object:
    """Write out what would turn the page around, in all that is put into it."""
    return printable(value) if type(value) is str else value


def _check_rows(table: Table) -> None:
    for row in table.rows:
        if len(row) != len(table.header):
            raise DataError(
                f"table {table.caption!r} has {len(table.header)} columns, got a row of {len(row)}"
            )


def _image_source(path: Path, *, folder: Path, images: ImageUse) -> str:
    kind = _IMAGE_KINDS.get(path.suffix.lower())
    if kind is None or not path.is_file():
        raise DataError(f"an image of a page is a file in {', '.join(_IMAGE_KINDS)}, got {path}")
    if images == "link":
        return quote(Path(os.path.relpath(path, folder)).as_posix())
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
