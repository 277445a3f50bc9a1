"""What can be known of a catalogue before any work: its rows, and the rasters that it names."""

from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from changedet.baselines.names import is_baseline
from changedet.batch.options import request_for
from changedet.card import ModelCard, read_card
from changedet.errors import ChangeDetError, ConfigError, DataError
from changedet.predict.job import pair_options
from changedet.predict.remarks import Remarks
from changedet.raster.bands import count_common_bands
from changedet.raster.open import is_remote
from changedet.raster.pair import check_pair

if TYPE_CHECKING:
    from changedet.batch.item import BatchItem
    from changedet.batch.rows import Row, RowCatalogue
    from changedet.predict.request import SceneRequest

#: Pairs whose rasters are opened, unless told otherwise.
MOST_OPENED: Final = 1_000
# Opening over a network is mostly waiting.
_REMOTE_WORKERS: Final = 8
# Fewer local files are opened sooner than other processes are up.
_FEW: Final = 200
_MOST_FAULTS: Final = 1_000
_SEED: Final = 0
_NO_ITEM: Final = "has no pairs; add some"


class Fault(NamedTuple):
    """Something that is wrong with a row of a catalogue.

    Attributes:
        place: Where, such as ``row 3``; "" where it is wrong with the catalogue as a whole.
        id: Of the pair; "" if it has none.
        text: What is wrong, and what to do, in one line.
        number: Of the row, from 1, in the order of the catalogue.
    """

    place: str
    id: str
    text: str
    number: int = 0


