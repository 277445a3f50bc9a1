"""What an engine costs: overhead, workers side by side, many small scenes, a million items.

    python benchmarks/batch_economy.py engines --work /tmp/economy --out engines.json
    python benchmarks/batch_economy.py small --work /tmp/economy --out small.json
    python benchmarks/batch_economy.py driver --out driver.json

``engines`` runs made scenes of 4,096 px through one worker of each engine, and through two local
ones with a thread each; every run is repeated and the fastest counts. Start-up is told apart: it is
the time until the first scene begins. What an engine costs is the time in which no worker is at a
scene; ``cpu_s`` is the processor time of local workers, which other programs change little.
``small`` runs 10, 100 and 1,000 scenes of 128 px. ``driver`` sends items through the driver and the
manifest whose results nobody computes, and measures the largest memory of the process, each number
of items in a process of its own.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from changedet.batch.engine import Event, Finished, Ready
from changedet.batch.item import BatchItem
from changedet.batch.task import Findings, Outcome, Task

MODEL = "baseline:cva"
SIDE_PX = 4_096
SMALL_PX = 128
THREADS = "1"


CASES: dict[str, dict[str, Any]] = {
    "local": {"workers": 1, "threads": 1},
    "ray": {"engine": "ray", "workers": 1, "num_cpus": 1.0},
    "two": {"workers": 2, "threads": 1},
}


class Items:
    """A catalogue that is never in memory."""

    name = "made"

    def __init__(self, count: int, *, before: str, after: str) -> None:
        self._count = count
        self._pair = before, after

    def __iter__(self) -> Iterator[BatchItem]:
        for number in range(self._count):
            yield BatchItem(f"scene_{number:07}", *self._pair)

    def count(self) -> int:
        """Give the number of items."""
        return self._count


def write_scenes(folder: Path, side: int) -> tuple[str, str]:
    """Write a pair of square scenes of three bands."""
    import numpy as np
    import rasterio
    from affine import Affine

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 160, (3, side // 16 + 1, side // 16 + 1), dtype=np.uint8)
    ground = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :side, :side]
    before = ground + rng.integers(0, 12, ground.shape, dtype=np.uint8)
    after = ground + rng.integers(0, 12, ground.shape, dtype=np.uint8)
    for top in range(30, side - 40, 200):
        after[:, top : top + 24, top : top + 30] = 240
    paths = []
    for name, pixels in (("before", before), ("after", after)):
        path = folder / f"{name}_{side}.tif"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=3,
            height=side,
            width=side,
            dtype="uint8",
            crs="EPSG:32631",
            transform=Affine(0.5, 0, 5e5, 0, -0.5, 5e6),
            tiled=True,
            compress="deflate",
        ) as file:
            file.write(pixels)
        paths.append(str(path))
    return paths[0], paths[1]


def run(
    work: Path,
    pair: tuple[str, str],
    *,
    count: int,
    model: str,
    **settings: Any,  # noqa: ANN401
) -> dict[str, float]:
    """Run so many scenes into a new folder and say how long that took.

    Returns:
        ``start_s`` until the first scene began, ``seconds`` from then to the end, ``mpx_per_s``.
    """
    from changedet.batch.request import BatchRequest
    from changedet.batch.run import run_batch
    from changedet.batch.tally import Status
    from changedet.predict.request import SceneRequest

    begun: list[float] = []
    used = resource.getrusage(resource.RUSAGE_CHILDREN)

    def watch(status: Status) -> None:
        if not begun and any(worker.item is not None for worker in status.workers):
            begun.append(time.monotonic())

    common = SceneRequest("", "", model, Path(), device="cpu")
    catalogue = Items(count, before=pair[0], after=pair[1])
    with TemporaryDirectory(dir=work) as out:
        request = BatchRequest(common, out, **settings)
        started = time.monotonic()
        tally = run_batch(request, catalogue, watch=watch)
        ended = time.monotonic()
        rows = _seconds_of_items(Path(out))
    now_used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if tally.done != count:
        raise SystemExit(f"{tally.failed} of {count} scenes failed")
    first = begun[0] if begun else started
    return {
        "start_s": first - started,
        "seconds": ended - first,
        "total_s": ended - started,
        "mpx_per_s": tally.mpx / (ended - first),
        "in_items_s": sum(rows),
        "cpu_s": now_used.ru_utime + now_used.ru_stime - used.ru_utime - used.ru_stime,
        "load": os.getloadavg()[0],
    }


def _seconds_of_items(out: Path) -> list[float]:
    import pyarrow.parquet as pq

    seconds: list[float] = pq.read_table(out / "manifest.parquet")["seconds"].to_pylist()
    return seconds


def engines(
    work: Path, *, count: int, repeats: int, model: str, names: Sequence[str], side_px: int
) -> dict[str, Any]:
    """Compare the engines, and two workers with one, on scenes of 4,096 px."""
    pair = write_scenes(work, side_px)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(repeats):
        # In turns: a machine that becomes slower does so for all.
        for name in names:
            found[name].append(run(work, pair, count=count, model=model, **CASES[name]))
            print(name, found[name][-1], file=sys.stderr)
    best = {name: min(runs, key=lambda one: one["seconds"]) for name, runs in found.items()}
    ratios = {
        name: {
            "seconds_against_local": one["seconds"] / best["local"]["seconds"],
            # What the driver and the process boundary cost beside the items themselves.
            "outside_of_scenes": 1 - one["in_items_s"] / one["seconds"] / CASES[name]["workers"],
        }
        for name, one in best.items()
        if "local" in best
    }
    return {"scenes": count, "side_px": side_px, "runs": found, "best": best, "ratios": ratios}


def small(work: Path, *, counts: Sequence[int], model: str) -> dict[str, Any]:
    """Run different numbers of small scenes through one local worker."""
    pair = write_scenes(work, SMALL_PX)
    rows = []
    for count in counts:
        measured = run(work, pair, count=count, model=model, workers=1, threads=1)
        rows.append({"scenes": count, "per_scene_s": measured["seconds"] / count, **measured})
        print(rows[-1], file=sys.stderr)
    return {"side_px": SMALL_PX, "rows": rows}


class NoWorkers:
    """An engine whose workers are done at once."""

    def __init__(self, workers: int) -> None:
        self._most = workers
        self._events: list[Event] = []
        self._started = 0

    def capacity(self) -> int:
        """Say how many workers there may be."""
        return self._most

    def start_worker(self) -> str:
        """Pretend to start one."""
        self._started += 1
        self._events.append(Ready(f"worker {self._started}"))
        return f"worker {self._started}"

    def give(self, worker: str, tasks: Sequence[Task]) -> None:
        """Make up results."""
        outcomes = tuple(_outcome(task) for task in tasks)
        self._events.append(Finished(worker, outcomes))

    def stop_worker(self, worker: str) -> None:
        """There is none."""

    def wait(self, timeout_s: float) -> list[Event]:
        """Give what was made up."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """There is nothing."""


def _outcome(task: Task) -> Outcome:
    findings = Findings(
        fingerprint="f" * 64,
        checksum="c" * 64,
        height=4_096,
        width=4_096,
        changed_share=0.01,
        polygons=100,
        threshold=0.5,
        files={"score.tif": 10**7, "mask.tif": 10**5},
        seconds=30.0,
    )
    return Outcome(task.item.id, "done", datetime.now(UTC), 30.0, findings)


def drive(count: int) -> dict[str, float]:
    """Send so many items through the driver and the manifest, and once more when all are done."""
    from changedet.batch.driver import Driver
    from changedet.batch.manifest import Manifest
    from changedet.batch.place import LocalPlace
    from changedet.inference.memory import peak_process_memory

    catalogue = Items(count, before="/archive/2015/scene.tif", after="/archive/2024/scene.tif")
    started = time.monotonic()
    with TemporaryDirectory() as out:
        place = LocalPlace(Path(out))
        with Manifest(place, mode="write") as manifest:
            tally = Driver(NoWorkers(64), catalogue, manifest, model="m").run()
            manifest.merge()
        seconds = time.monotonic() - started
        size = (Path(out) / "manifest.parquet").stat().st_size
        again = time.monotonic()
        with Manifest(place, mode="write") as manifest:
            known = manifest.counts()["done"]
    if not tally.done == known == count:
        raise SystemExit(f"{tally.done} of {count} items are done, {known} known")
    return {
        "items": count,
        "seconds": seconds,
        "items_per_s": count / seconds,
        "reopen_s": time.monotonic() - again,
        "manifest_mb": size / 1e6,
        "peak_mb": (peak_process_memory() or 0) / 1e6,
    }


def driver(counts: Sequence[int]) -> dict[str, Any]:
    """Measure the driver for several numbers of items, each in a new process."""
    rows = []
    for count in counts:
        command = [sys.executable, __file__, "drive", "--count", str(count)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(found.stdout))
        print(rows[-1], file=sys.stderr)
    return {"rows": rows}


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("engines", "small", "driver", "drive"))
    parser.add_argument("--work", type=Path, default=Path("/tmp/batch_economy"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--side", type=int, default=SIDE_PX, help="Of the scenes of engines.")
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--counts", type=int, nargs="+")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", THREADS)
    if options.what == "drive":
        print(json.dumps(drive(options.count)))
        return
    if options.what == "engines":
        found = engines(
            options.work,
            count=options.scenes,
            repeats=options.repeats,
            model=options.model,
            names=options.cases,
            side_px=options.side,
        )
    elif options.what == "small":
        counts = options.counts or (10, 100, 1_000)
        found = small(options.work, counts=counts, model=options.model)
    else:
        found = driver(options.counts or (1_000, 100_000, 1_000_000))
    found |= {"model": options.model, "machine": platform.platform(), "cores": os.cpu_count()}
    text = json.dumps(found, indent=2)
    if options.out is not None:
        options.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
