"""All results that are looked at, opened when somebody asks for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from changedet.data.file_names import REVIEW
from changedet.errors import ChangeDetError, DataError, ImageError, ResultsError
from changedet.predict.summary import SUMMARY, SceneSummary
from changedet.raster.environment import gdal_environment
from changedet.raster.open import is_remote
from changedet.storage.results import read_content
from changedet.view.candidates import Candidates, load_candidates
from changedet.view.handles import Handles
from changedet.view.histogram import Histogram
from changedet.view.item import Item, read_item
from changedet.view.layers import LAYERS, Layer
from changedet.view.pictures import Stretch, measure_stretch
from changedet.view.results_at import Place, find_results
from changedet.view.statistics import ReviewCounts, count_verdicts
from changedet.view.store import ReviewStore

# Results that are kept in memory.
_MOST: Final = 16


@dataclass
class OpenItem:
    """A result that somebody looks at, with what takes long to find out.

    Attributes:
        item: What is known of it.
        store: Its verdicts; None: they cannot be used.
        store_problem: Why not.
    """

    item: Item
    store: ReviewStore | None
    store_problem: str | None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _candidates: tuple[str, Candidates] | None = None
    _histogram: tuple[str, Histogram] | None = None
    _stretches: dict[Layer, tuple[str, Stretch]] = field(default_factory=dict)

    def candidates(self, handles: Handles) -> Candidates:
        """Give the polygons of the result.

        Raises:
            DataError: If they cannot be read.
        """
        with self._lock:
            state = self._polygon_state()
            if self._candidates is None or self._candidates[0] != state:
                scores = handles.get(self.item, "score")
                self._candidates = state, load_candidates(self.item, scores)
            return self._candidates[1]

    def _polygon_state(self) -> str:
        path = self.item.polygons
        if path is None:
            return self.item.signature("score")
        try:
            status = path.stat()
        except OSError as error:
            raise ImageError(
                f"{path}: cannot be read ({error.strerror}); put the file back"
            ) from error
        return f"{status.st_mtime_ns}-{status.st_size}"

    def histogram(self) -> Histogram:
        """Give the histogram of the scores; it is being counted when it is asked for first.

        Raises:
            ImageError: If the scores cannot be read.
        """
        with self._lock:
            state = self.item.signature("score")
            if self._histogram is None or self._histogram[0] != state:
                self._histogram = state, Histogram(self.item)
                self._histogram[1].start()
            histogram = self._histogram[1]
            if histogram.error is not None:
                self._histogram = None
                raise histogram.error
            return histogram

    def stretch(self, layer: Layer, handles: Handles) -> Stretch:
        """Settle once how the values of a date are shown.

        Raises:
            ImageError: If it cannot be read.
        """
        with self._lock:
            state = self.item.signature(layer)
            known = self._stretches.get(layer)
            if known is None or known[0] != state:
                reader = handles.get(self.item, layer)
                known = state, measure_stretch(reader, self.item.grid.window)
                self._stretches[layer] = known
            return known[1]

    def problems(self, handles: Handles) -> dict[Layer, str]:
        """Say which layers cannot be read now, and why."""
        found: dict[Layer, str] = {}
        for layer in LAYERS:
            try:
                handles.get(self.item, layer)
            except ChangeDetError as error:
                found[layer] = str(error)
        return found

    def polygon_count(self, handles: Handles) -> int:
        """Count the polygons of the result."""
        summary = self.item.summary
        if isinstance(summary, SceneSummary):
            return summary.polygons.count
        return len(self.candidates(handles).ids)

    def counts(self, handles: Handles) -> ReviewCounts:
        """Count the verdicts."""
        rows = [] if self.store is None else self.store.changes().rows
        return count_verdicts(rows, polygons=self.polygon_count(handles))

    def close(self) -> None:
        """Stop what goes on in the background, and close the review."""
        with self._lock:
            if self._histogram is not None:
                self._histogram[1].stop()
            if self.store is not None:
                self.store.close()


class Collection:
    """The results that were given on the command line.

    Args:
        result: A result, or a folder of results.
        places: The results in it, if they were looked for already.
        moved: Where the inputs of a single result lie now.

    Attributes:
        handles: Layers, for the thread that asks.
        places: Where the results lie; their number in this list is their id.

    Raises:
        DataError: If there are none; of a single one, if it cannot be opened or its review belongs
            to another result.
        ResultsError: If the summary of a single one is damaged.
    """

    def __init__(
        self,
        result: Path,
        *,
        places: Sequence[Place] = (),
        moved: dict[Layer, str] | None = None,
    ) -> None:
        self.places = list(places) or find_results(result)
        self.handles = Handles()
        self._moved = moved or {}
        if self._moved and len(self.places) > 1:
            raise DataError(
                f"{result} has {len(self.places)} results, and `before` and `after` name the "
                "inputs of one; open that one"
            )
        for layer, location in self._moved.items():
            if not Path(location).is_file():
                raise DataError(f"there is no file {location} (`{layer}`); check the spelling")
        self._lock = threading.Lock()
        self._open: OrderedDict[str, OpenItem] = OrderedDict()
        self._opening: dict[str, threading.Lock] = {}
        if len(self.places) == 1:
            only = self.get("0")
            if only.store is None:
                raise DataError(only.store_problem or "the review cannot be opened")
            with gdal_environment():
                # A file that is cut short is told before the browser opens.
                self.handles.get(only.item, "score")

    def __len__(self) -> int:
        """Count the results."""
        return len(self.places)

    def get(self, number: str) -> OpenItem:
        """Open a result, or give it as it was opened.

        Raises:
            KeyError: If there is no such id.
            DataError: If it cannot be opened.
            ResultsError: If its summary is damaged.
        """
        with self._lock:
            if not number.isdecimal() or len(number) > 6 or int(number) >= len(self.places):
                raise KeyError(number)
            number = str(int(number))
            opening = self._opening.setdefault(number, threading.Lock())
        with opening:
            with self._lock:
                known = self._open.get(number)
                if known is not None:
                    self._open.move_to_end(number)
                    return known
            place = self.places[int(number)]
            item = read_item(place.folder, name=place.name, moved=self._moved)
            opened = _open_item(item)
            with self._lock:
                self._open[number] = opened
                idle = []
                while len(self._open) > _MOST:
                    idle.append(self._open.popitem(last=False)[1])
        for other in idle:
            other.close()
        return opened

    def each_reviewed(self) -> list[tuple[str, ReviewCounts]]:
        """Count the verdicts of those results that have a review."""
        found = []
        for number, place in enumerate(self.places):
            if not (place.folder / REVIEW).exists():
                continue
            try:
                found.append((str(number), self.get(str(number)).counts(self.handles)))
            except ChangeDetError:
                # The list of results says what is wrong with it.
                continue
        return found

    def close(self) -> None:
        """Close everything."""
        with self._lock:
            opened = list(self._open.values())
            self._open.clear()
        for item in opened:
            item.close()


def _open_item(item: Item) -> OpenItem:
    facts = {
        "name": item.name,
        "threshold": repr(item.threshold),
        "before": absolute_location(item.files["before"]),
        "after": absolute_location(item.files["after"]),
        "height": str(item.grid.height),
        "width": str(item.grid.width),
        "transform": " ".join(map(repr, item.grid.transform[:6])),
    }
    try:
        store = ReviewStore(
            item.folder / REVIEW, grid=item.grid, identity=item.identity, facts=facts
        )
    except ChangeDetError as error:
        return OpenItem(item, None, str(error))
    return OpenItem(item, store, store.read_only)


def absolute_location(location: str) -> str:
    """Make a path start from the root; addresses stay as they are."""
    is_path = not (is_remote(location) or location.startswith("/vsi"))
    return str(Path(location).absolute()) if is_path else location


def list_item(number: int, place: Place) -> dict[str, Any]:
    """Say in a few words what a result is, from its summary alone."""
    entry: dict[str, Any] = {
        "id": str(number),
        "name": place.name,
        "width": None,
        "height": None,
        "changed_share": None,
        "polygons": None,
        "problem": None,
    }
    try:
        content = read_content(place.folder / SUMMARY)
    except ResultsError as error:
        return {**entry, "problem": str(error)}
    size = content.get("grid", content)
    polygons = content.get("polygons")
    return {
        **entry,
        "width": size.get("width"),
        "height": size.get("height"),
        "changed_share": content.get("changed_share"),
        "polygons": polygons.get("count") if isinstance(polygons, dict) else None,
    }