@dataclass
class CatalogueReport:
    """What was found out about a catalogue.

    Attributes:
        name: Of the catalogue.
        rows: Number of its rows.
        opened: Pairs whose rasters were opened.
        faults: What is wrong, the first thousand of it, rows in their order.
        fault_count: All that is wrong.
        remarks: What is worth knowing besides.
    """

    name: str
    rows: int = 0
    opened: int = 0
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0
    remarks: list[str] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Add something that is wrong."""
        self.fault_count += 1
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(fault)


def check_catalogue(
    catalogue: RowCatalogue,
    common: SceneRequest,
    *,
    most_opened: int | None = MOST_OPENED,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CatalogueReport:
    """Find what is wrong with a catalogue; nothing is computed.

    All rows are looked at: ids, paths, dates, settings, and whether the model knows the kinds of
    change. Then rasters are opened and compared by their headers: whether they are there, overlap,
    and have the bands and values that the model takes. Memory does not grow with the catalogue.

    Args:
        catalogue: As :func:`changedet.batch.catalogue.open_catalogue` gives it.
        common: Model and settings of all items.
        most_opened: Pairs to open: where there are more, as many of them by chance, always the
            same; None: all; 0: none.
        workers: Processes that open; None: a few; 1: this process.
        progress: Told how many pairs have been opened, and of how many.

    Raises:
        DataError: If the catalogue cannot be read.
        CheckpointError: If the model cannot be used.
    """
    report = CatalogueReport(catalogue.name)
    card = None if is_baseline(str(common.model)) else read_card(Path(str(common.model)))
    chosen = _check_rows(catalogue, common, card, most_opened=most_opened, report=report)
    if report.rows == 0:
        report.add(Fault("", "", _NO_ITEM))
    usable = report.rows - report.fault_count
    if most_opened is not None and 0 < len(chosen) < usable:
        report.remarks.append(
            f"the rasters of {len(chosen):,} of {usable:,} pairs were opened, chosen by chance; "
            "`check_all` opens all of them"
        )
    for (number, place, item), text in _opened(chosen, common, card, workers=workers):
        report.opened += 1
        if text is not None:
            report.add(Fault(place, item.id, text, number))
        progress(report.opened, len(chosen))
    report.faults.sort(key=attrgetter("number"))
    report.remarks += getattr(catalogue, "remarks", [])
    return report


def require_sound(report: CatalogueReport) -> None:
    """Refuse a catalogue with faults.

    Raises:
        DataError: Naming the first one, and how many there are.
    """
    if not report.faults:
        return
    first = report.faults[0]
    more = report.fault_count - 1
    rest = f" (and {more:,} more; `check` lists them)" if more else ""
    where = f", {first.place}" if first.place else ""
    raise DataError(f"{report.name}{where}: {first.text}{rest}")


class _Place(NamedTuple):
    """A pair, and the row where it stands."""

    number: int
    place: str
    item: BatchItem


class _Sample:
    """So many of a stream, each with the same chance, always the same ones (Vitter 1985, R)."""

    def __init__(self, most: int | None) -> None:
        self.items: list[_Place] = []
        self._most = most
        self._seen = 0
        self._random = random.Random(_SEED)

    def offer(self, found: _Place) -> None:
        self._seen += 1
        if self._most is None or len(self.items) < self._most:
            self.items.append(found)
            return
        index = self._random.randrange(self._seen)
        if index < self._most:
            self.items[index] = found


def _check_rows(
    catalogue: RowCatalogue,
    common: SceneRequest,
    card: ModelCard | None,
    *,
    most_opened: int | None,
    report: CatalogueReport,
) -> list[_Place]:
    """Look at all rows and give those whose rasters are to be opened."""
    sample = _Sample(most_opened)
    kinds: dict[str, list[str]] = {}
    with _Ids() as ids:
        for row in catalogue.rows():
            report.rows += 1
            faults = [*row.faults]
            if row.id:
                faults += ids.add(row)
            if row.item is not None:
                faults += _kind_fault(row.item, card, kinds)
            if faults or row.item is None:
                report.add(Fault(row.place, row.id, "; ".join(faults), report.rows))
            else:
                sample.offer(_Place(report.rows, row.place, row.item))
    return sample.items


def _kind_fault(item: BatchItem, card: ModelCard | None, known: dict[str, list[str]]) -> list[str]:
    """Say why the model cannot look for the kind of change that an item asks for."""
    kind = item.options.get("kind")
    if kind is None:
        return []
    name = str(kind)
    if name not in known:
        known[name] = []
        if card is None:
            known[name] = [
                "`kind` is for models, and a baseline finds every change; leave it empty"
            ]
        else:
            try:
                card.kind_index(name)
            except ConfigError as error:
                known[name] = [str(error)]
    return known[name]


class _Ids:
    """The ids that were there before, on the disk."""

    def __enter__(self) -> _Ids:
        # SQLite removes it when it is closed, and keeps a few MB of it in memory.
        self._folder = tempfile.TemporaryDirectory(prefix="changedet-")
        self._base = sqlite3.connect(Path(self._folder.name) / "ids.sqlite", isolation_level=None)
        self._base.execute("PRAGMA journal_mode = OFF")
        self._base.execute("PRAGMA synchronous = OFF")
        self._base.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID")
        self._base.execute("BEGIN")
        return self

    def __exit__(self, *rest: object) -> None:
        self._base.close()
        self._folder.cleanup()

    def add(self, row: Row) -> list[str]:
        """Remember an id; say where it was before, if it was."""
        # Some file systems tell no cases apart.
        key = row.id.lower()
        done = self._base.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (key, row.place))
        if done.rowcount:
            return []
        (place,) = self._base.execute("SELECT place FROM ids WHERE id = ?", (key,)).fetchone()
        return [f"the id {row.id!r} stands in {place} as well; every pair has an id of its own"]


def _opened(
    chosen: list[_Place],
    common: SceneRequest,
    card: ModelCard | None,
    *,
    workers: int | None,
) -> Iterator[tuple[_Place, str | None]]:
    """Open the rasters of pairs; say of each pair what is wrong, None if nothing is."""
    count = workers
    items = [found.item for found in chosen]
    if count is None:
        remote = any(is_remote(item.before) or is_remote(item.after) for item in items)
        local = min(4, os.cpu_count() or 1) if len(chosen) > _FEW else 1
        count = _REMOTE_WORKERS if remote and len(chosen) > 1 else local
    look = partial(find_fault, common=common, card=card)
    try:
        with _mapping(min(count, len(chosen))) as run:
            yield from zip(chosen, run(look, items), strict=True)
    except BrokenProcessPool as error:
        raise DataError(
            "a process that opened rasters was ended by the system, for lack of memory or by a "
            "damaged file; check fewer pairs at once"
        ) from error


@contextmanager
def _mapping(
    workers: int,
) -> Iterator[Callable[[Callable[[BatchItem], str | None], list[BatchItem]], Iterable[str | None]]]:
    if workers <= 1:
        yield map
        return
    # GDAL's threads and files do not survive a fork.
    executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    try:
        yield partial(executor.map, chunksize=4)
    finally:
        # Not those that were not begun.
        executor.shutdown(wait=True, cancel_futures=True)


def find_fault(item: BatchItem, *, common: SceneRequest, card: ModelCard | None) -> str | None:
    """Open both rasters of a pair and compare their headers with each other and the model.

    Args:
        item: The pair.
        common: Settings of all items.
        card: Of the model; None: a baseline.

    Returns:
        What is wrong and what to do, in one line; None if nothing is.
    """
    try:
        request = request_for(common, item, common.out)
        if card is not None:
            channels = len(card.normalisation.mean_before)
        elif request.bands is not None:
            channels = len(request.bands)
        else:
            channels = count_common_bands(request.before, request.after)
        options = pair_options(request, card, channels, remarks=Remarks())
        check_pair(request.before, request.after, options)
    except ChangeDetError as error:
        return " ".join(str(error).split())
    return None
