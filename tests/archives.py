"""Small archives of scenes for tests of batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from changedet.batch.engine import Event, Finished, Lost, Ready
from changedet.batch.item import BatchItem
from changedet.batch.task import Outcome, Task
from changedet.predict.request import SceneRequest

#: Needs no PyTorch and next to no time.
MODEL = "baseline:cva"


@dataclass
class Items:
    """A catalogue in memory."""

    items: Sequence[BatchItem]
    name: str = "items"
    counted: bool = True

    def __iter__(self) -> Iterator[BatchItem]:
        return iter(self.items)

    def count(self) -> int | None:
        return len(self.items) if self.counted else None


def write_tile(path: Path, seed: int, *, changed: bool, size: tuple[int, int] = (96, 120)) -> Path:
    """Write a GeoTIFF of three bands; the change is a bright square, its place by the seed."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(60, 120, (3, *size), dtype=np.uint8)
    if changed:
        pixels = pixels + rng.integers(0, 20, pixels.shape, dtype=np.uint8)
        top, left = rng.integers(0, size[0] // 2, 2)
        pixels[:, top : top + 24, left : left + 24] = 220
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 3,
        "height": size[0],
        "width": size[1],
        "crs": "EPSG:32631",
        "transform": Affine(0.5, 0.0, 5e5 + 1e3 * seed, 0.0, -0.5, 5e6),
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
    return path


def write_archive(
    root: Path, count: int, *, size: tuple[int, int] = (96, 120), first: int = 0
) -> list[BatchItem]:
    """Write so many pairs and give their items: ``tile_0``, ``tile_1``, ..."""
    items = []
    for number in range(first, first + count):
        before = write_tile(root / f"{number}_before.tif", number, changed=False, size=size)
        after = write_tile(root / f"{number}_after.tif", number, changed=True, size=size)
        items.append(BatchItem(f"tile_{number}", str(before), str(after)))
    return items


def common(model: str | Path = MODEL, **settings: object) -> SceneRequest:
    """Settings of all items."""
    return SceneRequest("", "", model, Path(), device="cpu", **settings)


def same_maps(first: Path, second: Path) -> bool:
    """Whether two folders hold the same scores, masks and polygons, value for value."""
    for name in ("score.tif", "mask.tif"):
        with rasterio.open(first / name) as one, rasterio.open(second / name) as other:
            if (one.transform, one.crs, one.dtypes) != (other.transform, other.crs, other.dtypes):
                return False
            if not np.array_equal(one.read(), other.read(), equal_nan=one.dtypes[0] != "uint8"):
                return False
    return polygons_of(first) == polygons_of(second)


def polygons_of(folder: Path) -> list[tuple[bytes, list[object]]]:
    """The polygons of a folder of results, with their columns."""
    import pyogrio

    _, _, shapes, columns = pyogrio.raw.read(folder / "polygons.gpkg")
    return [(bytes(shape), [column[row] for column in columns]) for row, shape in enumerate(shapes)]


class InlineEngine:
    """One worker in this process; it works where others only begin to.

    Attributes:
        tasks: All that it was given.
    """

    def __init__(self, work: Callable[[Task], Outcome], *, workers: int = 1) -> None:
        self._work = work
        self._most = workers
        self._events: list[Event] = []
        self._started = 0
        self.tasks: list[tuple[Task, ...]] = []

    def capacity(self) -> int:
        return self._most

    def start_worker(self) -> str:
        self._started += 1
        name = f"worker {self._started}"
        self._events.append(Ready(name))
        return name

    def give(self, worker: str, tasks: Sequence[Task]) -> None:
        self.tasks.append(tuple(tasks))
        try:
            outcomes = tuple(map(self._work, tasks))
        except WorkerGoneError as error:
            self._events.append(Lost(worker, str(error)))
        except HangingError:
            pass
        else:
            self._events.append(Finished(worker, outcomes))

    def stop_worker(self, worker: str) -> None:
        pass

    def wait(self, timeout_s: float) -> list[Event]:
        events, self._events = self._events, []
        if not events:
            time.sleep(0.01)
        return events

    def close(self) -> None:
        pass


class WorkerGoneError(Exception):
    """Of a test: the worker dies at the task."""


class HangingError(Exception):
    """Of a test: the worker never ends the task."""
