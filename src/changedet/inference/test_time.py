"""Views of a tile, turned and mirrored: a network scores each, the mean is the tile's score."""

from typing import Final, NamedTuple, get_args

from torch import Tensor

from changedet.models.choices import check_choice
from changedet.types import TestTime

_ROWS, _COLUMNS = -2, -1


class View(NamedTuple):
    """One of the eight symmetries of a square: a transposition, then reflections.

    Attributes:
        axes: The two axes after the transposition, rows first.
        mirrored: Axes along which the result is reversed.
    """

    axes: tuple[int, int]
    mirrored: tuple[int, ...]

    def show(self, images: Tensor) -> Tensor:
        """Turn or mirror images, (..., H, W), as the network is to see them."""
        turned = images if self.axes == _UPRIGHT else images.transpose(*self.axes)
        return turned.flip(self.mirrored) if self.mirrored else turned

    def undo(self, scores: Tensor) -> Tensor:
        """Bring what was found in :meth:`show`'s images back to their own place, (..., H, W)."""
        restored = scores.flip(self.mirrored) if self.mirrored else scores
        return restored if self.axes == _UPRIGHT else restored.transpose(*self.axes)


_UPRIGHT = (_ROWS, _COLUMNS)
_TRANSPOSED = (_COLUMNS, _ROWS)
_REFLECTIONS: Final[tuple[tuple[int, ...], ...]] = ((), (_COLUMNS,), (_ROWS,), (_ROWS, _COLUMNS))
_UPRIGHT_VIEWS = tuple(View(_UPRIGHT, mirrored) for mirrored in _REFLECTIONS)
_VIEWS: Final[dict[TestTime, tuple[View, ...]]] = {
    "none": _UPRIGHT_VIEWS[:1],
    "mirror": _UPRIGHT_VIEWS[:2],
    "flips": _UPRIGHT_VIEWS,
    "turns": (*_UPRIGHT_VIEWS, *(View(_TRANSPOSED, mirrored) for mirrored in _REFLECTIONS)),
}


def views(test_time: TestTime) -> tuple[View, ...]:
    """List the views of a test-time augmentation, the tile as it is first.

    Args:
        test_time: ``none``: the tile itself; ``mirror``: and its left-right mirror image;
            ``flips``: both mirror images and the half turn, too; ``turns``: all eight turns and
            mirror images, half of which exchange height and width.

    Raises:
        ConfigError: If there is no such augmentation.
    """
    check_choice("test_time", test_time, get_args(TestTime))
    return _VIEWS[test_time]
