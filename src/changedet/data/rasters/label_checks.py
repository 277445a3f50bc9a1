"""Check that labels belong to their raster: they overlap it, and no class is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from changedet.data.rasters.labels import layer_kind, read_area, read_labelled
from changedet.errors import DataError
from changedet.raster.label_layer import RasterLayer
from changedet.raster.open import WARNING_FILTERS
from changedet.storage.secrets import without_secrets
from changedet.vector.footprints import do_meet
from changedet.vector.vector_file import describe_bounds, polygon_place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from changedet.data.labels.masks import MaskHistogram
    from changedet.data.rasters.manifest import RasterEntry
    from changedet.raster.geo_grid import GeoGrid

# Values that labels use for a class, so that as nodata they may take a class away.
_CLASS_VALUES = (0, 1, 255)


def check_labels(entry: RasterEntry, grid: GeoGrid) -> list[str]:
    """Check that labels and area can be read and overlap the raster.

    Returns:
        What the user should know of them, a sentence each.

    Raises:
        DataError: If they cannot be read, or lie elsewhere.
    """
    if layer_kind(entry.labels) == "raster":
        notes = _check_raster(entry, grid)
    else:
        notes = _check_polygons(entry, grid)
    if entry.area is not None and not read_area(entry.area, grid):
        place = _place(entry.area, grid, layer=None)
        raise DataError(
            f"{entry.area}: the area does not overlap the scene: "
            f"{'it is empty' if place is None else f'it covers {place}'}, the scene covers "
            f"{_describe(grid)}; give the area of this scene, or correct a wrong CRS with ogr2ogr "
            "-a_srs"
        )
    return notes


def check_classes(entry: RasterEntry, grid: GeoGrid, masks: Iterable[MaskHistogram]) -> None:
    """Check that the nodata value of a label raster does not take a class away.

    Args:
        entry: The labelled raster.
        grid: Its grid.
        masks: What the labels of its blocks hold.

    Raises:
        DataError: If nodata is 0, 1 or 255, and the other labels hold a single value.
    """
    if layer_kind(entry.labels) != "raster":
        return
    found = list(masks)
    values = set().union(*(mask.counts for mask in found))
    nodata = RasterLayer(entry.labels, grid).nodata
    if nodata not in _CLASS_VALUES or len(values) != 1 or not any(mask.ignored for mask in found):
        return
    only = values.pop()
    if only == 0 and entry.unchanged:
        return
    lost = "changed" if only == 0 else "unchanged"
    name = without_secrets(entry.labels)
    known = "; if nothing changed there: unchanged: true in the scene's entry" if only == 0 else ""
    raise DataError(
        f"{name}: its nodata value is {nodata:g} and all other values are {only}, so nothing in it "
        f"is known to be {lost}; if {nodata:g} means {lost}: gdal_edit.py -unsetnodata "
        f"{name}{known}"
    )


def _check_raster(entry: RasterEntry, grid: GeoGrid) -> list[str]:
    if entry.labels_layer is not None:
        raise DataError(
            f"labels_layer is the name of a polygon layer, but {without_secrets(entry.labels)} is "
            "a raster; remove labels_layer"
        )
    layer = RasterLayer(entry.labels, grid)
    # None: without georeference, sizes are compared instead.
    if do_meet(layer.extent, grid) is False:
        raise DataError(
            f"{without_secrets(entry.labels)}: the labels do not overlap the scene: they cover "
            f"{_describe(layer.extent)}, the scene covers {_describe(grid)}; give the labels of "
            "this scene, or correct a wrong CRS with gdal_edit.py -a_srs"
        )
    return []


def _check_polygons(entry: RasterEntry, grid: GeoGrid) -> list[str]:
    number = len(read_labelled(entry.labels, grid, layer=entry.labels_layer))
    if number and entry.unchanged:
        raise DataError(
            f"the entry has unchanged: true, but {number} polygons of {entry.labels} overlap the "
            "scene; remove unchanged, or correct the labels"
        )
    if number:
        return []
    if entry.unchanged:
        return ["all of it counts as unchanged, according to its entry"]
    place = _place(entry.labels, grid, layer=entry.labels_layer)
    if place is None:
        return [f"{entry.labels} is empty, so the whole scene counts as unchanged"]
    raise DataError(
        f"{entry.labels}: none of its polygons overlaps the scene: they cover {place}, the scene "
        f"covers {_describe(grid)}; give the labels of this scene, correct a wrong CRS with "
        "ogr2ogr -a_srs, or write unchanged: true into the scene's entry if nothing changed there"
    )


def _place(location: str, grid: GeoGrid, *, layer: str | None) -> str | None:
    with WARNING_FILTERS:
        return polygon_place(Path(location), crs=grid.crs, layer=layer)


def _describe(grid: GeoGrid) -> str:
    return describe_bounds(grid.bounds, grid.crs)
