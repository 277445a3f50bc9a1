"""Pairs whose images are rasters, GeoTIFF tiles for example: bands as asked, gaps, and one place.

A tile is read whole. Unlike scenes, the parts of a tile are not brought onto one grid: before,
after and label must lie on the same pixels already, or else they are refused by name.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from changedet.data.images import count_bands, is_raster, read_image
from changedet.data.labelled import DecodedPair
from changedet.data.labels.masks import read_mask
from changedet.data.labels.scan import decode_mask
from changedet.data.pixel_sums import PixelSums, WideSums
from changedet.errors import DataError
from changedet.raster.environment import gdal_environment
from changedet.raster.geo_grid import Window
from changedet.raster.grid_distance import is_same_crs, largest_distance_px
from changedet.raster.label_file import palette_of, place_of
from changedet.raster.nodata import fill_gaps
from changedet.raster.open import open_raster
from changedet.raster.pair import PairPixels
from changedet.raster.pixels import PixelSource
from changedet.raster.units import UnitSample, read_units, settle_units
from changedet.types import IGNORED

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from changedet.data.labelled import PairView
    from changedet.data.labels.encoding import LabelEncoding
    from changedet.data.pixel_sums import Pixels, Sums
    from changedet.data.tile_reading import TileFiles
    from changedet.raster.geo_grid import GeoGrid
    from changedet.raster.pixel_rules import PixelRules
    from changedet.raster.units import DeclaredUnits
    from changedet.types import Normalisation, PixelType

#: Tiles whose corners differ by less lie on the same pixels: edges of files are rounded.
_SAME_PX: Final = 0.5


class TilePart(NamedTuple):
    """How large a file of a tile is, (H, W), and its place; None without one."""

    path: Path
    shape: tuple[int, int]
    grid: GeoGrid | None


class TilePixels(NamedTuple):
    """One date of a tile.

    Attributes:
        path: Its file.
        values: (H, W, C), uint8 or float32; 0 where not valid.
        valid: Where it holds an image, (H, W).
        grid: Its place; None without one.
        units: Scale and offset that it declares; None for pictures.
    """

    path: Path
    values: Pixels
    valid: npt.NDArray[np.bool_]
    grid: GeoGrid | None
    units: DeclaredUnits | None = None

    @property
    def part(self) -> TilePart:
        """Size and place."""
        height, width = self.valid.shape
        return TilePart(self.path, (height, width), self.grid)


class TileView(NamedTuple):
    """A tile in memory."""

    pair: DecodedPair

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pair.shape

    def read(self, window: Window) -> DecodedPair:
        """Cut a window out; the arrays are views."""
        return self.pair.read(window)

    def read_labelled(self, window: Window) -> DecodedPair | None:
        """Cut a window out; None where all of it is ignored, as it holds no image."""
        pair = self.pair.read(window)
        return pair if (pair.label != IGNORED).any() else None


def read_tile(
    path: Path, bands: tuple[int, ...], *, channels: int, rules: PixelRules | None = None
) -> TilePixels:
    """Read one date of a tile.

    Args:
        path: Raster or picture.
        bands: Numbers of the bands, from 1; of a palette, the only one.
        channels: How many bands that makes: colours of a palette are three.
        rules: What marks missing pixels besides what the file declares.

    Raises:
        ImageError: If it cannot be read.
    """
    if not is_raster(path):
        picture = read_image(path, channels=count_bands(path))
        picture = picture[:, :, [band - 1 for band in bands]]
        return TilePixels(path, picture, np.ones(picture.shape[:2], np.bool_), None)
    with gdal_environment(), open_raster(str(path)) as dataset:
        source = PixelSource(dataset, bands, location=str(path), rules=rules)
        pixels = source.read(Window(0, 0, *dataset.shape))
        values: Pixels = pixels.values.transpose(1, 2, 0)
        if len(bands) == 1 < channels:
            values = palette_of(dataset, bands[0])[pixels.values[0]]
        return TilePixels(path, values, pixels.valid, place_of(dataset), read_units(dataset, bands))


def open_tiles(pair: TileFiles, *, encoding: LabelEncoding, fill: Normalisation | None) -> PairView:
    """Read the files of a pair and see that they lie on the same pixels.

    Raises:
        DataError: If a part cannot be read, has another size or lies elsewhere.
    """
    before, after = read_both(pair)
    path = pair.label
    if path is None:
        raise DataError(f"{pair.before} has no label; training and evaluation need one")
    mask = read_mask(path)
    label = decode_mask(path, mask, encoding)
    part = TilePart(path, (label.shape[0], label.shape[1]), mask.grid)
    require_same_size(before.part, part)
    require_same_place(before.part, part)
    valid = before.valid & after.valid
    pixels = PairPixels(_writable(before.values, valid), _writable(after.values, valid), valid)
    label[~valid] = IGNORED
    if fill is not None:
        fill_gaps(pixels, fill)
    return TileView(DecodedPair(pixels.before, pixels.after, label))


def read_both(pair: TileFiles) -> tuple[TilePixels, TilePixels]:
    """Read both dates of a pair and see that they lie on the same pixels.

    Raises:
        DataError: If one cannot be read, has another size or lies elsewhere.
    """
    reading = pair.reading
    before = read_tile(pair.before, reading.bands, channels=reading.channels, rules=reading.rules)
    after = read_tile(
        pair.after, reading.bands_after, channels=reading.channels, rules=reading.rules
    )
    require_same_size(before.part, after.part)
    require_same_place(before.part, after.part)
    return (
        in_one_unit(before, after, pixel_type=reading.pixel_type)
        if reading.has_units
        else (
            before,
            after,
        )
    )


def in_one_unit(
    before: TilePixels, after: TilePixels, *, pixel_type: PixelType
) -> tuple[TilePixels, TilePixels]:
    """Convert one date where both declare different scales or offsets, as prediction does."""
    if before.units is None or after.units is None or before.values.dtype != np.float32:
        return before, after
    conversion = settle_units(
        *(
            UnitSample(date.units, pixel_type, date.values[date.valid])
            for date in (before, after)
            if date.units is not None
        ),
        pixel_type=pixel_type,
    )
    if conversion is None or conversion.outcome != "converted":
        return before, after
    date = before if conversion.converted == "before" else after
    factors = np.array([unit.factor for unit in conversion.units])
    offsets = np.array([unit.offset for unit in conversion.units])
    changed = date._replace(values=(date.values * factors + offsets).astype(np.float32))
    return (changed, after) if date is before else (before, changed)


def has_image(pair: TileFiles) -> npt.NDArray[np.bool_]:
    """Tell where both dates hold an image, (H, W).

    Raises:
        DataError: As :func:`read_both`.
    """
    before, after = read_both(pair)
    return before.valid & after.valid


def sum_of(values: Pixels, valid: npt.NDArray[np.bool_]) -> Sums:
    """Sum up the pixels of one date where there is an image."""
    kind = PixelSums if values.dtype == np.uint8 else WideSums
    return kind.of(values if valid.all() else values[valid])


def require_same_size(first: TilePart, other: TilePart) -> None:
    """Refuse parts of a pair that differ in size.

    Raises:
        DataError: Naming both files and sizes.
    """
    if first.shape != other.shape:
        raise DataError(
            f"{other.path} is {other.shape[1]}x{other.shape[0]} pixels, but {first.path} is "
            f"{first.shape[1]}x{first.shape[0]} (width x height); before, after and label must "
            "have the same size"
        )


def require_same_place(first: TilePart, other: TilePart) -> None:
    """Refuse parts of a pair that lie apart; one without a place is taken to lie on the other.

    Raises:
        DataError: Naming both files and how far they are apart.
    """
    if first.grid is None or other.grid is None:
        return
    if not is_same_crs(first.grid.crs, other.grid.crs):
        raise DataError(
            f"{other.path} has another coordinate reference system than {first.path}; before, "
            "after and label of a tile must lie on the same pixels; bring it onto them: "
            f"{_warp(first.path, first.grid, other)}"
        )
    apart = largest_distance_px(first.grid, other.grid)
    if apart >= _SAME_PX:
        raise DataError(
            f"{other.path} lies up to {apart:,.1f} pixels away from {first.path}; before, after "
            f"and label of a tile must cover the same ground; bring it onto them: "
            f"{_warp(first.path, first.grid, other)}"
        )


def _warp(first: Path, grid: GeoGrid, other: TilePart) -> str:
    left, bottom, right, top = (f"{side:.12g}" for side in grid.bounds)
    crs = f"-t_srs {shlex.quote(str(first))} " if grid.crs is not None else ""
    return (
        f"gdalwarp {crs}-te {left} {bottom} {right} {top} -ts {grid.width} {grid.height} "
        f"{shlex.quote(str(other.path))} warped.tif"
    )


def _writable(values: Pixels, valid: npt.NDArray[np.bool_]) -> Any:  # noqa: ANN401
    """Copy pixels with channels last, zeros where either date holds no image."""
    copied = np.array(values, order="C", copy=True)
    copied[~valid] = 0
    return copied
