"""The shift of a scene as it is told; how it is measured needs SciPy, this does not."""

import math
from dataclasses import dataclass

#: Standard error of the median of n normal values, in units of their deviation over sqrt(n).
MEDIAN_ERROR = math.sqrt(math.pi / 2)


@dataclass(frozen=True)
class ShiftEstimate:
    """Shift of a scene: what lies at p in ``before`` lies at p + (down, right) in ``after``.

    Attributes:
        down_px: Median over the tiles, in pixels.
        right_px: The same along the other axis.
        spread_px: How far a tile typically lies off along one axis: 1.4826 times the median
            absolute deviation, root mean square of both axes.
        tiles_used: Tiles that agree and went into the estimate.
        tiles_tried: Tiles that were looked at, most of them in vain if there is little texture.
    """

    down_px: float
    right_px: float
    spread_px: float
    tiles_used: int
    tiles_tried: int

    @property
    def length_px(self) -> float:
        """Length of the shift in pixels."""
        return math.hypot(self.down_px, self.right_px)

    @property
    def error_px(self) -> float:
        """Standard error of the median along one axis, in pixels."""
        return MEDIAN_ERROR * self.spread_px / math.sqrt(self.tiles_used)
