"""What an archive takes: hours, workers, storage and money, and what is in the way first.

    python benchmarks/cost_model.py measure --model buildings --work /tmp/cost --out measured.json
    python benchmarks/cost_model.py tables --measured measured.json --km2 1e6 --gsd-m 0.5

``measure`` runs `changedet batch` on made scenes with one worker: one small scene, several, several
large ones. Their times give the speed, what every scene costs besides, and the start-up. What is
scored are tiles, which overlap and reach over the edges of small scenes, so the speed is that of
their pixels. From these it predicts another run (another size, another number of workers), makes
it, and says how far off that was.

``tables`` prints hours, storage and money of an archive in Markdown for several numbers of workers.
What no run can tell (prices, bandwidths, how well files are compressed) is a parameter.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Worker:
    """One worker as it was measured.

    Attributes:
        mpx_per_s: Millions of pixels of tiles a second, from file to file, without what every scene
            costs.
        scene_s: What every scene costs besides: opening, shift, polygons, moving the results.
        start_s: From the command to the first scene.
        cpus: Cores that it takes.
        gpus: GPUs that it takes; workers may share one.
        tile_px: Height and width of a tile, in pixels of the scene; 0: no pixel is scored twice.
        overlap_px: Pixels that neighbouring tiles share.
    """

    mpx_per_s: float
    scene_s: float
    start_s: float
    cpus: float = 1.0
    gpus: float = 0.0
    tile_px: int = 0
    overlap_px: int = 0

    def scoring_s(self, side_px: int) -> float:
        """Seconds for the tiles of a scene of this height and width."""
        return tiles_mpx(side_px, self.tile_px, self.overlap_px) / self.mpx_per_s


def tiles_mpx(side_px: int, tile_px: int, overlap_px: int) -> float:
    """Give the pixels of all tiles of a scene, in millions."""
    if not tile_px:
        return side_px**2 / 1e6
    along = max(1, math.ceil((side_px - overlap_px) / (tile_px - overlap_px)))
    return (along * tile_px) ** 2 / 1e6


@dataclass(frozen=True)
class Archive:
    """Pairs of scenes.

    Attributes:
        km2: Area, in square kilometres.
        gsd_m: Side of a pixel on the ground, in metres.
        side_px: Height and width of a scene, in pixels.
        overlap: Share of a scene that its neighbours show as well.
        read_bytes_per_px: Of both dates in their files, for each pixel of the map.
        written_bytes_per_px: Of the results.
    """

    km2: float
    gsd_m: float
    side_px: int = 10_000
    overlap: float = 0.05
    read_bytes_per_px: float = 3.6
    written_bytes_per_px: float = 2.2

    @property
    def mpx(self) -> float:
        """Millions of pixels of all scenes."""
        return self.km2 / self.gsd_m**2 / (1.0 - self.overlap)

    @property
    def scene_mpx(self) -> float:
        """Millions of pixels of a scene."""
        return self.side_px**2 / 1e6

    @property
    def scenes(self) -> int:
        """Number of pairs."""
        return math.ceil(self.mpx / self.scene_mpx)


@dataclass(frozen=True)
class Cluster:
    """Machines and what they cost.

    Attributes:
        workers: How many work at once.
        worker_mb_per_s: What one worker can read, in 10^6 bytes a second.
        store_mb_per_s: What the store gives to all of them together.
        driver_scenes_per_s: Scenes that the driver can hand out and write down.
        cpu_hour: Price of a core for an hour.
        gpu_hour: Price of a GPU for an hour, without its machine's cores.
        gb_month: Price of 10^9 bytes of results for a month.
        read_gb: Price of reading 10^9 bytes: 0 in the region of the store.
    """

    workers: int
    worker_mb_per_s: float = 50.0
    store_mb_per_s: float = 5_000.0
    driver_scenes_per_s: float = 100.0
    cpu_hour: float = 0.05
    gpu_hour: float = 1.00
    gb_month: float = 0.023
    read_gb: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """What comes out.

    Attributes:
        hours: From the command to the last result.
        worker_hours: Of all workers together.
        read_tb: Read from the store, in 10^12 bytes.
        stored_tb: Results.
        money: For workers and reading; without storage.
        month: For the storage of the results for a month.
        per_1000_km2: ``money`` by area.
        bottleneck: What takes the most time.
    """

    hours: float
    worker_hours: float
    read_tb: float
    stored_tb: float
    money: float
    month: float
    per_1000_km2: float
    bottleneck: str


def estimate(worker: Worker, archive: Archive, cluster: Cluster) -> Estimate:
    """Predict a run.

    Reading goes on beside scoring, so the slower of the two counts; what every scene costs besides
    comes on top. Scenes are handed out one by one, so the last ones leave workers idle.
    """
    scoring = worker.scoring_s(archive.side_px)
    megabytes = archive.scene_mpx * archive.read_bytes_per_px
    own = megabytes / cluster.worker_mb_per_s
    shared = megabytes * cluster.workers / cluster.store_mb_per_s
    slowest = max(scoring, own, shared)
    scene = slowest + worker.scene_s
    rounds = math.ceil(archive.scenes / cluster.workers)
    driver = archive.scenes / cluster.driver_scenes_per_s
    seconds = worker.start_s + max(rounds * scene, driver)
    parts = {
        "scoring": scoring,
        "reading, at a worker": own,
        "reading, at the store": shared,
        "what every scene costs": worker.scene_s,
        "the driver": driver / max(rounds, 1),
    }
    worker_hours = seconds * cluster.workers / 3600
    read = archive.scenes * megabytes / 1e6
    stored = archive.scenes * archive.scene_mpx * archive.written_bytes_per_px / 1e6
    price = worker.cpus * cluster.cpu_hour + worker.gpus * cluster.gpu_hour
    money = worker_hours * price + read * 1e3 * cluster.read_gb
    return Estimate(
        hours=seconds / 3600,
        worker_hours=worker_hours,
        read_tb=read,
        stored_tb=stored,
        money=money,
        month=stored * 1e3 * cluster.gb_month,
        per_1000_km2=money / archive.km2 * 1e3,
        bottleneck=max(parts, key=lambda name: parts[name]),
    )


def seconds_of(worker: Worker, sides_px: Sequence[int], *, workers: int) -> float:
    """Predict a run over scenes of these sizes that are handed out in this order."""
    free = [worker.start_s] * workers
    for side in sides_px:
        index = free.index(min(free))
        free[index] += worker.scene_s + worker.scoring_s(side)
    return max(free)


def fit(
    sizes_px: tuple[int, int],
    seconds: tuple[float, float, float],
    *,
    scenes: int,
    tile_px: int = 0,
    overlap_px: int = 0,
) -> Worker:
    """Find speed, what every scene costs, and start-up from the times of three runs of one worker.

    Args:
        sizes_px: Height and width of small and of large scenes, in pixels.
        seconds: Of a run of one small scene, of ``scenes`` small ones, of ``scenes`` large ones.
        scenes: At least 2.
        tile_px: As for :class:`Worker`.
        overlap_px: Likewise.
    """
    one, small, large = seconds
    few, many = (tiles_mpx(side, tile_px, overlap_px) for side in sizes_px)
    scene_small = (small - one) / (scenes - 1)
    start = one - scene_small
    scene_large = (large - start) / scenes
    per_mpx = (scene_large - scene_small) / (many - few)
    # Where both take the same, what is left is noise.
    scene = max(0.0, scene_small - few * per_mpx)
    return Worker(1.0 / per_mpx, scene, start, tile_px=tile_px, overlap_px=overlap_px)


def main() -> None:
    """Measure, or print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--model", required=True)
    measuring.add_argument("--work", type=Path, required=True)
    measuring.add_argument("--out", type=Path, required=True)
    # Multiples of 512, the blocks of made scenes.
    measuring.add_argument("--sizes", type=int, nargs=2, default=(1024, 2048))
    measuring.add_argument("--check-sizes", type=int, nargs="+", default=(1536,) * 8)
    measuring.add_argument("--scenes", type=int, default=5)
    measuring.add_argument("--workers", type=int, default=2)
    measuring.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor time of one worker, on a machine with other work on it",
    )
    printing = commands.add_parser("tables")
    printing.add_argument("--measured", type=Path, required=True)
    printing.add_argument("--workers", type=int, nargs="+", default=(64, 256, 1024, 4096))
    for kind in (Worker, Archive, Cluster):
        for field in fields(kind):
            if field.name != "workers":
                name = f"--{field.name.replace('_', '-')}"
                printing.add_argument(name, type=int if field.type is int else float)
    options = parser.parse_args()
    if options.command == "measure":
        found = measure(options)
        options.out.write_text(json.dumps(found, indent=2) + "\n")
        print(json.dumps(found, indent=2))
        return
    measured = json.loads(options.measured.read_text())["worker"]
    worker = Worker(**{**measured, **_given(options, Worker)})
    archive = Archive(**{"km2": 1e6, "gsd_m": 0.5, **_given(options, Archive)})
    clusters = [Cluster(count, **_given(options, Cluster)) for count in options.workers]
    print(table(worker, archive, clusters))


