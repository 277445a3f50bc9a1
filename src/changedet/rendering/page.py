"""One self-contained HTML page with headline figures, tables, images and notes."""

from __future__ import annotations

import base64
import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from changedet.errors import DataError
from changedet.rendering.charts import Chart, draw
from changedet.rendering.interactive import Gallery, ThresholdExplorer, script
from changedet.storage.atomic import write_text
from changedet.storage.text import printable

if TYPE_CHECKING:
    from jinja2 import Template

# A figure that is given as text, so that it has the digits that it should have.
_FIGURE = re.compile(r"[-+]?[\d,]*\.?\d+( %)?")
_NO_FIGURE = ("", "-")
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


@dataclass(frozen=True)
class Interval:
    """An interval around a figure, drawn below its ends on the scale of its column.

    Attributes:
        low: Its lower end; NaN: unknown, which is shown as a dash.
        high: Its upper end, likewise.
        figure: The figure, for the dot on its line; None: no dot.
        digits: Digits after the point.
    """

    low: float
    high: float
    figure: float | None = None
    digits: int = 4

    @property
    def is_known(self) -> bool:
        """Whether it has both ends."""
        return self.low <= self.high

    def drawn(self, span: tuple[float, float]) -> tuple[float, float, float | None]:
        """Give its ends and its figure as shares of a span of values."""
        low, high = span

        def share(value: float) -> float:
            return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5

        is_drawn = self.figure is not None and math.isfinite(self.figure)
        return share(self.low), share(self.high), share(self.figure or 0.0) if is_drawn else None


#: A cell of a table; numbers are set to the right, None is shown as a dash.
Cell: TypeAlias = str | int | float | Badge | Interval | None


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
        """Whether each column holds figures, and so is set to the right."""
        return [_are_figures([row[column] for row in self.rows]) for column in self._columns]

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Least and greatest end of the intervals in each column, (0, 0) without any."""
        spans = []
        for column in self._columns:
            cells = [row[column] for row in self.rows]
            known = [cell for cell in cells if isinstance(cell, Interval) and cell.is_known]
            low = min((cell.low for cell in known), default=0.0)
            spans.append((low, max((cell.high for cell in known), default=low)))
        return spans

    @property
    def _columns(self) -> range:
        return range(len(self.header))


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
) -> None:
    """Write one HTML page that needs nothing but itself; all text is escaped.

    Args:
        out: The HTML file.
        title: Title of the page.
        sections: What it holds, in order.
        subtitle: A line below the title.

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
        source=_image_source,
    )
    write_text(out, page)


def cell_text(cell: Cell, *, undefined: str = "–") -> str:  # noqa: RUF001 - an en dash is meant
    """Show a value: a float with four digits after the point, a large integer in groups of three.

    Args:
        cell: Text, a number, a badge (its word), an interval (its ends) or None.
        undefined: Shown for None and for a float that is no finite number.
    """
    if isinstance(cell, Badge):
        return cell.text
    if isinstance(cell, Interval):
        low, high = (f"{end:.{cell.digits}f}" for end in (cell.low, cell.high))
        return f"{low} to {high}" if cell.is_known else undefined
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
    environment.filters["grouped"] = _grouped
    environment.tests["interval"] = lambda cell: isinstance(cell, Interval)
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


def _grouped(blocks: Sequence[Block]) -> list[list[Block]]:
    """Put charts that follow one another together: they stand side by side where there is room."""
    groups: list[list[Block]] = []
    for block in blocks:
        if groups and isinstance(block, Chart) and isinstance(groups[-1][0], Chart):
            groups[-1].append(block)
        else:
            groups.append([block])
    return groups


def _are_figures(cells: Sequence[Cell]) -> bool:
    """Whether there are numbers among the cells, or all that is there is figures as text."""
    if any(isinstance(cell, int | float) for cell in cells):
        return True
    known = [cell for cell in cells if cell is not None and cell not in _NO_FIGURE]
    return bool(known) and all(isinstance(cell, str) and _FIGURE.fullmatch(cell) for cell in known)


def _image_source(path: Path) -> str:
    kind = _IMAGE_KINDS.get(path.suffix.lower())
    if kind is None or not path.is_file():
        raise DataError(f"an image of a page is a file in {', '.join(_IMAGE_KINDS)}, got {path}")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
