"""The layers of a drawing as seen from above: ground, shadows and what stands out of them."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from changedet.synthetic.seasons import MATERIALS, Ground
from changedet.synthetic.shapes import Points, following

Plane = npt.NDArray[np.float32]
Fill = tuple[int, int, int]

#: Shapes are drawn this many times larger and averaged, so that edges are smooth.
_SUPERSAMPLING = 2
#: What is left of red, green and blue light in a shadow.
_SHADE = np.array([0.50, 0.54, 0.62], dtype=np.float32)
_TRACKS_APART = 19.0


class Relief(NamedTuple):
    """Permanent unevenness of the ground, (H, W), mean about 0, standard deviation about 1."""

    coarse: Plane
    medium: Plane


class Canvas:
    """The layers of one drawing of SIDE_PX x SIDE_PX pixels; places are in metres."""

    def __init__(self, side_px: int, *, px_per_m: float) -> None:
        self._side_px = side_px
        self._px_per_m = px_per_m
        self._factor = px_per_m * _SUPERSAMPLING
        size = (side_px * _SUPERSAMPLING,) * 2
        self._ground = Image.new("RGB", size)
        self._shadow = Image.new("L", size)
        self._objects = Image.new("RGB", size)
        self._cover = Image.new("L", size)
        self._surface = Image.new("I", (side_px,) * 2)
        self._on_ground = ImageDraw.Draw(self._ground)
        self._on_shadow = ImageDraw.Draw(self._shadow)
        self._on_objects = ImageDraw.Draw(self._objects)
        self._on_cover = ImageDraw.Draw(self._cover)
        self._on_surface = ImageDraw.Draw(self._surface)
        self._grounds: list[tuple[Ground, float]] = [(MATERIALS["asphalt"], 0.0)]

    def spread(self, outline: Points, ground: Ground, *, direction: float = 0.0) -> None:
        """Cover an area with a kind of ground whose rows run along ``direction``."""
        self.paint(outline, ground.colour)
        self._on_surface.polygon(scaled(outline, self._px_per_m), fill=len(self._grounds))
        self._grounds.append((ground, direction))

    def paint(self, outline: Points, colour: Points) -> None:
        """Colour an area of the ground and leave its texture."""
        self._on_ground.polygon(scaled(outline, self._factor), fill=rgb(colour))

    def mark(self, line: Points, colour: Fill, *, width: float) -> None:
        """Draw a line on the ground."""
        width_px = max(1, round(width * self._factor))
        self._on_ground.line(scaled(line, self._factor), fill=colour, width=width_px)

    def raise_up(self, outline: Points, colour: Points) -> None:
        """Draw something above the shadows."""
        points = scaled(outline, self._factor)
        self._on_objects.polygon(points, fill=rgb(colour))
        self._on_cover.polygon(points, fill=255)

    def raise_disc(self, x: float, y: float, radius: float, *, colour: Points) -> None:
        """Draw something round above the shadows."""
        box = self._box(x, y, radius)
        self._on_objects.ellipse(box, fill=rgb(colour))
        self._on_cover.ellipse(box, fill=255)

    def ridge(self, line: Points, colour: Points) -> None:
        """Draw a thin line on something that was raised."""
        self._on_objects.line(scaled(line, self._factor), fill=rgb(colour), width=1)

    def cast(self, outline: Points, offset: Points) -> None:
        """Draw the shadow of a block that stands on an outline."""
        self._on_shadow.polygon(scaled(outline + offset, self._factor), fill=255)
        for start, end in zip(outline, following(outline), strict=True):
            side = np.array([start, end, end + offset, start + offset])
            self._on_shadow.polygon(scaled(side, self._factor), fill=255)

    def cast_disc(self, x: float, y: float, radius: float) -> None:
        """Draw the shadow of a crown, which lets some light through."""
        self._on_shadow.ellipse(self._box(x, y, radius), fill=225)

    def compose(self, relief: Relief, rng: np.random.Generator) -> Plane:
        """Put the layers together, (H, W, 3), in grey levels."""
        ground = _averaged(self._ground)
        shadow = _averaged(self._shadow)[..., None] / 255
        objects = _averaged(self._objects)
        cover = _averaged(self._cover)[..., None] / 255
        grain = noise(rng, self._side_px, cell_px=1.6)[..., None]
        textured = ground * self._texture(relief, rng)[..., None] * (1 + 0.025 * grain)
        shaded = textured * (1 - shadow * (1 - _SHADE))
        seen = shaded * (1 - cover) + objects * (1 + 0.035 * grain)
        return seen.astype(np.float32, copy=False)

    def _box(self, x: float, y: float, radius: float) -> tuple[float, float, float, float]:
        factor = self._factor
        return (
            (x - radius) * factor - 0.5,
            (y - radius) * factor - 0.5,
            (x + radius) * factor - 0.5,
            (y + radius) * factor - 0.5,
        )

    def _texture(self, relief: Relief, rng: np.random.Generator) -> Plane:
        """Brightness of the ground, (H, W), about 1: rows, wheel tracks and mottling."""
        index = np.asarray(self._surface)
        table = np.array(
            [
                (look.rows, look.period, look.tracks, look.mottle, math.cos(turn), math.sin(turn))
                for look, turn in self._grounds
            ],
            dtype=np.float32,
        )
        rows, period, tracks, mottle, cosine, sine = table[index].transpose(2, 0, 1)
        place = np.arange(self._side_px, dtype=np.float32) / np.float32(self._px_per_m)
        across = place[:, None] * cosine - place[None, :] * sine + 0.6 * relief.coarse
        stripes = np.sin(across * (np.float32(2 * np.pi) / period)) * (0.8 + 0.3 * relief.medium)
        lane = across % _TRACKS_APART
        wheels = ((lane < 1.0) | ((lane > 2.6) & (lane < 3.6))).astype(np.float32)
        today = noise(rng, self._side_px, cell_px=5.0)
        unevenness = 0.5 * relief.coarse + 0.5 * relief.medium + 0.35 * today
        texture: Plane = 1 + rows * stripes - tracks * wheels + mottle * unevenness
        return texture


def _averaged(layer: Image.Image) -> Plane:
    return np.asarray(layer.reduce(_SUPERSAMPLING), dtype=np.float32)


def scaled(points: Points, factor: float) -> list[float]:
    """Flatten points for PIL, whose coordinates name pixel centres."""
    flat: list[float] = (points * factor - 0.5).ravel().tolist()
    return flat


def rgb(colour: Points) -> Fill:
    """Round a colour to what an image can hold."""
    red, green, blue = colour.tolist()
    return _level(red), _level(green), _level(blue)


def _level(value: float) -> int:
    return min(255, max(0, round(value)))


def noise(rng: np.random.Generator, side_px: int, *, cell_px: float) -> Plane:
    """Draw smooth noise about 0 with a standard deviation of about 1, (H, W)."""
    cells = max(2, math.ceil(side_px / cell_px) + 2)
    grid = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    enlarged = grid.resize((side_px, side_px), Image.Resampling.BICUBIC)
    return np.asarray(enlarged) * np.float32(1.3)


def draw_relief(rng: np.random.Generator, side_px: int) -> Relief:
    """Draw the unevenness of the ground, (H, W)."""
    return Relief(coarse=noise(rng, side_px, cell_px=38.0), medium=noise(rng, side_px, cell_px=8.0))
