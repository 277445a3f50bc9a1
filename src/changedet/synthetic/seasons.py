"""Season and sun of one date: the colours that land and plants then have."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Colour = npt.NDArray[np.float64]


class Season(NamedTuple):
    """When an image was taken.

    ``time`` is the time of the year in [0, 1), 0 the start of spring; ``shadow`` is the (x, y)
    offset of a shadow for each metre of height; ``rotation`` is how far the fields' crops are
    moved on in their calendar; ``dryness`` in [0, 1] pales the grass.
    """

    time: float
    shadow: npt.NDArray[np.float64]
    rotation: float
    dryness: float


class Ground(NamedTuple):
    """Look of a surface: RGB colour and the strengths of rows, wheel tracks and mottling."""

    colour: Colour
    rows: float
    period: float
    tracks: float
    mottle: float


def _ground(
    colour: tuple[int, int, int], rows: float, period: float, *, tracks: float, mottle: float
) -> Ground:
    return Ground(np.array(colour, dtype=float), rows, period, tracks, mottle)


#: A field's year, in order.
_CROP_YEAR = (
    _ground((130, 106, 82), 0.07, 3.0, tracks=0.0, mottle=0.08),
    _ground((116, 122, 76), 0.11, 3.4, tracks=0.07, mottle=0.07),
    _ground((86, 110, 62), 0.05, 2.8, tracks=0.16, mottle=0.05),
    _ground((118, 132, 66), 0.04, 2.8, tracks=0.16, mottle=0.05),
    _ground((186, 164, 100), 0.04, 3.0, tracks=0.14, mottle=0.05),
    _ground((170, 150, 106), 0.08, 5.2, tracks=0.05, mottle=0.06),
    _ground((106, 84, 64), 0.12, 4.0, tracks=0.0, mottle=0.09),
)
_GRASS_YEAR = ((100, 122, 64), (88, 112, 58), (116, 118, 70), (106, 106, 78))
_LEAF_YEAR = ((90, 110, 58), (54, 82, 44), (124, 98, 54), (100, 92, 80))
_DRY_GRASS = (146, 138, 92)
_CONIFER = (42, 64, 46)

MATERIALS = {
    "construction": _ground((196, 180, 154), 0.0, 9.0, tracks=0.0, mottle=0.1),
    "concrete": _ground((166, 164, 158), 0.0, 9.0, tracks=0.0, mottle=0.05),
    "gravel": _ground((158, 148, 132), 0.0, 9.0, tracks=0.0, mottle=0.07),
    "asphalt": _ground((112, 112, 115), 0.0, 9.0, tracks=0.0, mottle=0.04),
    "track": _ground((160, 144, 116), 0.0, 9.0, tracks=0.0, mottle=0.09),
    "water": _ground((58, 74, 76), 0.0, 9.0, tracks=0.0, mottle=0.03),
}
_MUD = (104, 100, 74)


def draw_season(rng: np.random.Generator) -> Season:
    """Draw the time of the year and of the day; northern hemisphere, north is up."""
    azimuth = -math.pi / 2 + rng.uniform(-0.9, 0.9)
    length = rng.uniform(0.35, 1.35)
    return Season(
        time=rng.random(),
        shadow=np.array([math.cos(azimuth), math.sin(azimuth)]) * length,
        rotation=rng.normal(0, 0.12),
        dryness=rng.random() ** 2,
    )


def crop(season: Season, phase: float) -> Ground:
    """Say how a field looks whose crop is ``phase`` of a year ahead."""
    stage = (season.time + 0.55 * phase + season.rotation) % 1.0 * len(_CROP_YEAR)
    return _CROP_YEAR[int(stage) % len(_CROP_YEAR)]


def grass(season: Season) -> Colour:
    """Colour of meadows and lawns."""
    green = _through_the_year(_GRASS_YEAR, season.time)
    return green + (np.array(_DRY_GRASS) - green) * 0.8 * season.dryness


def leaves(season: Season, *, is_conifer: bool) -> Colour:
    """Colour of a tree's crown."""
    return (
        np.array(_CONIFER, dtype=float)
        if is_conifer
        else _through_the_year(_LEAF_YEAR, season.time)
    )


def water(murk: float) -> Colour:
    """Colour of water, clear to muddy."""
    clear = MATERIALS["water"].colour
    return clear + (np.array(_MUD) - clear) * murk


def _through_the_year(anchors: tuple[tuple[int, int, int], ...], time: float) -> Colour:
    position = time * len(anchors)
    here, there = int(position) % len(anchors), (int(position) + 1) % len(anchors)
    part = position - int(position)
    return np.array(anchors[here]) * (1 - part) + np.array(anchors[there]) * part
