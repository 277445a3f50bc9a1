"""Generated scenes to be timed on: of any size, with values like those of a model's training."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from affine import Affine

from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.plain import write_raster
from changedet.synthetic.dataset import generate_pair

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from changedet.card import ModelCard
    from changedet.data.labelled import DecodedPair
    from changedet.types import PixelType

_PAIR_PX: Final = 512
_PLACE: Final = "EPSG:32632"
_CORNER: Final = (500_000.0, 5_000_000.0)
_DEFAULT_GSD_M: Final = 1.0
#: Mean and standard deviation of generated images, of 8 bits, about.
_CENTRE, _SPREAD = 110.0, 50.0


def write_scenes(
    folder: Path, side_px: int, card: ModelCard, *, offset_px: float = 0.0
) -> tuple[Path, Path]:
    """Write both dates of a square scene, a generated pair that is repeated and mirrored.

    Args:
        folder: Where the files go.
        side_px: Height and width.
        card: Of the model: its channels, the type of its pixels, and what their values are like.
        offset_px: How far the later date's pixels lie off those of the earlier one; it is resampled
            where that is no whole number.

    Returns:
        The GeoTIFFs of the earlier and the later date.

    Raises:
        OSError: If they cannot be written.
    """
    pair = generate_pair(0, size_px=_PAIR_PX)
    gsd_m = card.working_gsd_m[0] if card.working_gsd_m else _DEFAULT_GSD_M
    images = like_training(pair, card)
    paths = []
    for name, image, offset in zip(("before", "after"), images, (0.0, offset_px), strict=True):
        left, top = _CORNER[0] + offset * gsd_m, _CORNER[1] - offset * gsd_m
        grid = GeoGrid(_PLACE, Affine(gsd_m, 0, left, 0, -gsd_m, top), side_px, side_px)
        path = folder / f"{name}.tif"
        write_raster(path, grid, partial(_mirrored, image), bands=image.shape[2], dtype=image.dtype)
        paths.append(path)
    return paths[0], paths[1]


def like_training(
    pair: DecodedPair, card: ModelCard
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Bring a pair of 8 bits to channels, values and a type that a model knows.

    Returns:
        Both dates, (H, W, C).
    """
    stats = card.normalisation
    if card.pixel_type == "uint8" and len(stats.mean_before) == pair.before.shape[2]:
        return pair.before, pair.after
    return (
        _brought(pair.before, stats.mean_before, stats.std_before, pixel_type=card.pixel_type),
        _brought(pair.after, stats.mean_after, stats.std_after, pixel_type=card.pixel_type),
    )


def _brought(
    image: NDArray[np.generic],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    pixel_type: PixelType,
) -> NDArray[np.generic]:
    shown = image[..., [channel % image.shape[2] for channel in range(len(mean))]]
    spread, centre = (np.array(values, np.float32) for values in (std, mean))
    brought = (shown.astype(np.float32) - _CENTRE) / _SPREAD * spread + centre
    if pixel_type in ("uint8", "uint16"):
        brought = brought.clip(0, np.iinfo(pixel_type).max).round()
    finished: NDArray[np.generic] = brought.astype(pixel_type)
    return finished


def _mirrored(image: NDArray[np.generic], window: Window) -> NDArray[np.generic]:
    """Cut a window out of an image that goes on by its reflection for ever."""
    rows, columns = (
        np.minimum(place, 2 * side - 1 - place)
        for place, side in (
            (np.arange(window.top, window.bottom) % (2 * image.shape[0]), image.shape[0]),
            (np.arange(window.left, window.right) % (2 * image.shape[1]), image.shape[1]),
        )
    )
    return image[np.ix_(rows, columns)]
