"""What one layer of a result shows at any resolution: both dates, scores as codes, the mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from changedet.data.images import count_bands, open_pixels, read_image, upright
from changedet.errors import ImageError
from changedet.raster.shown import ShownDate, ShownScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from changedet.raster.geo_grid import Window

Layer: TypeAlias = Literal["before", "after", "score", "mask"]
LAYERS: Final[tuple[Layer, ...]] = ("before", "after", "score", "mask")
#: Steps of the scores of a scene, and of the 16-bit picture of an image pair, from 0 to 1.
SCENE_STEPS: Final = 8192
PICTURE_STEPS: Final = 65535


class Part(NamedTuple):
    """A part of a layer.

    Attributes:
        values: (C, h, w): values of a date; codes of scores, uint16; mask, 1 where changed.
        valid: (h, w), where there is data.
    """

    values: NDArray[np.generic]
    valid: NDArray[np.bool_]


class LayerReader(Protocol):
    """A layer opened for one thread."""

    def read(self, window: Window, step: int) -> Part:
        """Read a window of the result's grid.

        Args:
            window: Inside the grid, its sides multiples of ``step``.
            step: Pixels of the grid along each axis that become one.

        Raises:
            ImageError: If the file is damaged.
        """

    def close(self) -> None:
        """Close the file."""


class DateLayer:
    """One date of a scene."""

    def __init__(self, date: ShownDate) -> None:
        self._date = date

    def read(self, window: Window, step: int) -> Part:
        """Read a window, see :class:`LayerReader`."""
        return Part(*self._date.read(window, step))

    def close(self) -> None:
        """Close the file."""
        self._date.close()


class ScoreLayer:
    """The scores of a scene, in steps of 1 / 8192."""

    def __init__(self, path: Path, *, shape: tuple[int, int]) -> None:
        self._file = _open_sized(path, shape)

    def read(self, window: Window, step: int) -> Part:
        """Read a window as codes, see :class:`LayerReader`."""
        return score_codes(*self._file.read(window, step))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def score_codes(scores: NDArray[np.generic], valid: NDArray[np.bool_]) -> Part:
    """Number the steps of scores, (h, w), rounded down."""
    codes = np.where(valid, scores, 0.0) * np.float32(SCENE_STEPS)
    return Part(codes.clip(0, SCENE_STEPS).astype(np.uint16)[np.newaxis], valid)


def lowest_code(threshold: float, steps: int) -> int:
    """Give the lowest code that counts as changed at a threshold; the browser does the same."""
    return int(np.ceil(float(np.float32(threshold)) * steps))


class MaskLayer:
    """The mask of a scene."""

    def __init__(self, path: Path, *, shape: tuple[int, int]) -> None:
        self._file = _open_sized(path, shape)

    def read(self, window: Window, step: int) -> Part:
        """Read a window, see :class:`LayerReader`."""
        values, valid = self._file.read(window, step)
        return Part((values == 1)[np.newaxis], valid)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _open_sized(path: Path, shape: tuple[int, int]) -> ShownScores:
    file = ShownScores(str(path))
    if file.shape != shape:
        file.close()
        raise ImageError(
            f"{path}: is not the file of this result: {file.shape[1]}x{file.shape[0]} px instead "
            f"of {shape[1]}x{shape[0]}; put that one back"
        )
    try:
        file.check_end()
    except ImageError:
        file.close()
        raise
    return file


class PictureLayer:
    """A layer of an image pair, which is small enough to be held in memory.

    Args:
        pixels: (C, H, W).
    """

    def __init__(self, pixels: NDArray[np.generic]) -> None:
        self._pixels = pixels

    @classmethod
    def open_date(cls, path: Path, *, shape: tuple[int, int]) -> PictureLayer:
        """Read one date.

        Raises:
            ImageError: If it cannot be read or has another size.
        """
        image = read_image(path, channels=count_bands(path))
        return cls(_sized(image.transpose(2, 0, 1), path, shape))

    @classmethod
    def open_score(
        cls, path: Path, *, shape: tuple[int, int], mask: Path, threshold: float
    ) -> PictureLayer:
        """Read ``score.png``, 16 bit, whose scores were rounded.

        Of the scores that were rounded to the step in which the threshold lies, the mask tells on
        which side of it they are, so counts at the threshold are those of the result.

        Args:
            path: The file.
            shape: Height and width.
            mask: The mask of the result; without it, scores are taken as they are.
            threshold: At which the mask was made.

        Raises:
            ImageError: As :meth:`open_date`.
        """
        with open_pixels(path) as image:
            codes = _sized(np.asarray(image).astype(np.uint16)[np.newaxis], path, shape)
        try:
            changed = cls.open_mask(mask, shape=shape)._pixels.astype(np.bool_)
        except ImageError:
            return cls(codes)
        first = lowest_code(threshold, PICTURE_STEPS)
        codes[(codes == first - 1) & changed] = first
        if first > 0:
            codes[(codes == first) & ~changed] = first - 1
        return cls(codes)

    @classmethod
    def open_mask(cls, path: Path, *, shape: tuple[int, int]) -> PictureLayer:
        """Read ``mask.png``.

        Raises:
            ImageError: As :meth:`open_date`.
        """
        with open_pixels(path) as image:
            changed = upright(np.asarray(image), image) > 0
        return cls(_sized(changed[np.newaxis], path, shape))

    def read(self, window: Window, step: int) -> Part:
        """Read a window, see :class:`LayerReader`; of a lower resolution, averages."""
        rows, columns = (
            slice(window.top, window.bottom),
            slice(window.left, window.right),
        )
        values = self._pixels[:, rows, columns]
        if step > 1:
            count, height, width = values.shape
            blocks = values.reshape(count, height // step, step, width // step, step)
            means = blocks.mean(axis=(2, 4), dtype=np.float64)
            values = means >= 0.5 if values.dtype == np.bool_ else means.astype(values.dtype)
        return Part(values, np.ones(values.shape[1:], np.bool_))

    def close(self) -> None:
        """Do nothing: no file is open."""


def _sized(pixels: NDArray[np.generic], path: Path, shape: tuple[int, int]) -> NDArray[np.generic]:
    if pixels.shape[1:] != shape:
        raise ImageError(
            f"{path}: is another image than at the prediction: {pixels.shape[2]}x"
            f"{pixels.shape[1]} px instead of {shape[1]}x{shape[0]}; put that one back"
        )
    return pixels
