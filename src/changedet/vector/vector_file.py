"""Read polygons from vector files, in a given CRS."""

import codecs
import contextlib
import logging
import shlex
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyogrio
import pyogrio.errors
import pyogrio.raw
import pyproj
import pyproj.exceptions
import shapely
from numpy.typing import NDArray

from changedet.errors import DataError
from changedet.raster.lonlat import crs_name, transformer_between
from changedet.storage.text import is_file
from changedet.vector.region_text import SUFFIXES, Bounds
from changedet.vector.repair import parse_polygons, valid_polygons

logger = logging.getLogger(__name__)

# How such files begin.
_STARTS: Final = {
    ".gpkg": (b"SQLite format 3\0",),
    ".shp": (b"\x00\x00\x27\x0a",),
    ".geojson": (b"{",),
    ".json": (b"{",),
}
_LONGEST_START: Final = 4096
# Edges are divided into this many pieces per extent, as what is straight in one system is not in
# another.
_PIECES: Final = 64
# Polygons with a long way around get fewer pieces, so that they do not grow without bounds.
_PIECES_AROUND: Final = 16 * _PIECES
# Names of fields and layers; no byte is unknown to it, and none of the names matters.
_ENCODING: Final = "latin-1"


def read_polygons(
    path: Path,
    *,
    crs: str | None,
    bounds: Bounds | None = None,
    layer: str | None = None,
    key: str | None = None,
    tell: Callable[[str], None] = logger.warning,
) -> NDArray[np.object_]:
    """Read the polygons of a GeoPackage, GeoJSON file or shapefile.

    Args:
        path: The file.
        crs: CRS to bring them to; None: the rasters have none, and the file must have none, too.
        bounds: Take only what meets this box, in ``crs``.
        layer: Layer that holds them; None: the only layer of polygons.
        key: What the user can name the layer by, for the message; None: nothing.
        tell: Gets what was repaired.

    Returns:
        Valid polygons, (N,), multipolygons and collections as their parts; none where nothing lies
        in the box.

    Raises:
        DataError: If there is no such file, it cannot be read, has several layers of polygons and
            none is chosen, has features but no polygons (without a box: no polygons), lacks a CRS,
            or has one where there should be none; if coordinates are no place, or polygons cross
            themselves too often to be repaired.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: polygons are read from {', '.join(SUFFIXES)} files, not this one")
    if not is_file(path):
        raise DataError(f"{path}: no such file; check the path")
    _require_kind(path)
    with _reading(path):
        name = _choose_layer(path, layer, key)
        found = _placed(path, name, crs=crs, bounds=bounds, tell=tell)
        serves = len(found) > 0 or (
            bounds is not None and (_is_empty(path, name) or len(_read(path, name)) > 0)
        )
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

    Raises:
        DataError: If it cannot be read.
    """
    with _reading(path):
        name = _choose_layer(path, layer, None)
        geometry = _read(path, name)
        source = _declared_crs(path, name)
    if len(geometry) == 0:
        return None
    left, bottom, right, top = map(float, shapely.total_bounds(geometry))
    if crs is not None and source is not None:
        with contextlib.suppress(DataError):
            transformer = _way(source, crs, name=str(path))
            moved = transformer.transform_bounds(left, bottom, right, top, densify_pts=21)
            if np.isfinite(moved).all():
                return describe_bounds(moved, crs)
    return describe_bounds((left, bottom, right, top), source)


def describe_bounds(bounds: Sequence[float], crs: str | None) -> str:
    """Say left, bottom, right and top in words, and in which CRS."""
    left, bottom, right, top = bounds
    name = "" if crs is None else f" ({crs_name(crs)})"
    return f"x {left:.7g}..{right:.7g}, y {bottom:.7g}..{top:.7g}{name}"


def reproject(
    geometry: NDArray[np.object_], *, source: str, target: str, name: str
) -> NDArray[np.object_]:
    """Bring geometries to another CRS, long edges as curves.

    Args:
        geometry: Valid geometries, (N,): bounds speak of the shell only, while a hole outside of
            it could be of any size.
        source: Their CRS.
        target: The CRS that is wanted.
        name: What the error calls them.

    Raises:
        DataError: If they cannot be expressed there.
    """
    if len(geometry) == 0 or source == target or pyproj.CRS(source) == pyproj.CRS(target):
        return geometry
    sides = shapely.bounds(geometry)[:, 2:] - shapely.bounds(geometry)[:, :2]
    around = shapely.length(geometry) / (_PIECES_AROUND + shapely.get_num_coordinates(geometry))
    longest = np.maximum(np.maximum(sides.max(axis=1) / _PIECES, around), 1e-12)
    pieces = shapely.segmentize(geometry, longest)
    transformer = _way(source, target, name=name)

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)

    moved = np.asarray(shapely.transform(pieces, move), dtype=object)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise DataError(
            f"{name}: is outside the area where the rasters' coordinate reference system is "
            f"defined: {describe_bounds(shapely.total_bounds(geometry), source)}; check its "
            "coordinates and CRS"
        )
    return moved


