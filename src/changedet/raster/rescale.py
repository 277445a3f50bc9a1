"""Bring values of any type into the 8 bit that a model was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from changedet.errors import DataError
from changedet.raster.geo_grid import Window
from changedet.storage.secrets import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from changedet.raster.pixels import Pixels, PixelValues

#: Values that become 0 and 255.
Limits: TypeAlias = tuple[float, float]

#: Shares of the valid values below the limits of an automatic stretch, in percent.
PERCENTILES: Final = (2.0, 98.0)
_SAMPLE_PX: Final = 256
# Windows along each axis: enough for percentiles, few enough for a server.
_SPREADS: Final = (6, 16)
_ENOUGH_VALUES: Final = 100_000


def stretch(values: PixelValues, limits: Limits) -> NDArray[np.uint8]:
    """Map [low, high] linearly to 0..255, rounded; what lies outside is clipped.

    Args:
        values: Finite, any shape.
        limits: Low and high, low < high.
    """
    low, high = limits
    scaled = (values.astype(np.float32, copy=False) - np.float32(low)) * np.float32(
        255 / (high - low)
    )
    levels: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return levels


def measure_limits(read: Callable[[Window], Pixels], whole: Window, *, location: str) -> Limits:
    """Take the limits of an automatic stretch from windows spread over the common area.

    All bands get the same limits, so that colours stay what they are.

    Args:
        read: Gives the pixels of a window of one date.
        whole: The common area.
        location: Path or address, for the message.

    Raises:
        DataError: If no pixel holds data.
    """
    few, many = _SPREADS
    samples = [_valid_values(read(window)) for window in sample_windows(whole, spread=few)]
    for window in sample_windows(whole, spread=many):
        if sum(sample.size for sample in samples) >= _ENOUGH_VALUES:
            break
        samples.append(_valid_values(read(window)))
    values = np.concatenate(samples)
    if values.size == 0:
        raise DataError(
            f"{without_secrets(location)}: no pixel of the common area has data, so there is "
            "nothing to stretch; check its nodata value with gdalinfo, correct it with "
            "gdal_edit.py -a_nodata"
        )
    low, high = (float(limit) for limit in np.percentile(values, PERCENTILES))
    # A constant image has no value range.
    return (low, high) if high > low else (low, low + 1.0)


def sample_windows(whole: Window, *, spread: int, side: int = _SAMPLE_PX) -> Iterator[Window]:
    """Give windows in an even pattern, ``spread`` along each axis or all if there are fewer.

    Args:
        whole: What they lie in; some of them touch each of its edges.
        spread: At most so many along each axis.
        side: Height and width of a window, in pixels.
    """
    height, width = (min(side, length) for length in whole.shape)
    tops = _places(whole.height - height, step=height, spread=spread)
    lefts = _places(whole.width - width, step=width, spread=spread)
    for top in tops:
        for left in lefts:
            yield Window(whole.top + top, whole.left + left, height, width)


def _valid_values(pixels: Pixels) -> NDArray[np.float32]:
    return pixels.values[:, pixels.valid].ravel().astype(np.float32, copy=False)


def _places(room: int, *, step: int, spread: int) -> list[int]:
    count = min(spread, -(-room // step) + 1)
    return sorted({round(place) for place in np.linspace(0, room, count)})