def _given(options: argparse.Namespace, kind: type) -> dict[str, Any]:
    """Give the fields of a dataclass that were named on the command line."""
    named = {field.name: getattr(options, field.name, None) for field in fields(kind)}
    return {name: value for name, value in named.items() if value is not None and name != "workers"}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure one worker, predict another run, and make it."""
    small, large = options.sizes
    count = options.scenes
    workers = options.workers if options.clock == "wall" else 1
    runner: Command | Here = Command(options) if options.clock == "wall" else Here(options)
    run = runner.run
    first, second, third = (
        run(name, [side] * number, workers=1)
        for name, side, number in (
            ("one", small, 1),
            ("few", small, count),
            ("large", large, count),
        )
    )
    tile_px, overlap_px = runner.tiles()
    worker = fit(
        (small, large),
        (first, second, third),
        scenes=count,
        tile_px=tile_px,
        overlap_px=overlap_px,
    )
    sides = list(options.check_sizes)
    predicted = seconds_of(worker, sides, workers=workers)
    measured = run("check", sides, workers=workers)
    return {
        "model": Path(options.model).name,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[1], 1),
        "clock": options.clock,
        "sizes_px": [small, large],
        "worker": asdict(worker),
        "runs_s": [round(seconds, 1) for seconds in (first, second, third)],
        "check": {
            "sides_px": sides,
            "workers": workers,
            "predicted_s": round(predicted, 1),
            "measured_s": round(measured, 1),
            "error": round(predicted / measured - 1.0, 3),
        },
    }


class Command:
    """Times of `changedet batch` with one thread a worker, by the clock on the wall."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._out = Path()

    def tiles(self) -> tuple[int, int]:
        """Give the tile and the overlap of the latest run."""
        return _tiles(self._out)

    def run(self, name: str, sides: Sequence[int], *, workers: int) -> float:
        """Make scenes of these sizes, predict on them and give the seconds of the command."""
        work = self._options.work / name
        rows = ["id,before,after"]
        for number, paths in enumerate(write_scenes(work, sides)):
            rows.append(f"s{number},{paths[0].name},{paths[1].name}")
        (work / "pairs.csv").write_text("\n".join(rows) + "\n")
        self._out = work / f"out_{time.time():.0f}"
        command = [
            *(sys.executable, "-m", "changedet", "batch", str(work / "pairs.csv")),
            *("--model", self._options.model, "--out", str(self._out)),
            *("--quiet", "--workers", str(workers), "--threads", "1"),
        ]
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=sys.stderr)
        return time.monotonic() - start