def _way(source: str, target: str, *, name: str) -> pyproj.Transformer:
    """Make what carries positions from one CRS to another.

    Raises:
        DataError: If PROJ knows no way, as from the Earth to another planet.
    """
    transformer = transformer_between(source, target)
    if transformer is None:
        raise DataError(
            f"{name}: no way leads from {crs_name(source)} to the CRS of the rasters "
            f"({crs_name(target)}); give it in the CRS of the rasters"
        )
    return transformer


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
            name for name, kind in kinds.items() if "Polygon" in kind or len(_read(path, name))
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
    return bool(_info(path, name, force_feature_count=True)["features"] == 0)


def _may_hold_polygons(kind: str | None) -> bool:
    """Classify a layer by its declared geometry type, None for a table without geometries."""
    return kind is not None and ("Polygon" in kind or kind.startswith(("Unknown", "Geometry")))


def _placed(
    path: Path,
    name: str,
    *,
    crs: str | None,
    bounds: Bounds | None,
    tell: Callable[[str], None],
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
        box = _box_in(source, crs, bounds, name=str(path))
    # Repaired before edges are divided: only then do the holes lie within the shell.
    polygons = valid_polygons(_read(path, name, box, tell=tell), name=str(path), tell=tell)
    if crs is not None and source is not None:
        moved = reproject(polygons, source=source, target=crs, name=str(path))
        polygons = valid_polygons(moved, name=str(path))
    if bounds is not None:
        polygons = polygons[shapely.intersects(polygons, shapely.box(*bounds))]
    return polygons


def _declared_crs(path: Path, name: str) -> str | None:
    """Give a layer's CRS, None also for GeoPackage's two kinds of undefined ones."""
    crs = _info(path, name)["crs"]
    if crs is None or pyproj.CRS(crs).name.startswith("Undefined"):
        return None
    return str(crs)


def _info(path: Path, name: str, **options: bool) -> dict[str, Any]:
    found: dict[str, Any] = pyogrio.read_info(path, layer=name, encoding=_ENCODING, **options)
    return found


def _read(
    path: Path,
    name: str,
    box: Bounds | None = None,
    *,
    tell: Callable[[str], None] = lambda message: None,
) -> NDArray[np.object_]:
    """Read a layer's polygons and multipolygons, valid or not."""
    _, ids, blobs, _ = pyogrio.raw.read(
        path,
        layer=name,
        columns=[],
        bbox=box,
        force_2d=True,
        return_fids=True,
        encoding=_ENCODING,
    )
    names = [f"feature {number}" for number in range(1, len(blobs) + 1)]
    if box is not None:
        names = [f"the feature with id {number}" for number in ids]
    return parse_polygons(np.asarray(blobs, dtype=object), names, path=path, tell=tell)


def _require_kind(path: Path) -> None:
    """Refuse a file that is not what its name says, before GDAL looks for what else it may be.

    A virtual file under such a name would have other files opened, also on servers.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_START)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    is_json = path.suffix.lower() in (".geojson", ".json")
    # Of JSON, spaces and a byte order mark may come first.
    start = start.removeprefix(codecs.BOM_UTF8).lstrip() if is_json else start
    if not start.startswith(_STARTS[path.suffix.lower()]):
        kind = {".gpkg": "GeoPackage", ".shp": "shapefile"}.get(path.suffix.lower(), "GeoJSON file")
        raise DataError(f"{path}: cannot be read (it is no {kind}); write the file again")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise :class:`DataError` about ``path`` for whatever a damaged file makes GDAL say."""
    try:
        with warnings.catch_warnings():
            # Of GDAL's remarks those that matter are found here, too.
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyproj.exceptions.ProjError,
        ValueError,
        # What pyogrio raises for a broken CRS.
        UnboundLocalError,
        OverflowError,
    ) as error:
        raise DataError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); write the file again"
        ) from error


def _box_in(source: str, crs: str, bounds: Bounds, *, name: str) -> Bounds | None:
    """Give the box in a file's own CRS; None if it has no box there, as across the antimeridian."""
    # The file's way to the rasters is the one that an error is about.
    _way(source, crs, name=name)
    transformer = pyproj.Transformer.from_crs(crs, source, always_xy=True)
    left, bottom, right, top = transformer.transform_bounds(*bounds, densify_pts=21)
    box = (left, bottom, right, top)
    return box if left < right and bottom < top and np.isfinite(box).all() else None
