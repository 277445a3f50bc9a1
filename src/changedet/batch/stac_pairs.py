"""Catalogues of STAC items: pairs as they are, or scenes of two dates that are paired by a rule."""

from __future__ import annotations

import math
import shutil
import sqlite3
import tempfile
import weakref
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from changedet.batch.rows import Row, RowCatalogue, read_date, read_values, safe_id
from changedet.batch.stac_items import StacItem, read_items
from changedet.errors import ConfigError, DataError
from changedet.storage.text import first_few

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Property of a pair's item with its own settings.
OPTIONS: Final = "changedet:options"
_CLOUD: Final = "eo:cloud_cover"
# Properties that name the tile of a scene; several together where a standard has parts of it.
_TILES: Final = (
    ("grid:code",),
    ("s2:mgrs_tile",),
    ("mgrs:utm_zone", "mgrs:latitude_band", "mgrs:grid_square"),
    ("landsat:wrs_path", "landsat:wrs_row"),
    ("tile_id",),
    ("tile",),
)
_BEFORE, _AFTER = 0, 1


@dataclass(frozen=True)
class PairingRule:
    """How scenes of two dates become pairs: those of one tile, chosen by their dates.

    Of all pairs of a tile whose later scene is at least ``min_gap_days`` after the earlier one, the
    nearest to the dates that are given; without dates, those nearest to each other. Of equals, the
    less cloudy one.

    Attributes:
        after_catalogue: Collection of the later scenes; None: those of the catalogue.
        before_date: Date that the earlier scene is to be near; None: any.
        after_date: The same for the later one.
        within_days: So far from these dates at most; None: any distance.
        min_gap_days: Days between the two scenes, at least.
        max_cloud: Cloud cover in percent (``eo:cloud_cover``), at most; None: any.
        tile_property: Property that names the tile; None: of grid, MGRS, WRS, ``tile_id`` and
            ``tile`` the first that an item has.

    Raises:
        ConfigError: If a number makes no sense, or the dates are in the wrong order.
    """

    after_catalogue: str | None = None
    before_date: datetime | None = None
    after_date: datetime | None = None
    within_days: float | None = None
    min_gap_days: float = 0.0
    max_cloud: float | None = None
    tile_property: str | None = None

    def __post_init__(self) -> None:
        for name in ("within_days", "min_gap_days"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(f"`{name}` must be 0 or more days, got {value:g}")
        if self.max_cloud is not None and not 0 <= self.max_cloud <= 100:
            raise ConfigError(f"`max_cloud` must be in [0, 100] percent, got {self.max_cloud:g}")
        for name in ("before_date", "after_date"):
            value = getattr(self, name)
            if value is not None and value.tzinfo is None:
                object.__setattr__(self, name, value.replace(tzinfo=UTC))
        first, last = self.before_date, self.after_date
        if first is not None and last is not None and first >= last:
            raise ConfigError("`before_date` must be earlier than `after_date`; swap them")
        if self.within_days is not None and first is None and last is None:
            raise ConfigError("`within_days` is from a date; give `before_date` or `after_date`")


class PairItems(RowCatalogue):
    """STAC items of which each has two assets, the images before and after.

    The time range of an item (``start_datetime``, ``end_datetime``) are the dates, its property
    ``changedet:options`` settings of its own.

    Args:
        location: Item collection, collection, catalogue, or file of items: path or address.
    """

    def rows(self) -> Iterator[Row]:
        """Give a row for every item."""
        for item in read_items(self.location):
            yield self._row(item)

    def _row(self, item: StacItem) -> Row:
        properties = item.properties
        options = properties.get(OPTIONS)
        values = dict(options) if isinstance(options, dict) else {}
        try:
            values |= {
                "id": item.identifier and safe_id(item.identifier),
                "before": item.asset("before"),
                "after": item.asset("after"),
                "before_date": properties.get("start_datetime"),
                "after_date": properties.get("end_datetime"),
            }
        except DataError:
            there = first_few(list(item.content.get("assets") or ()), most=12) or "none"
            fault = (
                f"has the assets {there}, and an item of a pair has before and after; to pair "
                "scenes of two dates, name dates or a second collection (`before_date`, "
                "`after_date`, `after_catalogue`)"
            )
            return Row(item.place, None, (fault,))
        return read_values(item.place, values, base=item.base, is_resolved=True)


class _Scene(NamedTuple):
    tile: str
    side: int
    seconds: float
    cloud: float
    identifier: str
    href: str

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


class PairedScenes(RowCatalogue):
    """Scenes of STAC collections, paired by tile and date.

    What is known of the scenes goes to a temporary file, so that memory does not grow with their
    number.

    Args:
        location: The scenes; of the earlier date where ``rule`` names a second collection.
        rule: How they are paired.
        asset: Asset that holds the image; None: ``visual``, or the only one that holds data.
        asset_after: The same for the later scenes.

    Attributes:
        remarks: After the rows were read: which tiles and scenes are not among them.
    """

    def __init__(
        self, location: str, rule: PairingRule, *, asset: str | None, asset_after: str | None
    ) -> None:
        super().__init__(location)
        self._rule = rule
        self._assets = (asset, asset_after or asset)
        self._stored: Path | None = None
        self.remarks: list[str] = []

    def rows(self) -> Iterator[Row]:
        """Give a row for every pair, in the order of the tiles; those of faulty items first."""
        database = self._database()
        try:
            faults = database.execute("SELECT place, fault FROM faults ORDER BY rowid")
            yield from (Row(place, None, (fault,)) for place, fault in faults)
            alone = 0
            scenes = map(_Scene._make, database.execute("SELECT * FROM scenes ORDER BY tile"))
            for tile, group in groupby(scenes, attrgetter("tile")):
                pair = self._choose(list(group))
                if pair is None:
                    alone += 1
                else:
                    yield self._row(tile, *pair)
            self._remark(database, alone)
        finally:
            database.close()

    def _row(self, tile: str, before: _Scene, after: _Scene) -> Row:
        days = f"{before.moment:%Y%m%d}_{after.moment:%Y%m%d}"
        values: dict[str, object] = {
            "id": safe_id(f"{tile}_{days}"),
            "before": before.href,
            "after": after.href,
            "before_date": before.moment,
            "after_date": after.moment,
        }
        return read_values(f"tile {tile}", values, base=self.location, is_resolved=True)

    def _choose(self, scenes: Sequence[_Scene]) -> tuple[_Scene, _Scene] | None:
        rule = self._rule
        first = sorted(
            (scene for scene in scenes if scene.side == _BEFORE),
            key=attrgetter("seconds", "cloud", "identifier"),
        )
        last = first
        if rule.after_catalogue is not None:
            last = sorted(
                (scene for scene in scenes if scene.side == _AFTER),
                key=attrgetter("seconds", "cloud", "identifier"),
            )
        first = _near(first, rule.before_date, rule.within_days)
        last = _near(last, rule.after_date, rule.within_days)
        times = [scene.seconds for scene in last]
        gap = timedelta(days=rule.min_gap_days).total_seconds()
        found: list[tuple[tuple[float, float, str, str], tuple[_Scene, _Scene]]] = []
        for before in first:
            # Later by at least the gap, and by more than nothing.
            start = bisect_left(times, before.seconds + max(gap, 1e-6))
            for after in _nearest(last, times, start=start, date=rule.after_date):
                cost = _distance(before, rule.before_date) + _distance(after, rule.after_date)
                if rule.before_date is None or rule.after_date is None:
                    cost += after.seconds - before.seconds
                key = (cost, before.cloud + after.cloud, before.identifier, after.identifier)
                found.append((key, (before, after)))
        return min(found, key=lambda entry: entry[0])[1] if found else None

    def _database(self) -> sqlite3.Connection:
        """Open what is known of the scenes, which are read the first time."""
        if self._stored is not None:
            return sqlite3.connect(self._stored)
        folder = Path(tempfile.mkdtemp(prefix="changedet-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = folder / "scenes.sqlite"
        database = sqlite3.connect(path)
        try:
            self._fill(database)
        except BaseException:
            database.close()
            raise
        self._stored = path
        return database

    def _fill(self, database: sqlite3.Connection) -> None:
        database.execute(
            "CREATE TABLE scenes (tile TEXT, side INTEGER, seconds REAL, cloud REAL, id TEXT, "
            "href TEXT)"
        )
        database.execute("CREATE TABLE faults (place TEXT, fault TEXT)")
        database.execute("CREATE TABLE left_out (reason TEXT)")
        later = self._rule.after_catalogue
        sides = [self.location] if later is None else [self.location, later]
        for side, location in enumerate(sides):
            for item in read_items(location):
                self._store(database, item, side)
        database.execute("CREATE INDEX by_tile ON scenes (tile)")
        database.commit()

    def _store(self, database: sqlite3.Connection, item: StacItem, side: int) -> None:
        rule, properties = self._rule, item.properties
        try:
            tile = _tile(properties, rule.tile_property)
            moment = read_date(properties.get("datetime") or properties.get("start_datetime"))
            if moment is None:
                raise DataError("has no date (properties.datetime); add it")
            cloud = properties.get(_CLOUD)
            if rule.max_cloud is not None and not isinstance(cloud, int | float):
                database.execute("INSERT INTO left_out VALUES ('unknown')")
                return
            if rule.max_cloud is not None and cloud > rule.max_cloud:  # type: ignore[operator]
                database.execute("INSERT INTO left_out VALUES ('cloudy')")
                return
            href = item.asset(self._assets[side])
        except DataError as error:
            place = item.place if side == _BEFORE else f"{item.place} of the later scenes"
            database.execute("INSERT INTO faults VALUES (?, ?)", (place, str(error)))
            return
        known = float(cloud) if isinstance(cloud, int | float) else 100.0
        database.execute(
            "INSERT INTO scenes VALUES (?, ?, ?, ?, ?, ?)",
            (tile, side, moment.timestamp(), known, item.identifier, href),
        )

    def _remark(self, database: sqlite3.Connection, alone: int) -> None:
        counts = dict(database.execute("SELECT reason, COUNT(*) FROM left_out GROUP BY reason"))
        self.remarks = []
        if alone:
            self.remarks.append(
                f"{alone} tile{'s have' if alone > 1 else ' has'} no two scenes that the rule takes"
            )
        if counts.get("cloudy"):
            self.remarks.append(f"{counts['cloudy']} scenes are cloudier than `max_cloud` allows")
        if counts.get("unknown"):
            self.remarks.append(
                f"{counts['unknown']} scenes do not say how cloudy they are ({_CLOUD}) and are "
                "left out; remove `max_cloud` to take them"
            )


def _tile(properties: dict[str, Any], name: str | None) -> str:
    for parts in _TILES if name is None else ((name,),):
        values = [properties.get(part) for part in parts]
        if all(value is not None for value in values):
            return "".join(str(value) for value in values)
    there = first_few(sorted(properties), most=12) or "none"
    asked = f"no property {name!r}" if name else "no property that names its tile"
    raise DataError(f"has {asked}; name one of {there} in `tile_property`")


def _distance(scene: _Scene, date: datetime | None) -> float:
    return 0.0 if date is None else abs(scene.seconds - date.timestamp())


def _near(
    scenes: Iterable[_Scene], date: datetime | None, within_days: float | None
) -> list[_Scene]:
    if date is None or within_days is None:
        return list(scenes)
    most = timedelta(days=within_days).total_seconds()
    return [scene for scene in scenes if _distance(scene, date) <= most]


def _nearest(
    scenes: Sequence[_Scene], times: Sequence[float], *, start: int, date: datetime | None
) -> list[_Scene]:
    """Give of scenes from ``start`` on those that can be the best: nearest to the date.

    Args:
        scenes: In the order of time, the least cloudy one first of several at one moment.
        times: Theirs.
        start: The first that may be taken.
        date: None: the earliest is wanted.
    """
    if date is None:
        return list(scenes[start : start + 1])
    index = max(bisect_left(times, date.timestamp()), start)
    found = list(scenes[index : index + 1])
    if index > start:
        found.append(scenes[max(bisect_left(times, times[index - 1]), start)])
    return found
