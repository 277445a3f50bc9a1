"""Which tiles suit a model and a device, and what another tile size would change."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from changedet.card import LARGEST_TILE_PX
from changedet.errors import ConfigError
from changedet.inference.detector import Detector
from changedet.inference.scorer import Scorer
from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.grid import default_overlap, round_up, starts
from changedet.raster.nodata import fill_gaps
from changedet.raster.pair import PairPixels

#: Tiles of a model whose result hardly depends on their size: fewer edges, less waste.
_LARGE_TILE_PX = 512
#: Pixels of tiles that go through the model at once.
_BATCH_PX = {"cpu": 8 * 256**2, "mps": 16 * 256**2, "cuda": 64 * 256**2}
#: Places at which the effect of another tile size is measured.
_SAMPLES = 9


class Tiling(NamedTuple):
    """Tiles and batches: height and width of a tile, shared pixels, tiles at once."""

    tile_px: int
    overlap_px: int
    batch_size: int


class TileEffect(NamedTuple):
    """What tiles of another size than the training's change.

    Attributes:
        trained_px: Tile size of the training.
        used_px: Tile size that was asked for.
        mean_difference: Mean absolute difference of the scores, in [0, 1].
        flipped_share: Share of pixels that are changed with one size and not with the other.
    """

    trained_px: int
    used_px: int
    mean_difference: float
    flipped_share: float


def choose_tiling(
    detector: Detector, *, tile_px: int | None, overlap_px: int | None, batch_size: int | None
) -> Tiling:
    """Settle tile, overlap and batch.

    A model with attention gets tiles of the size it was trained on (spec 1.2); any other one at
    least 512 pixels, of what it sees.

    Raises:
        ConfigError: If a size makes no sense for the model.
    """
    stride = detector.scorer.stride
    if tile_px is None:
        fixed_tile = detector.scorer.fixed_tile
        large_px = min(round(_LARGE_TILE_PX / detector.zoom), LARGEST_TILE_PX)
        tile_px = detector.tile_px if fixed_tile else max(detector.tile_px, large_px)
        tile_px = round_up(tile_px, stride)
    if tile_px < 1 or tile_px % stride:
        raise ConfigError(
            f"`tile_px` must be a multiple of {stride} for this model, got {tile_px}; use "
            f"{round_up(max(tile_px, 1), stride)}"
        )
    only_px = detector.only_tile_px
    if only_px not in (None, tile_px):
        raise ConfigError(
            f"`tile_px` must be {only_px} for this exported model, whose tile is fixed, got "
            f"{tile_px}; remove it, or use the model file that it was exported from"
        )
    if overlap_px is None:
        overlap_px = default_overlap(tile_px)
    if not 0 <= overlap_px < tile_px:
        raise ConfigError(
            f"`overlap_px` must be at least 0 and less than the tile of {tile_px} px, got "
            f"{overlap_px}"
        )
    if batch_size is None:
        # Enlarged tiles take as much more memory.
        seen_px = int(tile_px * max(1.0, detector.zoom))
        batch_size = max(1, _BATCH_PX.get(detector.device_name.partition(":")[0], 1) // seen_px**2)
    if batch_size < 1:
        raise ConfigError(f"`batch_size` must be at least 1, got {batch_size}")
    return Tiling(tile_px, overlap_px, batch_size)


def measure_tile_effect(
    read: Callable[[Window], PairPixels],
    grid: GeoGrid,
    *,
    scorer: Scorer,
    trained_px: int,
    used_px: int,
    threshold: float,
) -> TileEffect | None:
    """Score the same places with both tile sizes and compare.

    The smaller tiles lie side by side in the larger one, without blending.

    Returns:
        The difference over the pixels with data, or None if the scene has no room for the larger
        tile, or no data there.
    """
    small, large = sorted((trained_px, used_px))
    if min(grid.shape) < large:
        return None
    differences: list[float] = []
    flips: list[float] = []
    for top, left in _spread(grid, large):
        pixels = fill_gaps(read(Window(top, left, large, large)), scorer.card.normalisation)
        if not pixels.valid.any():
            continue
        whole = scorer.score([pixels.before], [pixels.after])[0]
        parts = np.full_like(whole, np.nan)
        # The last small tile moves inwards, so it sees nothing but what lies in the large one.
        for row in starts(large, small, 0):
            for column in starts(large, small, 0):
                part = np.s_[row : row + small, column : column + small]
                parts[part] = scorer.score([pixels.before[part]], [pixels.after[part]])[0]
        valid = pixels.valid
        differences.append(float(np.abs(whole - parts)[valid].mean()))
        flips.append(float(((whole >= threshold) != (parts >= threshold))[valid].mean()))
    if not differences:
        return None
    return TileEffect(trained_px, used_px, float(np.mean(differences)), float(np.mean(flips)))


def _spread(grid: GeoGrid, size: int) -> list[tuple[int, int]]:
    """Places of windows, evenly over the grid."""
    side = round(_SAMPLES**0.5)
    tops, lefts = (
        sorted({round(at) for at in np.linspace(0, length - size, side)}) for length in grid.shape
    )
    return [(top, left) for top in tops for left in lefts]
