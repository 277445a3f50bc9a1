"""Pictures side by side with captions above, colour bars and legends below."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from changedet.palette import FAINT_INK, INK, PAPER, Colour
from changedet.rendering.heatmap import colour_scale

Pixels: TypeAlias = NDArray[np.uint8]
Legend: TypeAlias = tuple[tuple[str, Colour], ...]

_MARGIN_PX = 12
_GAP_PX = 8
_TEXT_PX = 19
_NOTE_PX = 15
_NOTE_LINE_PX = 20
_KEY_PX = 13
_TITLE_PX = 22
_LINE_PX = 27
# Between a title and what is below it, and between an image and what stands under it.
_TITLE_GAP_PX = 6
_FOOT_GAP_PX = 6
_FOOT_PX = 2 * _NOTE_LINE_PX + _FOOT_GAP_PX
_MIN_COLUMN_PX = 250
_BAR_PX = 11


class Tile(NamedTuple):
    """One picture of a sheet.

    Attributes:
        caption: Above it.
        image: (H, W, 3); all of a sheet have one size.
        kind: Whether its colours are those of a photograph or of classes, which must not mix.
        ramp: Colours of scores from the lowest to the highest, (1, N, 3), for a bar below it.
        legend: Colours and their names, below it.
        note: A few words below it.
    """

    caption: str
    image: Pixels
    kind: Literal["photo", "classes"]
    ramp: Pixels | None = None
    legend: Legend = ()
    note: str = ""


class Frame(NamedTuple):
    """How a sheet is laid out: pictures in a row, and the size that each is drawn in (w, h)."""

    columns: int
    size: tuple[int, int]

    def sheet_size(self, count: int, *, has_title: bool = False) -> tuple[int, int]:
        """Give the width and height of a sheet of so many pictures."""
        rows = -(-count // self.columns)
        return (
            2 * _MARGIN_PX + self.columns * (self.column_px + _GAP_PX) - _GAP_PX,
            2 * _MARGIN_PX + has_title * (_LINE_PX + _TITLE_GAP_PX) + rows * self._row_px,
        )

    def corner(self, index: int, *, has_title: bool = False) -> tuple[int, int]:
        """Give the place of a picture with its caption, (x, y)."""
        row, column = divmod(index, self.columns)
        top = _MARGIN_PX + has_title * (_LINE_PX + _TITLE_GAP_PX)
        return _MARGIN_PX + column * (self.column_px + _GAP_PX), top + row * self._row_px

    @property
    def column_px(self) -> int:
        """Width of a column: a tall, narrow image leaves room for its caption all the same."""
        return max(self.size[0], _MIN_COLUMN_PX)

    @property
    def _row_px(self) -> int:
        return _LINE_PX + self.size[1] + _FOOT_PX


def strip_frame(shape: tuple[int, int], *, count: int, tile_px: int) -> Frame:
    """Lay out pictures of a shape (height, width) in one row, the longer side ``tile_px`` long."""
    height, width = shape
    scale = tile_px / max(height, width)
    return Frame(count, (max(1, round(width * scale)), max(1, round(height * scale))))


def sheet_frame(shape: tuple[int, int], *, count: int, longest_px: int) -> Frame:
    """Lay out pictures of a shape (height, width) as large as a sheet allows.

    Args:
        shape: Of the pictures.
        count: How many there are.
        longest_px: Of the longer side of the sheet, about.
    """
    height, width = shape
    best = Frame(count, (0, 0))
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        if rows * columns != count:
            continue
        empty = Frame(columns, (0, 0)).sheet_size(count)[1]
        room_x = (longest_px - 2 * _MARGIN_PX + _GAP_PX) / columns - _GAP_PX
        scale = min(room_x / width, (longest_px - empty) / rows / height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        best = max(best, Frame(columns, size), key=lambda frame: frame.size[0] * frame.size[1])
    return best


def draw_tiles(
    tiles: list[Tile], frame: Frame, *, threshold: float | None = None, title: str | None = None
) -> Pixels:
    """Draw a sheet of pictures.

    Args:
        tiles: In the order of reading.
        frame: Where they go.
        threshold: The score that is marked on a colour bar.
        title: A line above all of them.

    Returns:
        The sheet, (h, w, 3).
    """
    has_title = title is not None
    sheet = Image.new("RGB", frame.sheet_size(len(tiles), has_title=has_title), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title is not None:
        draw.text((_MARGIN_PX, _MARGIN_PX - 2), title, fill=INK, font=_font(_TITLE_PX))
    for index, tile in enumerate(tiles):
        x, y = frame.corner(index, has_title=has_title)
        draw.text((x, y), tile.caption, fill=INK, font=_font(_TEXT_PX))
        sheet.paste(_scaled(tile, frame.size), (x, y + _LINE_PX))
        foot = y + _LINE_PX + frame.size[1] + _FOOT_GAP_PX
        if tile.ramp is not None:
            _draw_bar(sheet, (x, foot), ramp=tile.ramp, width=frame.column_px, threshold=threshold)
        foot = _draw_legend(draw, (x, foot), legend=tile.legend, width=frame.column_px)
        draw.text((x, foot), tile.note, fill=FAINT_INK, font=_font(_NOTE_PX))
    return np.array(sheet)


def _scaled(tile: Tile, size: tuple[int, int]) -> Image.Image:
    """Fit a tile: classes stay crisp when enlarged, and are averaged when shrunk, as photos are."""
    height, width = tile.image.shape[:2]
    grows = size[0] >= width and size[1] >= height
    if tile.kind == "classes":
        resampling = Image.Resampling.NEAREST if grows else Image.Resampling.BOX
    else:
        resampling = Image.Resampling.BICUBIC if grows else Image.Resampling.LANCZOS
    return Image.fromarray(tile.image).resize(size, resampling)


def _draw_bar(
    strip: Image.Image,
    corner: tuple[int, int],
    *,
    ramp: Pixels,
    width: int,
    threshold: float | None,
) -> None:
    """Draw the colours of the score from first to last, and a mark at the threshold."""
    x, y = corner
    strip.paste(Image.fromarray(ramp).resize((width, _BAR_PX)), (x, y))
    draw = ImageDraw.Draw(strip)
    font = _font(_NOTE_PX)
    below = y + _BAR_PX + 3
    scale = colour_scale(threshold)
    last = "1 changed" if scale.top == 1.0 else f"{scale.top:.2f}+ changed"
    draw.text((x, below), "0 same", fill=FAINT_INK, font=font)
    draw.text((x + width, below), last, fill=FAINT_INK, font=font, anchor="ra")
    if threshold is None:
        return
    mark = x + round(float(scale.place(np.array(threshold))) * (width - 1))
    draw.rectangle((mark - 1, y - 3, mark + 1, y + _BAR_PX + 2), fill=INK, outline=PAPER)
    text = f"threshold {threshold:.3f}"
    # The words stay clear of those at both ends, the mark itself does not move.
    half = draw.textlength(text, font=font) / 2
    leftmost = x + draw.textlength("0 same", font=font) + _GAP_PX + half
    rightmost = x + width - draw.textlength(last, font=font) - _GAP_PX - half
    middle = min(max(mark, leftmost), rightmost)
    draw.text((middle, below), text, fill=INK, font=font, anchor="ma")


def _draw_legend(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], *, legend: Legend, width: int
) -> int:
    """Draw colour keys, line after line within the width; return the y below them."""
    x, y = corner
    font = _font(_NOTE_PX)
    for name, colour in legend:
        length = _KEY_PX + 4 + round(draw.textlength(name, font=font))
        if x + length > corner[0] + width:
            x, y = corner[0], y + _NOTE_LINE_PX
        draw.rectangle((x, y + 2, x + _KEY_PX, y + 2 + _KEY_PX), fill=colour, outline=INK)
        draw.text((x + _KEY_PX + 4, y), name, fill=INK, font=font)
        x += length + _GAP_PX + 2
    return y + _NOTE_LINE_PX if legend else y


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # The font that comes with Pillow: the same strip on every machine.
    return ImageFont.load_default(size_px)
