"""Test-time augmentation: score rotated, mirrored or coarser views of a tile and average them.

Arrays of NumPy and tensors of PyTorch are treated alike.
"""

from typing import Final, NamedTuple, get_args

from changedet.choices import check_choice
from changedet.inference.arrays import Maps, Size, flip, resize
from changedet.types import TestTime

_ROWS, _COLUMNS = -2, -1


class TileView(NamedTuple):
    """A tile rotated, mirrored and shrunk.

    One of the eight symmetries of a square, a transposition and then reflections, and a scale.

    Attributes:
        axes: The two axes after the transposition, rows first.
        mirrored: Axes along which the result is reversed.
        scale: Height and width of the view in those of the tile, in (0, 1].
    """

    axes: tuple[int, int]
    mirrored: tuple[int, ...]
    scale: float = 1.0

    def size(self, tile: Size, *, multiple: int = 1) -> Size:
        """Give the view's height and width.

        Args:
            tile: Height and width of the tile, in pixels.
            multiple: What height and width must be multiples of; a scaled view is rounded.
        """
        height, width = tile if self.axes == _UPRIGHT else tile[::-1]
        if self.scale == 1.0:
            return height, width
        return self._shrunk(height, multiple), self._shrunk(width, multiple)

    def apply(self, images: Maps, *, multiple: int = 1) -> Maps:
        """Rotate, mirror and shrink images for the network.

        Args:
            images: (..., H, W); (B, C, H, W) where the view is scaled.
            multiple: As for :meth:`size`.
        """
        turned = images if self.axes == _UPRIGHT else images.swapaxes(*self.axes)
        shown = flip(turned, self.mirrored) if self.mirrored else turned
        if self.scale == 1.0:
            return shown
        size = self.size((images.shape[_ROWS], images.shape[_COLUMNS]), multiple=multiple)
        return resize(shown, size, antialias=True)

    def invert(self, scores: Maps, tile: Size) -> Maps:
        """Bring what was found in :meth:`apply`'s images back to its own place and size.

        Args:
            scores: (..., h, w); (B, h, w) where the view is scaled.
            tile: Height and width of the tile, in pixels.

        Returns:
            The scores, (..., H, W).
        """
        if self.scale != 1.0:
            size = tile if self.axes == _UPRIGHT else tile[::-1]
            scores = resize(scores[:, None], size, antialias=False)[:, 0]
        restored = flip(scores, self.mirrored) if self.mirrored else scores
        return restored if self.axes == _UPRIGHT else restored.swapaxes(*self.axes)

    def _shrunk(self, length: int, multiple: int) -> int:
        return max(1, round(length * self.scale / multiple)) * multiple


_UPRIGHT = (_ROWS, _COLUMNS)
_TRANSPOSED = (_COLUMNS, _ROWS)
_REFLECTIONS: Final[tuple[tuple[int, ...], ...]] = ((), (_COLUMNS,), (_ROWS,), (_ROWS, _COLUMNS))
_UPRIGHT_VIEWS = tuple(TileView(_UPRIGHT, mirrored) for mirrored in _REFLECTIONS)
_VIEWS: Final[dict[TestTime, tuple[TileView, ...]]] = {
    "none": _UPRIGHT_VIEWS[:1],
    "mirror": _UPRIGHT_VIEWS[:2],
    "flips": _UPRIGHT_VIEWS,
    "turns": (*_UPRIGHT_VIEWS, *(TileView(_TRANSPOSED, mirrored) for mirrored in _REFLECTIONS)),
    # A coarser view shows more of the surroundings within the network's reach. Half the lengths
    # cost a quarter: the three together cost 1.8 times the tile. Mirrored, they differ more.
    "scales": (
        TileView(_UPRIGHT, ()),
        TileView(_UPRIGHT, (_COLUMNS,), scale=0.75),
        TileView(_UPRIGHT, (_ROWS, _COLUMNS), scale=0.5),
    ),
    # Without the tile itself four cost 1.6 times it, less than the three above.
    "coarse": (
        TileView(_UPRIGHT, (), scale=0.75),
        TileView(_UPRIGHT, (_COLUMNS,), scale=0.75),
        TileView(_UPRIGHT, (), scale=0.5),
        TileView(_UPRIGHT, (_ROWS, _COLUMNS), scale=0.5),
    ),
    # Once each, 0.8 times the cost of the tile: enough for an ensemble, whose members differ.
    "coarse_few": (TileView(_UPRIGHT, (), scale=0.75), TileView(_UPRIGHT, (), scale=0.5)),
}


def views(test_time: TestTime) -> tuple[TileView, ...]:
    """List the views of a test-time augmentation, the unchanged tile first, if it is one of them.

    Args:
        test_time: ``none``: the tile; ``mirror``: the tile and its left-right mirror image;
            ``flips``: the tile flipped left-right, top-bottom, both or not at all; ``turns``: all
            eight rotations and mirror images, half of which swap height and width; ``scales``: the
            tile, mirrored left-right at three quarters of its height and width, and rotated by 180
            degrees at half of them; ``coarse``: at three quarters unchanged and mirrored
            left-right, at half unchanged and rotated by 180 degrees; ``coarse_few``: unchanged at
            three quarters and at half.

    Raises:
        ConfigError: If there is no such augmentation.
    """
    check_choice("test_time", test_time, get_args(TestTime))
    return _VIEWS[test_time]
