"""Score maps in colours (JET): the whole scale for each model, with its threshold in the middle.

A model that compares embeddings by cosine leaves changed pixels alone from a distance of 0.8 on, a
score of 0.4, while with L2 it pushes them as far as 2 (spec 2). Coloured by the score itself, its
maps would end in green. So the colours follow the threshold: blue is 0, the middle of the scale
(light green) the threshold, and red twice the threshold or 1, whichever is less, and all above.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from changedet.errors import DataError

Colours: TypeAlias = NDArray[np.uint8]


class ColourScale(NamedTuple):
    """Which scores the middle and the end of the colours stand for; their beginning is 0.

    Attributes:
        middle: Score of light green, the threshold.
        top: Score from which on everything is dark red.
    """

    middle: float
    top: float

    def place(self, score: NDArray[np.floating]) -> NDArray[np.float64]:
        """Place scores on the scale, straight between its three points: 0 to 1."""
        scores, places = [0.0, self.middle, self.top], [0.0, 0.5, 1.0]
        if self.top <= self.middle:
            scores, places = scores[:2], places[:2]
        placed: NDArray[np.float64] = np.interp(score, scores, places)
        return placed

    def describe(self) -> str:
        """Say it in words, for legends."""
        return f"blue 0, green {self.middle:.3f} (the threshold), red {self.top:.3f} and above"


# Below it there is no room for half of the colours.
_LEAST_THRESHOLD = 1e-6
#: The colours of the scores themselves, where there is no threshold.
PLAIN_SCALE = ColourScale(middle=0.5, top=1.0)


def colour_scale(threshold: float | None) -> ColourScale:
    """Give the colours of a model's maps.

    Args:
        threshold: Score from which on a pixel counts as changed; None, 0 or next to it: the plain
            scale from 0 to 1.
    """
    if threshold is None or not threshold >= _LEAST_THRESHOLD:
        return PLAIN_SCALE
    return ColourScale(middle=threshold, top=min(1.0, 2.0 * threshold))


def heatmap(score: NDArray[np.floating], *, threshold: float | None = None) -> Colours:
    """Colour a score map: blue for no change over green to red for change (JET).

    The colours are a function of score and threshold alone, whatever the map holds, so that two
    maps can be compared (in the public code, distances above 1 wrapped around, spec 7).

    Args:
        score: Change scores, (H, W), in [0, 1].
        threshold: Score that the middle of the scale stands for, see :func:`colour_scale`; None:
            the colours span [0, 1].

    Returns:
        Colours, (H, W, 3).

    Raises:
        DataError: If the map is not (H, W), or a score is NaN or outside [0, 1].
    """
    places = colour_scale(threshold).place(checked_score(score))
    colours: Colours = _JET[np.rint(places * 255.0).astype(np.uint8)]
    return colours


def checked_score(score: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a score map as it is.

    Raises:
        DataError: If it is not (H, W), or a score is NaN or outside [0, 1].
    """
    # With NaN both comparisons are false, so NaN is refused too.
    if score.ndim != 2 or not (score.size and score.min() >= 0.0 and score.max() <= 1.0):
        raise DataError(
            f"a score map must be (H, W) with scores in [0, 1] and no NaN, got {score.shape} "
            f"from {score.min() if score.size else None} to {score.max() if score.size else None}"
        )
    return score


def _jet_table() -> Colours:
    """Build the 256 colours of JET: three overlapping trapezoids, blue to red."""
    position = np.linspace(0.0, 1.0, 256)[:, None]
    peaks = np.array([0.75, 0.5, 0.25])
    table = np.clip(1.5 - 4.0 * np.abs(position - peaks), 0.0, 1.0)
    colours: Colours = np.rint(255.0 * table).astype(np.uint8)
    return colours


_JET = _jet_table()
