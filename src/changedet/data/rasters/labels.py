"""The labels of a raster: which layer holds them, and what its values mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from changedet.errors import DataError
from changedet.raster.label_layer import PolygonLayer, RasterLayer
from changedet.raster.open import WARNING_FILTERS
from changedet.storage.secrets import without_secrets
from changedet.types import IGNORED
from changedet.vector.region_text import SUFFIXES
from changedet.vector.regions import read_label_polygons

if TYPE_CHECKING:
    import numpy.typing as npt

    from changedet.data.labels.encoding import LabelEncoding
    from changedet.raster.geo_grid import GeoGrid
    from changedet.raster.label_layer import LabelLayer

LayerKind = Literal["polygons", "raster"]


def layer_kind(location: str) -> LayerKind:
    """Tell by the name whether labels are polygons or a raster."""
    # What signs an address follows its name.
    return "polygons" if Path(without_secrets(location)).suffix.lower() in SUFFIXES else "raster"


def open_labels(location: str, grid: GeoGrid, *, layer: str | None = None) -> LabelLayer:
    """Open the labels of a raster on its grid.

    Args:
        location: Polygon file or label raster.
        grid: Grid of the raster.
        layer: Layer of the polygon file; None: its only layer of polygons.

    Raises:
        DataError: If they cannot be read or placed on the grid.
    """
    if layer_kind(location) == "raster":
        return RasterLayer(location, grid)
    return PolygonLayer(read_labelled(location, grid, layer=layer), grid)


def open_polygons(location: str, grid: GeoGrid) -> PolygonLayer:
    """Open the polygons of an area that overlap a raster's grid.

    Raises:
        DataError: If they cannot be read or placed.
    """
    return PolygonLayer(read_area(location, grid), grid)


def read_labelled(location: str, grid: GeoGrid, *, layer: str | None = None) -> list[Any]:
    """Read the label polygons that overlap a raster's grid; there may be none.

    Raises:
        DataError: If they cannot be read or placed.
    """
    return _read_polygons(location, grid, layer=layer, key="labels_layer")


def read_area(location: str, grid: GeoGrid) -> list[Any]:
    """Read the polygons of an area that overlap a raster's grid; there may be none.

    Raises:
        DataError: If they cannot be read or placed.
    """
    return _read_polygons(location, grid, layer=None, key=None)


def _read_polygons(
    location: str, grid: GeoGrid, *, layer: str | None, key: str | None
) -> list[Any]:
    name = without_secrets(location)
    if layer_kind(location) != "polygons":
        raise DataError(f"{name}: expected a polygon file ({', '.join(SUFFIXES)})")
    if "://" in location or location.startswith("/vsi"):
        raise DataError(f"{name}: polygons are read from local files; download it")
    with WARNING_FILTERS:
        return read_label_polygons(
            Path(location), crs=grid.crs, bounds=grid.bounds, layer=layer, key=key
        )


def decode(
    values: npt.NDArray[Any],
    counted: npt.NDArray[np.bool_],
    *,
    kind: LayerKind,
    encoding: LabelEncoding,
) -> npt.NDArray[np.uint8]:
    """Turn stored label values, (h, w), into 0 unchanged, 1 changed, IGNORED where not counted.

    Raises:
        DataError: If a counted value is not in the encoding.
    """
    if kind == "polygons":
        label = values.astype(np.uint8)
    else:
        # Only counted values were looked at when the encoding was decided.
        label = np.full(values.shape, IGNORED, dtype=np.uint8)
        label[counted] = encoding.decode(values[counted])
    label[~counted] = IGNORED
    return label
