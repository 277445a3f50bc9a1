"""The labels of a scene: which layer holds them, and what its values mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from changedet.errors import DataError
from changedet.raster.label_layer import PolygonLayer, RasterLayer
from changedet.raster.open import WARNING_FILTERS, without_secrets
from changedet.types import IGNORED
from changedet.vector.regions import read_label_polygons
from changedet.vector.vector_file import SUFFIXES

if TYPE_CHECKING:
    import numpy.typing as npt

    from changedet.data.label_encoding import LabelEncoding
    from changedet.raster.geo_grid import GeoGrid
    from changedet.raster.label_layer import LabelLayer

LayerKind = Literal["polygons", "raster"]


def layer_kind(location: str) -> LayerKind:
    """Tell by the name whether labels are polygons or a raster."""
    return "polygons" if Path(location).suffix.lower() in SUFFIXES else "raster"


def open_labels(location: str, grid: GeoGrid) -> LabelLayer:
    """Open the labels of a scene on its grid.

    Raises:
        DataError: If they cannot be read or placed on the grid.
    """
    if layer_kind(location) == "raster":
        return RasterLayer(location, grid)
    return open_polygons(location, grid)


def open_polygons(location: str, grid: GeoGrid) -> PolygonLayer:
    """Read the polygons that meet a scene's grid.

    Raises:
        DataError: If they cannot be read or placed.
    """
    if layer_kind(location) != "polygons":
        raise DataError(
            f"{without_secrets(location)}: expected polygons ({', '.join(SUFFIXES)}); give such a "
            "file"
        )
    with WARNING_FILTERS:
        polygons = read_label_polygons(Path(location), crs=grid.crs, bounds=grid.bounds)
    return PolygonLayer(polygons, grid)


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
