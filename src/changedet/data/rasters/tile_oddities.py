"""What tiles hold besides the bands that are read: further pages, and alpha bands that are none."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from changedet.errors import ImageError
from changedet.raster.bands import alpha_bands
from changedet.raster.environment import gdal_environment
from changedet.raster.geo_grid import Window
from changedet.raster.info import read_info
from changedet.raster.open import open_raster
from changedet.raster.value_survey import AlphaFacts, survey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# So many tiles, spread over the data set, are looked at, and so much of each.
_SAMPLED: Final = 24
_LARGEST_PX: Final = 512


def find_oddities(tiles: Sequence[tuple[Path, tuple[int, ...]]]) -> tuple[bool, tuple[str, ...]]:
    """Look at a sample of tiles for what would otherwise be passed over, or be taken for a mask.

    A tile without any data has an alpha band of zeros, so that zeros alone say nothing against a
    mask unless all tiles have them.

    Args:
        tiles: Rasters, and the bands that are read of each.

    Returns:
        Whether the alpha bands are masks (or there are none), and what is to be said.
    """
    alphas: list[tuple[Path, AlphaFacts]] = []
    pages: list[tuple[Path, int]] = []
    step = max(1, len(tiles) // _SAMPLED)
    for path, bands in tiles[::step][:_SAMPLED]:
        # A damaged file is named where all are read.
        with contextlib.suppress(ImageError), gdal_environment():
            with open_raster(str(path)) as dataset:
                info = read_info(dataset, location=str(path), bands=bands)
                has_alpha = bool(set(alpha_bands(dataset)) - set(bands))
                height, width = dataset.shape
            if info.pages > 1:
                pages.append((path, info.pages))
            if has_alpha:
                area = Window(0, 0, min(height, _LARGEST_PX), min(width, _LARGEST_PX))
                seen = survey(info, area, nodata="none", alpha="auto").facts.alphas
                alphas += [(path, alpha) for alpha in seen]
    remarks = []
    if pages:
        path, count = pages[0]
        remarks.append(
            f"{path} holds {count} images, of which only the first is read"
            + (f" ({len(pages)} of the sampled files hold more than one)" if pages[1:] else "")
            + "; write the one you mean to a file of its own: gdal_translate "
            f"GTIFF_DIR:2:{path} OUT.tif"
        )
    shaded = [(path, alpha) for path, alpha in alphas if alpha.kind == "shades"]
    filled = sum(alpha.kind != "empty" for _, alpha in alphas)
    are_masks = not alphas or (filled > 0 and 2 * len(shaded) <= filled)
    if not are_masks:
        path, alpha = (shaded or alphas)[0]
        looks = "has many values like data" if shaded else "is 0 everywhere"
        remarks.append(
            f"{path}: band {alpha.band} is tagged as alpha, but {looks}: it is neither read nor "
            "used as a mask; to read it, list it in `bands`, to correct the tag: gdal_edit.py "
            f"-colorinterp_{alpha.band} undefined FILE"
        )
    return are_masks, tuple(remarks)
