"""The results of an archive as one: a STAC collection, and a GeoParquet file of all polygons."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import pystac
import pystac.utils
from pystac.extensions.file import FileExtension

from changedet._version import __version__
from changedet.batch.names import item_folder
from changedet.errors import ChangeDetError, ResultsError
from changedet.predict.results import ITEM
from changedet.storage.checksum import file_sha256
from changedet.vector.merge import MergedPolygons, check_common_crs
from changedet.vector.polygon_file import NumberedPolygons, read_polygon_file

if TYPE_CHECKING:
    from changedet.batch.place import Place

#: Names of what is written.
COLLECTION: Final = "collection.json"
POLYGONS: Final = "polygons.parquet"
#: CRS of the polygons, unless another one is asked for.
COMMON_CRS: Final = "EPSG:4326"
#: What tells of the scene of a polygon: columns of the file, and their types.
SCENE_FIELDS: Final[Mapping[str, str]] = {
    "scene": "string",
    "before_date": "instant",
    "after_date": "instant",
    "change_kind": "string",
    "threshold": "float64",
}
_PARQUET: Final = "application/vnd.apache.parquet"
_ITEM_TYPE: Final = "application/geo+json"
# Multihash: SHA-256 and the length of its digest.
_SHA256: Final = "1220"
_SHOWN: Final = 20
# Reading from an object store is mostly waiting.
_READERS: Final = 16
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass
class Collected:
    """What went into the collection.

    Attributes:
        items: Results in the collection.
        polygons: Polygons in the file.
        unplaced: Results whose polygons have no CRS and are not in the file.
        left_out: Why results are in neither, the first of them, by their ids.
        left_out_count: All of these.
    """

    items: int = 0
    polygons: int = 0
    unplaced: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    left_out_count: int = 0

    def leave_out(self, identifier: str, reason: str) -> None:
        """Note that a result cannot be read."""
        self.left_out_count += 1
        if len(self.left_out) < _SHOWN:
            self.left_out[identifier] = reason


class _Result(NamedTuple):
    """A result as it was read: its manifest row, STAC item, polygons; or what is wrong with it."""

    row: Mapping[str, Any]
    item: dict[str, Any]
    polygons: NumberedPolygons | None
    crs: str | None
    fault: str | None = None


def collect(
    place: Place,
    rows: Iterable[Mapping[str, Any]],
    *,
    name: str,
    crs: str = COMMON_CRS,
    progress: Callable[[int], None] = lambda done: None,
) -> Collected:
    """Write ``collection.json`` and ``polygons.parquet`` over the results of all items.

    Each is complete or not there; polygons have the id and the dates of their scene. Memory does
    not grow with the number of results.

    Args:
        place: Where the results are.
        rows: Those of the manifest whose items are done.
        name: Of the archive; the id of the collection.
        crs: Of all polygons.
        progress: Told how many results were read.

    Raises:
        DataError: If there is no such CRS.
        StorageError: If something cannot be written.
        MissingExtraError: If pyarrow is not installed.
    """
    check_common_crs(crs)
    found = Collected()
    with tempfile.TemporaryDirectory(prefix="changedet-") as folder:
        work = Path(folder)
        parquet = work / POLYGONS
        merged = MergedPolygons(parquet, crs=crs, fields=SCENE_FIELDS)
        links = work / "links"
        extent = _Extent()
        with contextlib.closing(merged), links.open("w", encoding="utf-8") as file:
            for number, result in enumerate(_results(place, rows, work), start=1):
                _add(result, merged, file, extent=extent, found=found)
                progress(number)
            merged.complete()
        collection = _collection(name, extent, crs=crs, checksum=file_sha256(parquet))
        target = work / COLLECTION
        _write_collection(target, collection, links)
        # The collection names the file, so it comes after it.
        place.put(parquet, POLYGONS)
        place.put(target, COLLECTION)
    return found


def _add(
    result: _Result, merged: MergedPolygons, links: IO[str], *, extent: _Extent, found: Collected
) -> None:
    identifier = str(result.row["id"])
    if result.fault is not None:
        found.leave_out(identifier, result.fault)
        return
    row, item = result.row, result.item
    dates = [row.get(f"{date}_date") or _acquired(item, date) for date in ("before", "after")]
    try:
        if result.polygons is not None and result.crs is not None:
            scene = [identifier, *dates, row.get("change_kind"), row.get("threshold")]
            merged.add(scene, result.polygons, crs=result.crs, name=identifier)
        elif result.polygons is not None:
            found.unplaced += 1
    except ChangeDetError as error:
        # Such as a place that the common CRS does not know.
        found.leave_out(identifier, str(error))
        return
    extent.add(item, dates)
    link = {
        "rel": "item",
        "href": f"./{item_folder(identifier)}/{ITEM}",
        "type": _ITEM_TYPE,
        "title": identifier,
    }
    links.write(json.dumps(link) + "\n")
    found.items += 1
    found.polygons = merged.count


class _Extent:
    """Grows around the results."""

    def __init__(self) -> None:
        self._box: list[float] | None = None
        self._first: datetime | None = None
        self._last: datetime | None = None

    def add(self, item: Mapping[str, Any], dates: Iterable[datetime | None]) -> None:
        box = item.get("bbox")
        if isinstance(box, list) and len(box) == 4:
            west, south, east, north = map(float, box)
            # What crosses the antimeridian reaches, in one box with others, around the world.
            if west > east:
                west, east = -180.0, 180.0
            old = self._box or [west, south, east, north]
            self._box = [
                min(old[0], west),
                min(old[1], south),
                max(old[2], east),
                max(old[3], north),
            ]
        moments = [moment for moment in dates if moment is not None]
        if not moments:
            # The item's own, of which nothing is known but when it was made.
            properties = item.get("properties") or {}
            names = ("start_datetime", "end_datetime", "datetime")
            moments = [found for name in names if (found := _moment(properties.get(name)))]
        for moment in moments:
            self._first = min(self._first or moment, moment)
            self._last = max(self._last or moment, moment)

    def to_stac(self) -> pystac.Extent:
        return pystac.Extent(
            pystac.SpatialExtent([self._box or [-180.0, -90.0, 180.0, 90.0]]),
            pystac.TemporalExtent([[self._first or datetime.now(UTC), self._last]]),
        )


def _collection(name: str, extent: _Extent, *, crs: str, checksum: str) -> dict[str, Any]:
    collection = pystac.Collection(
        id=name,
        title=f"Changes: {name}",
        description=f"Change between two dates, mapped by changedet {__version__}.",
        extent=extent.to_stac(),
        license="other",
        keywords=["change detection"],
    )
    asset = pystac.Asset(
        href=f"./{POLYGONS}",
        title="Polygons of all scenes",
        description=f"GeoParquet in {crs}; the column scene is the id of its item.",
        media_type=_PARQUET,
        roles=["data"],
    )
    collection.add_asset("polygons", asset)
    FileExtension.ext(asset, add_if_missing=True).checksum = _SHA256 + checksum
    content: dict[str, Any] = collection.to_dict(include_self_link=False, transform_hrefs=False)
    return content


def _write_collection(path: Path, content: Mapping[str, Any], links: Path) -> None:
    """Write the collection and, one after the other, its links to items."""
    rest = {key: value for key, value in content.items() if key != "links"}
    root = {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"}
    head = json.dumps(rest, indent=2).rstrip().removesuffix("}").rstrip()
    with path.open("w", encoding="utf-8") as file, links.open(encoding="utf-8") as lines:
        file.write(f'{head},\n  "links": [\n    {json.dumps(root)}')
        for line in lines:
            file.write(f",\n    {line.rstrip()}")
        file.write("\n  ]\n}\n")


def _results(place: Place, rows: Iterable[Mapping[str, Any]], work: Path) -> Iterator[_Result]:
    """Read the results of rows in their order, some ahead where they lie on a server."""
    if place.folder is not None:
        yield from (_read(place, row, work) for row in rows)
        return
    with ThreadPoolExecutor(_READERS) as threads:
        yield from _ahead(threads, lambda row: _read(place, row, work), rows)


def _ahead(
    threads: ThreadPoolExecutor, function: Callable[[_In], _Out], values: Iterable[_In]
) -> Iterator[_Out]:
    """Apply a function to values in threads, in order, never to more at once than there are."""
    waiting: deque[Future[_Out]] = deque()
    for value in values:
        waiting.append(threads.submit(function, value))
        if len(waiting) >= _READERS:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read(place: Place, row: Mapping[str, Any], work: Path) -> _Result:
    identifier = str(row["id"])
    folder = item_folder(identifier)
    try:
        content = place.read(f"{folder}/{ITEM}")
        if content is None:
            raise ResultsError(f"{place.name}/{folder}/{ITEM}: no such file; predict again")
        item = _parse(content, f"{place.name}/{folder}/{ITEM}")
        crs = _crs(item)
        polygons = None
        # Most scenes of an archive show no change at all.
        if row.get("polygons") != 0:
            polygons = _read_polygons(place, folder, item, crs=crs, work=work)
    except ChangeDetError as error:
        return _Result(row, {}, None, None, str(error))
    return _Result(row, item, polygons, crs)


def _parse(content: bytes, name: str) -> dict[str, Any]:
    try:
        item = json.loads(content)
    except ValueError as error:
        raise ResultsError(f"{name} cannot be read as JSON ({error}); predict again") from error
    if not isinstance(item, dict) or item.get("type") != "Feature":
        raise ResultsError(f"{name} is no STAC item; predict again")
    return item


def _read_polygons(
    place: Place, folder: str, item: Mapping[str, Any], *, crs: str | None, work: Path
) -> NumberedPolygons:
    href = str(((item.get("assets") or {}).get("polygons") or {}).get("href") or "")
    name = href.rpartition("/")[2]
    if not name:
        raise ResultsError(f"{place.name}/{folder}/{ITEM} names no polygons; predict again")
    if place.folder is not None:
        return read_polygon_file(place.folder / folder / name, crs=crs)
    with tempfile.TemporaryDirectory(dir=work) as own:
        local = Path(own) / name
        place.get(f"{folder}/{name}", local)
        return read_polygon_file(local, crs=crs)


def _crs(item: Mapping[str, Any]) -> str | None:
    properties = item.get("properties") or {}
    found = properties.get("proj:code") or properties.get("proj:wkt2")
    return None if found is None else str(found)


def _acquired(item: Mapping[str, Any], date: str) -> datetime | None:
    """Give when an input was acquired, if its file says so."""
    inputs = (item.get("properties") or {}).get("changedet:inputs") or {}
    return _moment((inputs.get(date) or {}).get("acquired"))


def _moment(text: object) -> datetime | None:
    try:
        return None if text is None else pystac.utils.str_to_datetime(str(text)).astimezone(UTC)
    except ValueError:
        return None
