"""What is worth knowing of where two rasters lie, found from their headers."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyproj
from affine import Affine
from pyproj.exceptions import CRSError, ProjError
from pyproj.transformer import AreaOfInterest, TransformerGroup

from changedet.raster.lonlat import crs_name, lonlat_box, lonlat_transformer
from changedet.raster.open import WARNING_FILTERS, is_remote
from changedet.raster.pixel_map import is_same_crs
from changedet.raster.sidecars import place_files, world_file_of

if TYPE_CHECKING:
    from changedet.raster.geo_grid import GeoGrid
    from changedet.raster.info import RasterInfo

#: What PROJ calls a transformation that takes two datums for one.
_BALLPARK: Final = "Ballpark geographic offset"
# World files are often rounded.
_ELSEWHERE_PX: Final = 0.5
# West, south, east and north of the world; PROJ takes nothing beyond.
_WORLD: Final = (-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True)
class DatumShift:
    """How two CRS are related where the rasters lie.

    Attributes:
        before: Name of the earlier raster's CRS.
        after: The same of the later one.
        is_ballpark: Whether the difference of the datums is unknown and taken to be none.
        accuracy_m: Of the transformation, in metres; None: it is not known.
        missing_grids: Files that are not installed, with which it would be more accurate.
    """

    before: str
    after: str
    is_ballpark: bool
    accuracy_m: float | None
    missing_grids: tuple[str, ...]


@dataclass(frozen=True)
class PlaceFacts:
    """Where two rasters lie.

    Attributes:
        has_crs: Whether they have a CRS.
        has_position: Whether they have coordinates, with or without a CRS.
        unrelated_crs: Name of a CRS that leads to no longitude and latitude on Earth.
        is_beyond_crs: Whether they lie where their CRS is not defined, as with a mistaken one.
        useless_world_files: World files that give the raster beside them no position.
        other_world_files: World files that place a raster elsewhere than the raster itself does.
        unread_prj: Files beside rasters without CRS that may name it, and that GDAL does not read.
        datum_shift: How the CRS are related, where they differ.
        gsd_m: Ground sample distance of the earlier raster in metres, if it is known.
    """

    has_crs: bool = True
    has_position: bool = True
    unrelated_crs: str | None = None
    is_beyond_crs: bool = False
    useless_world_files: tuple[str, ...] = ()
    other_world_files: tuple[str, ...] = ()
    unread_prj: tuple[str, ...] = ()
    datum_shift: DatumShift | None = None
    gsd_m: float | None = None


def find_place_facts(before: RasterInfo, after: RasterInfo, grid: GeoGrid) -> PlaceFacts:
    """Find what is worth knowing of the place of two rasters.

    Args:
        before: The earlier raster.
        after: The later one.
        grid: Their common area.
    """
    useless = tuple(path for raster in (before, after) for path in _useless_world_files(raster))
    others = tuple(path for raster in (before, after) for path in _other_world_files(raster))
    if before.crs is None or after.crs is None:
        return PlaceFacts(
            has_crs=False,
            has_position=not before.transform.is_identity,
            useless_world_files=useless,
            other_world_files=others,
            unread_prj=tuple(path for raster in (before, after) for path in _prj_beside(raster)),
        )
    is_related = lonlat_transformer(before.crs) is not None
    box = lonlat_box(grid)
    return PlaceFacts(
        unrelated_crs=None if is_related else crs_name(before.crs),
        is_beyond_crs=is_related and box is None,
        useless_world_files=useless,
        other_world_files=others,
        datum_shift=_datum_shift(before.crs, after.crs, box),
        gsd_m=before.gsd_m,
    )


def _useless_world_files(raster: RasterInfo) -> list[str]:
    """Find world files in which GDAL found no position: damaged, or not six numbers."""
    if is_remote(raster.location) or not raster.transform.is_identity:
        return []
    return [str(path) for path in place_files(Path(raster.location)) if path.suffix != ".xml"]


def _other_world_files(raster: RasterInfo) -> list[str]:
    """Find world files that GDAL passes over, since the raster has a position of its own."""
    if is_remote(raster.location) or raster.transform.is_identity:
        return []
    numbers = world_file_of(Path(raster.location)) or ()
    try:
        a, d, b, e, c, f = map(float, numbers)
    except ValueError:
        return []
    # A world file speaks of the centre of the first pixel.
    world = Affine(a, b, c, d, e, f) @ Affine.translation(-0.5, -0.5)
    for row, column in ((0, 0), raster.shape):
        back = ~raster.transform @ (world @ (column, row))
        if math.dist(back, (column, row)) > _ELSEWHERE_PX:
            return [str(path) for path in place_files(Path(raster.location))[:1]]
    return []


def _prj_beside(raster: RasterInfo) -> list[str]:
    """Find what Esri's programs write next to a world file."""
    if is_remote(raster.location) or raster.transform.is_identity:
        return []
    beside = Path(raster.location).with_suffix(".prj")
    return [str(beside)] if beside.is_file() else []


def _datum_shift(
    before: str, after: str, box: tuple[float, float, float, float] | None
) -> DatumShift | None:
    """Look up how PROJ comes from one CRS to another; None where there is nothing to it."""
    if is_same_crs(before, after):
        return None
    area = None
    if box is not None:
        low, high = _WORLD[:2] * 2, _WORLD[2:] * 2
        area = AreaOfInterest(*(min(max(v, a), b) for v, a, b in zip(box, low, high, strict=True)))
    try:
        with WARNING_FILTERS, warnings.catch_warnings():
            # pyproj warns of missing grids in its own words.
            warnings.simplefilter("ignore", UserWarning)
            ways = TransformerGroup(
                _flat(before), _flat(after), always_xy=True, area_of_interest=area
            )
    except (CRSError, ProjError):
        return None
    if not ways.transformers:
        return None
    used = ways.transformers[0]
    grids = {
        grid.short_name
        for way in ways.unavailable_operations[:1]
        for grid in way.grids
        if not grid.available
    }
    return DatumShift(
        before=crs_name(before),
        after=crs_name(after),
        is_ballpark=_BALLPARK in used.description,
        accuracy_m=used.accuracy if used.accuracy >= 0 else None,
        missing_grids=tuple(sorted(grids)),
    )


def _flat(crs: str) -> pyproj.CRS:
    """Leave heights out, whose transformations are no matter here."""
    system = pyproj.CRS.from_wkt(crs)
    return system.sub_crs_list[0] if system.is_compound else system.to_2d()
