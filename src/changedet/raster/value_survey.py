"""Look at a sample of a raster's values before anything is computed from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from changedet.raster.bands import alpha_bands
from changedet.raster.fills import Fill, SampledWindow, find_fills
from changedet.raster.geo_grid import Window
from changedet.raster.open import open_raster
from changedet.raster.pixel_rules import Alpha, NoData, PixelRules, rules_for_value
from changedet.raster.pixels import LARGEST, PixelSource
from changedet.raster.rescale import sample_windows
from changedet.raster.units import DeclaredUnits, read_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    import rasterio

    from changedet.raster.info import RasterInfo
    from changedet.raster.pixels import StoredPixels

#: The colour of a band whose values are numbers in a palette.
PALETTE: Final = "palette"
#: Shares of the values below what is kept of each band, in percent.
PERCENTILES: Final = (1.0, 50.0, 99.0)
# Windows along each axis, those at the edges included, their side, and what they may take together.
_SPREAD: Final = 5
_SIDE_PX: Final = 256
_SMALLEST_SIDE_PX: Final = 32
_SAMPLE_BYTES: Final = 64 * 2**20
# Pixels whose values are kept.
_KEPT_PX: Final = 50_000
# An alpha band with so many different values, in such a share of the pixels, is no mask.
_SHADES: Final = 16
_SHADED: Final = 0.1
# An alpha band that seems empty is looked at in so many places along each axis.
_SECOND_SPREAD: Final = 16


@dataclass(frozen=True)
class AlphaFacts:
    """What an alpha band looks like.

    Attributes:
        band: Its number, from 1.
        kind: ``mask``; ``shades``, many values between 0 and opaque; ``empty``, 0 everywhere.
        zero_share: Share of the pixels where it is 0, in [0, 1].
        is_used: Whether these pixels are taken as missing.
    """

    band: int
    kind: Literal["mask", "shades", "empty"]
    zero_share: float
    is_used: bool


@dataclass(frozen=True)
class ValueFacts:
    """What a sample says of the values of one raster.

    Attributes:
        raster: Its name, without secrets.
        dtype: Type of the stored values.
        colours: What the file says that the chosen bands are, such as ``red`` or ``B04``.
        missing: Share of the sampled pixels without data by what the file declares, in [0, 1].
        not_numbers: Share of them that hold NaN, infinity or a value beyond 1e38.
        fills: Values that mark, or may mark, missing pixels.
        nodata: What was asked for.
        nodata_share: Share of the pixels that a value that was asked for marks.
        alphas: The alpha bands that are not read as data.
        units: Scale and offset that the file declares.
        only_values: Of each chosen band, the value that all valid pixels of the sample hold, as it
            is stored; None where they differ, or none was valid.
        percentiles: Of each chosen band, the values below which :data:`PERCENTILES` of the valid
            ones lie, as they are read; None if none was valid.
    """

    raster: str
    dtype: str
    colours: tuple[str, ...]
    missing: float
    not_numbers: float
    fills: tuple[Fill, ...]
    nodata: NoData
    nodata_share: float
    alphas: tuple[AlphaFacts, ...]
    units: DeclaredUnits
    only_values: tuple[float | None, ...] = ()
    percentiles: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class Survey:
    """What was found in a raster, and how it is to be read therefore.

    Attributes:
        rules: How its pixels are read; units are still those of the file.
        facts: What was found.
        values: Valid pixels of the sample, as they are stored, (N, C).
    """

    rules: PixelRules
    facts: ValueFacts
    values: NDArray[np.float32]


def survey(raster: RasterInfo, area: Window, *, nodata: NoData, alpha: Alpha) -> Survey:
    """Look at the values of a raster.

    Args:
        raster: The raster.
        area: What of it will be read, in its pixels.
        nodata: What marks missing pixels besides what the file declares.
        alpha: Whether alpha bands tell which pixels hold data.

    Raises:
        ImageError: If the file is damaged or its server fails.
    """
    with open_raster(raster.location) as dataset:
        source = PixelSource(dataset, raster.bands, location=raster.location)
        side = _side(source, dataset.count)
        places = list(sample_windows(area, spread=_SPREAD, side=side))
        stored = [source.stored(place) for place in places]
        names = [band for band in alpha_bands(dataset) if band not in raster.bands]
        alphas = _judge_alphas(source, stored, names, area=area, asked=alpha)
        units = read_units(dataset, raster.bands)
        colours = _colours(dataset, raster.bands)
        source.rules = PixelRules(uses_alpha=all(one.is_used for one in alphas))
        windows = [
            SampledWindow(part.values, source.valid(part), _edges(place, area))
            for place, part in zip(places, stored, strict=True)
        ]
    rules = source.rules
    fills: tuple[Fill, ...] = ()
    if nodata == "auto":
        fills = find_fills(windows)
        rules = _with_fills(rules, fills)
    elif nodata != "none":
        rules = replace(rules_for_value(nodata, dtype=raster.dtype), uses_alpha=rules.uses_alpha)
    source.rules = rules
    kept = [source.valid(part) for part in stored]
    pixels = sum(window.valid.size for window in windows)
    declared = sum(int(window.valid.sum()) for window in windows)
    valid = sum(int(part.sum()) for part in kept)
    values = _values(stored, kept, count=valid)
    facts = ValueFacts(
        raster=raster.name,
        dtype=raster.dtype,
        colours=colours,
        missing=1 - declared / pixels,
        not_numbers=_not_numbers(stored) / pixels,
        fills=fills,
        nodata=nodata,
        nodata_share=0.0 if isinstance(nodata, str) else (declared - valid) / pixels,
        alphas=alphas,
        units=units,
        only_values=_only_values(values),
    )
    return Survey(rules, facts, values)


def percentiles_of(values: NDArray[np.float32]) -> tuple[tuple[float, ...], ...] | None:
    """Give, of each band of valid pixels, (N, C), its :data:`PERCENTILES`."""
    if not len(values):
        return None
    found = np.percentile(values, PERCENTILES, axis=0)
    return tuple(tuple(float(value) for value in band) for band in found.T)


def _only_values(values: NDArray[np.float32]) -> tuple[float | None, ...]:
    if not len(values):
        return ()
    return tuple(float(band[0]) if (band == band[0]).all() else None for band in values.T)


def _side(source: PixelSource, bands: int) -> int:
    """Take smaller windows of rasters with many bands."""
    itemsize = max(np.dtype(name).itemsize for name in source.dataset.dtypes)
    most = _SAMPLE_BYTES / (_SPREAD**2 * min(bands, source.count + 1) * itemsize)
    return int(min(_SIDE_PX, max(_SMALLEST_SIDE_PX, most**0.5)))


def _edges(place: Window, area: Window) -> NDArray[np.bool_]:
    edges = np.zeros(place.shape, np.bool_)
    edges[0] |= place.top == area.top
    edges[-1] |= place.bottom == area.bottom
    edges[:, 0] |= place.left == area.left
    edges[:, -1] |= place.right == area.right
    return edges


def _judge_alphas(
    source: PixelSource,
    stored: Sequence[StoredPixels],
    bands: Sequence[int],
    *,
    area: Window,
    asked: Alpha,
) -> tuple[AlphaFacts, ...]:
    found = []
    for index, band in enumerate(bands):
        values = np.concatenate([part.alpha[index].ravel() for part in stored])
        shades = values[(values > 0) & (values < values.max())]
        kind: Literal["mask", "shades", "empty"] = "mask"
        if not values.any() and not _is_somewhere(source, area, index):
            kind = "empty"
        elif shades.size > _SHADED * values.size and len(np.unique(shades)) >= _SHADES:
            kind = "shades"
        is_used = kind == "mask" if asked == "auto" else asked == "mask"
        found.append(AlphaFacts(band, kind, float((values == 0).mean()), is_used))
    return tuple(found)


def _is_somewhere(source: PixelSource, area: Window, index: int) -> bool:
    """Look for a value of an alpha band in more places than the sample has."""
    return any(
        source.stored(place).alpha[index].any()
        for place in sample_windows(area, spread=_SECOND_SPREAD, side=_SMALLEST_SIDE_PX)
    )


def _colours(dataset: rasterio.DatasetReader, bands: Sequence[int]) -> tuple[str, ...]:
    """Name bands by their colour, or by what the file calls them; a palette by ``palette``."""
    interpretations = [dataset.colorinterp[band - 1].name for band in bands]
    descriptions = [dataset.descriptions[band - 1] for band in bands]
    if set(interpretations) & {"red", "green", "blue", PALETTE}:
        return tuple(interpretations)
    return tuple(text or "" for text in descriptions)


def _with_fills(rules: PixelRules, fills: Sequence[Fill]) -> PixelRules:
    certain = [fill for fill in fills if fill.is_certain]
    return replace(
        rules,
        missing_in_all=tuple(fill.value for fill in certain if fill.scope == "all"),
        missing_in_any=tuple(fill.value for fill in certain if fill.scope == "any"),
    )


def _not_numbers(stored: Sequence[StoredPixels]) -> int:
    count = 0
    for part in stored:
        if part.values.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                count += int((~(np.abs(part.values) < LARGEST)).any(axis=0).sum())
    return count


def _values(
    stored: Sequence[StoredPixels], valid: Sequence[NDArray[np.bool_]], *, count: int
) -> NDArray[np.float32]:
    step = max(1, count // _KEPT_PX)
    values = np.concatenate(
        [part.values[:, mask].T for part, mask in zip(stored, valid, strict=True)]
    )
    kept: NDArray[np.float32] = values[::step].astype(np.float32)
    return kept
