"""Read polygons from vector files, in a given CRS."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import pyogrio
import pyogrio.errors
import pyogrio.raw
import pyproj
import shapely
from numpy.typing import NDArray

from changedet.errors import DataError

#: Left, bottom, right and top.
Bounds: TypeAlias = tuple[float, float, float, float]

#: Endings of vector files that are read.
SUFFIXES: Final = (".gpkg", ".geojson", ".json", ".shp")
_POLYGONAL: Final = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
# Edges are divided into this many pieces per extent, as what is straight in one system is not in
# another.
_PIECES: Final = 64


def read_polygons(
    path: Path,
    *,
    crs: str | None,
    bounds: Bounds | None = None,
    layer: str | None = None,
    key: str | None = None,
) -> NDArray[np.object_]:
    """Read the polygons of a GeoPackage, GeoJSON file or shapefile.

    Args:
        path: The file.
        crs: CRS to bring them to; None: pixel coordinates, which the file must hold.
        bounds: Take only what meets this box, in ``crs``.
        layer: Layer that holds them; None: the only layer of polygons.
        key: What the user can name the layer by, for the message; None: nothing.

    Returns:
        Valid polygons, (N,), multipolygons as their parts; none where nothing lies in the box.

    Raises:
        DataError: If there is no such file, it cannot be read, has several layers of polygons and
            none is chosen, has features but no polygons (without a box: no polygons), lacks a CRS,
            or has one where there should be none.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: polygons are read from {', '.join(SUFFIXES)} files, not this one")
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        name = _choose_layer(path, layer, key)
        found = _placed(path, name, crs=crs, bounds=bounds)
        serves = len(found) > 0 or (
            bounds is not None and (_is_empty(path, name) or len(_read(path, name, None)) > 0)
        )
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise DataError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); write the file again"
        ) from error
    if not serves:
        raise _no_polygons(path)
    return found


def polygon_place(path: Path, *, crs: str | None, layer: str | None = None) -> str | None:
    """Say where the polygons of a file lie, which :func:`read_polygons` takes.

    Args:
        path: The file.
        crs: CRS to say it in; where they have no place there, it is said in their own.
        layer: Layer that holds them; None: the only layer of polygons.

    Returns:
        Their bounding box in words; None if the layer has no polygons.
    """
    name = _choose_layer(path, layer, None)
    geometry = _read(path, name, None)
    if len(geometry) == 0:
        return None
    left, bottom, right, top = map(float, shapely.total_bounds(geometry))
    source = _declared_crs(path, name)
    if crs is not None and source is not None:
        transformer = pyproj.Transformer.from_crs(source, crs, always_xy=True)
        moved = transformer.transform_bounds(left, bottom, right, top, densify_pts=21)
        if np.isfinite(moved).all():
            return describe_bounds(moved, crs)
    return describe_bounds((left, bottom, right, top), source)


def describe_bounds(bounds: Sequence[float], crs: str | None) -> str:
    """Say left, bottom, right and top in words, and in which CRS."""
    left, bottom, right, top = bounds
    name = "" if crs is None else f" ({pyproj.CRS(crs).name})"
    return f"x {left:.7g}..{right:.7g}, y {bottom:.7g}..{top:.7g}{name}"


def reproject(
    geometry: NDArray[np.object_], *, source: str, target: str, name: str
) -> NDArray[np.object_]:
    """Bring geometries to another CRS, long edges as curves.

    Args:
        geometry: Geometries, (N,).
        source: Their CRS.
        target: The CRS that is wanted.
        name: What the error calls them.

    Raises:
        DataError: If they cannot be expressed there.
    """
    if len(geometry) == 0 or pyproj.CRS(source) == pyproj.CRS(target):
        return geometry
    sides = shapely.bounds(geometry)[:, 2:] - shapely.bounds(geometry)[:, :2]
    pieces = shapely.segmentize(geometry, np.maximum(sides.max(axis=1) / _PIECES, 1e-12))
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)

    moved = np.asarray(shapely.transform(pieces, move), dtype=object)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise DataError(
            f"{name}: is outside the area where the rasters' coordinate reference system is "
            "defined; check its coordinates and CRS"
        )
    return moved


