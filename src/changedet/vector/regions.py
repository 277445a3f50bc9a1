"""Areas of interest and label polygons, as given by the user."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import pyproj.exceptions
import shapely

from changedet.errors import ConfigError
from changedet.vector.region_text import Bounds, is_region_file, parse_bounding_box
from changedet.vector.repair import united
from changedet.vector.vector_file import read_polygons, reproject

logger = logging.getLogger(__name__)


def read_region(
    text: str,
    *,
    crs: str | None,
    text_crs: str | None = None,
    tell: Callable[[str], None] = logger.warning,
) -> shapely.Geometry:
    """Read an area of interest: a bounding box or a file with polygons.

    Args:
        text: ``XMIN,YMIN,XMAX,YMAX``, or the path of a GeoPackage, GeoJSON file or shapefile
            with one layer of polygons, which are united.
        crs: CRS to give it in, that of the rasters; None: the rasters have none.
        text_crs: CRS of the bounding box, if it is another one.
        tell: Gets what was repaired in a file.

    Returns:
        Valid polygon or multipolygon in ``crs``.

    Raises:
        ConfigError: If it is neither, the bounding box is empty or has its corners swapped, or its
            CRS is not known.
        DataError: If the file cannot be used, see
            :func:`changedet.vector.vector_file.read_polygons`.
    """
    text = text.strip()
    if is_region_file(text):
        return united(read_polygons(Path(text), crs=crs, tell=tell), name=text)
    box = np.array([shapely.box(*parse_bounding_box(text))], dtype=object)
    if text_crs is not None:
        if crs is None:
            raise ConfigError(
                "the bounding box has a coordinate reference system, but the rasters have none; "
                "give the box in pixels, or set theirs with gdal_edit.py -a_srs EPSG:CODE FILE"
            )
        try:
            pyproj.CRS.from_user_input(text_crs)
        except pyproj.exceptions.CRSError as error:
            raise ConfigError(
                f"unknown coordinate reference system {text_crs!r}; give a code like EPSG:4326"
            ) from error
        box = reproject(box, source=text_crs, target=crs, name=f"the bounding box {text}")
    return box[0]


def read_label_polygons(
    path: Path,
    *,
    crs: str | None,
    bounds: Bounds,
    layer: str | None = None,
    key: str | None = None,
) -> list[shapely.Polygon]:
    """Read the label polygons of a scene.

    Args:
        path: GeoPackage, GeoJSON file or shapefile.
        crs: CRS of the scene, to which they are brought; None: the rasters have none.
        bounds: Left, bottom, right and top of the scene, in ``crs``.
        layer: Layer that holds them; None: the only layer of polygons.
        key: What the user can name the layer by, for the message; None: nothing.

    Returns:
        The valid single polygons that meet the bounds, not cut off there; maybe none.

    Raises:
        DataError: See :func:`changedet.vector.vector_file.read_polygons`.
    """
    return list(read_polygons(path, crs=crs, bounds=bounds, layer=layer, key=key))


def region_sha256(region: shapely.Geometry) -> str:
    """Tell one state of a region from another, whatever file it comes from."""
    return hashlib.sha256(region.wkb).hexdigest()
