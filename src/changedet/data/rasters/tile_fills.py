"""Values that stand for missing pixels in tiles although the files do not say so."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from changedet.errors import ImageError
from changedet.raster.environment import gdal_environment
from changedet.raster.fills import Fill, SampledWindow, find_fills
from changedet.raster.geo_grid import Window
from changedet.raster.open import open_raster
from changedet.raster.pixel_rules import PixelRules
from changedet.raster.pixels import PixelSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# So many tiles, spread over the data set, are looked at, and so much of each.
_SAMPLED = 24
_LARGEST_PX = 512


def find_tile_fills(tiles: Sequence[tuple[Path, tuple[int, ...]]]) -> tuple[Fill, ...]:
    """Look for fill values in a sample of tiles.

    Args:
        tiles: Rasters, and the bands that are read of each.
    """
    step = max(1, len(tiles) // _SAMPLED)
    samples: list[SampledWindow] = []
    for path, bands in tiles[::step][:_SAMPLED]:
        # A damaged file is named where all are read.
        with contextlib.suppress(ImageError):
            samples.append(_sample(path, bands))
    first = samples[0].values if samples else None
    alike = [
        sample
        for sample in samples
        if first is not None
        and len(sample.values) == len(first)
        and sample.values.dtype == first.dtype
    ]
    return find_fills(alike)


def rules_for(fills: Sequence[Fill]) -> PixelRules | None:
    """Make the rules by which certain markers (-9999 and the like) are missing; None: no markers.

    A collar of one value is left to the user: tiles are often cut so that dark water reaches the
    edge.
    """
    markers = [fill for fill in fills if fill.kind == "marker"]
    if not markers:
        return None
    return PixelRules(
        missing_in_all=tuple(fill.value for fill in markers if fill.scope == "all"),
        missing_in_any=tuple(fill.value for fill in markers if fill.scope == "any"),
    )


def remarks_on_fills(fills: Sequence[Fill]) -> Iterator[str]:
    """Say which values are taken, or may have to be taken, for missing pixels."""
    for fill in fills:
        share = f"{fill.share:.2%} of the sampled pixels"
        if fill.kind == "marker":
            yield f"the value {fill.value:g} ({share}) is treated as no data"
        else:
            yield (
                f"the value {fill.value:g} fills {share}, mostly along edges; if it means no data, "
                f"declare it in each file: gdal_edit.py -a_nodata {fill.value:g} FILE"
            )


def _sample(path: Path, bands: tuple[int, ...]) -> SampledWindow:
    with gdal_environment(), open_raster(str(path)) as dataset:
        source = PixelSource(dataset, bands, location=str(path))
        height, width = dataset.shape
        window = Window(0, 0, min(height, _LARGEST_PX), min(width, _LARGEST_PX))
        stored = source.stored(window)
        edges = np.zeros(window.shape, np.bool_)
        edges[[0, -1]] = edges[:, [0, -1]] = True
        return SampledWindow(stored.values, source.separate(stored).valid, edges)