class Here:
    """Processor time of what a worker does, in this process: other programs do not count.

    Its start-up is all that this process has used before, with a first scene.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        from changedet.batch.item import BatchItem
        from changedet.batch.runner import ItemRunner, Setup
        from changedet.batch.task import Task
        from changedet.predict.request import SceneRequest

        self._work: Path = options.work
        self._out = self._work / f"out_{time.time():.0f}"
        common = SceneRequest("", "", options.model, Path(), device="cpu")
        self._runner = ItemRunner(Setup(common, Path(options.model).name, str(self._out)))
        self._task: Callable[[str, str, str], Any] = lambda *words: Task(BatchItem(*words))
        self._start = 0.0
        self._start = time.process_time() + self.run("first", [512], workers=1)

    def tiles(self) -> tuple[int, int]:
        """Give the tile and the overlap of the latest run."""
        return _tiles(self._out)

    def run(self, name: str, sides: Sequence[int], *, workers: int) -> float:
        """Make scenes of these sizes and give the seconds of processors for predicting on them."""
        used = self._start
        for number, (before, after) in enumerate(write_scenes(self._work / name, sides)):
            start = time.process_time()
            outcome = self._runner.run(self._task(f"{name}_{number}", str(before), str(after)))
            used += time.process_time() - start
            if outcome.fault is not None:
                raise SystemExit(outcome.fault.message)
        return used


def _tiles(out: Path) -> tuple[int, int]:
    """Read the tile and the overlap, in pixels of the scene, from any result of a run."""
    summary = json.loads(next(out.glob("items/*/summary.json")).read_text())
    return summary["tiles"]["tile_px"], summary["tiles"]["overlap_px"]


def write_scenes(work: Path, sides: Sequence[int]) -> list[tuple[Path, Path]]:
    """Write a pair of scenes of each size, all of them different: the system remembers files."""
    from scene_memory import write_scene

    work.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number, side in enumerate(sides):
        before, after = (work / f"{date}_{number}_{side}.tif" for date in ("before", "after"))
        for date, path in enumerate((before, after)):
            if not path.is_file():
                write_scene(path, side, seed=2 * number + date)
        pairs.append((before, after))
    return pairs


def table(worker: Worker, archive: Archive, clusters: Sequence[Cluster]) -> str:
    """Give a Markdown table of an archive, a line for each cluster."""
    lines = [
        "| Workers | Hours | Worker hours | Read | Results | Money | per 1,000 km² "
        "| Storage a month | In the way first |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cluster in clusters:
        found = estimate(worker, archive, cluster)
        lines.append(
            f"| {cluster.workers:,} | {found.hours:,.1f} | {found.worker_hours:,.0f} "
            f"| {found.read_tb:.1f} TB | {found.stored_tb:.1f} TB | {found.money:,.0f} "
            f"| {found.per_1000_km2:.2f} | {found.month:,.0f} | {found.bottleneck} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
