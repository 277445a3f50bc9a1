"""All colours that a reader has to distinguish: in masks, styles, panels and charts."""

from typing import Final, TypeAlias

#: Red, green, blue in 0..255.
Colour: TypeAlias = tuple[int, int, int]

#: Changed pixels and outlines where they lie on a map: the mask's colour table, the QGIS styles.
CHANGED_COLOUR: Final[Colour] = (214, 39, 40)
#: Detected change on an image, brighter so that it stands out from brick and soil.
OVERLAY_COLOUR: Final[Colour] = (255, 45, 85)

# Light, blue and orange on a dark background can be distinguished with any colour vision.
HIT_COLOUR: Final[Colour] = (168, 240, 190)
MISS_COLOUR: Final[Colour] = (64, 156, 255)
FALSE_ALARM_COLOUR: Final[Colour] = (255, 128, 20)
IGNORED_COLOUR: Final[Colour] = (128, 128, 128)
#: Outlines on an image and what is around them: bright on dark, seen with any colour vision.
OUTLINE_COLOUR: Final[Colour] = (255, 221, 20)
OUTLINE_HALO_COLOUR: Final[Colour] = (16, 16, 20)
#: Where there is no image.
NODATA_COLOUR: Final[Colour] = (160, 160, 160)
#: Scores from 0 to 1 in even steps: viridis (matplotlib, CC0), ever brighter and without a
#: meeting of red and green.
SCORE_RAMP: Final[tuple[Colour, ...]] = (
    (68, 1, 84),
    (72, 40, 120),
    (62, 74, 137),
    (49, 104, 142),
    (38, 130, 142),
    (31, 158, 137),
    (53, 183, 121),
    (109, 205, 89),
    (180, 222, 44),
    (253, 231, 37),
)
#: A label in a panel.
LABEL_CHANGED_COLOUR: Final[Colour] = (244, 244, 240)
LABEL_UNCHANGED_COLOUR: Final[Colour] = (26, 28, 34)

#: Background, text and fainter text of panels and charts.
PAPER: Final[Colour] = (255, 255, 255)
INK: Final[Colour] = (28, 30, 36)
FAINT_INK: Final[Colour] = (110, 114, 124)
#: Grid lines, and secondary elements of a chart.
FAINT_LINE: Final[Colour] = (154, 160, 171)
#: Lines of a chart, in the order in which they are taken.
LINES: Final[tuple[Colour, ...]] = (
    (31, 111, 235),
    (217, 72, 15),
    (43, 138, 62),
    (156, 54, 181),
    (11, 114, 133),
    (166, 30, 77),
)


def to_hex(colour: Colour) -> str:
    """Write a colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