def _choose_layer(path: Path, layer: str | None, key: str | None) -> str:
    kinds = {
        str(name): kind for name, kind in pyogrio.list_layers(path) if _may_hold_polygons(kind)
    }
    if layer is not None:
        if layer not in kinds:
            raise DataError(
                f"{path}: has no polygon layer {layer!r}; it has "
                f"{', '.join(map(repr, kinds)) or 'none'}, name one of them"
            )
        return layer
    names = list(kinds)
    if len(names) > 1:
        # A layer of any geometry may be one of points.
        names = [
            name
            for name, kind in kinds.items()
            if "Polygon" in kind or len(_read(path, name, None))
        ]
    if not names:
        raise _no_polygons(path)
    if len(names) > 1:
        files = f"{shlex.quote(str(path))} {shlex.quote(names[0])}"
        export = f"export the one that is meant: ogr2ogr one_layer.gpkg {files}"
        raise DataError(
            f"{path}: has several layers of polygons ({', '.join(map(repr, names))}); "
            f"{f'name the one that is meant in {key}' if key else export}"
        )
    return names[0]


def _no_polygons(path: Path) -> DataError:
    return DataError(f"{path}: it has no polygons; give a file with polygons")


def _is_empty(path: Path, name: str) -> bool:
    """Tell whether a layer holds no feature at all."""
    return bool(pyogrio.read_info(path, layer=name, force_feature_count=True)["features"] == 0)


def _may_hold_polygons(kind: str | None) -> bool:
    """Classify a layer by its declared geometry type, None for a table without geometries."""
    return kind is not None and ("Polygon" in kind or kind.startswith(("Unknown", "Geometry")))


def _placed(
    path: Path, name: str, *, crs: str | None, bounds: Bounds | None
) -> NDArray[np.object_]:
    """Read a layer and bring it to the CRS."""
    source = _declared_crs(path, name)
    if crs is not None and source is None:
        raise DataError(
            f"{path}: has no coordinate reference system; set it with "
            f"ogr2ogr -a_srs EPSG:CODE NEW_FILE {path}"
        )
    if crs is None and source is not None:
        raise DataError(
            f"{path}: is in {pyproj.CRS(source).name}, but the rasters have no coordinate "
            "reference system; set theirs with gdal_edit.py -a_srs EPSG:CODE FILE"
        )
    box = bounds
    if bounds is not None and crs is not None and source is not None:
        box = _box_in(source, crs, bounds)
    geometry = _read(path, name, box)
    if crs is not None and source is not None:
        geometry = reproject(geometry, source=source, target=crs, name=str(path))
    polygons = _valid_polygons(geometry)
    if bounds is not None:
        polygons = polygons[shapely.intersects(polygons, shapely.box(*bounds))]
    return polygons


def _valid_polygons(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """Repair what crosses itself, and give the single polygons."""
    invalid = ~shapely.is_valid(geometry)
    geometry = geometry.copy()
    geometry[invalid] = shapely.make_valid(geometry[invalid], method="structure")
    parts = shapely.get_parts(geometry)
    # Repairing may leave collections, whose parts may be multipolygons and lines.
    parts = shapely.get_parts(shapely.get_parts(parts))
    is_polygon = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    return np.asarray(parts[is_polygon & ~shapely.is_empty(parts)], dtype=object)


def _declared_crs(path: Path, name: str) -> str | None:
    """Give a layer's CRS, None also for GeoPackage's two kinds of undefined ones."""
    crs = pyogrio.read_info(path, layer=name)["crs"]
    if crs is None or pyproj.CRS(crs).name.startswith("Undefined"):
        return None
    return str(crs)


def _read(path: Path, name: str, box: Bounds | None) -> NDArray[np.object_]:
    """Read a layer's polygons and multipolygons."""
    _, _, blobs, _ = pyogrio.raw.read(path, layer=name, columns=[], bbox=box, force_2d=True)
    geometry = np.asarray(shapely.from_wkb(blobs), dtype=object)
    is_polygon = np.isin(shapely.get_type_id(geometry), _POLYGONAL)
    return np.asarray(geometry[is_polygon & ~shapely.is_empty(geometry)], dtype=object)


def _box_in(source: str, crs: str, bounds: Bounds) -> Bounds | None:
    """Give the box in a file's own CRS; None if it has no box there, as across the antimeridian."""
    transformer = pyproj.Transformer.from_crs(crs, source, always_xy=True)
    left, bottom, right, top = transformer.transform_bounds(*bounds, densify_pts=21)
    box = (left, bottom, right, top)
    return box if left < right and bottom < top and np.isfinite(box).all() else None
