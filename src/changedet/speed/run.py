"""Time a model on this machine, from its start to finished results of scenes of several sizes."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from changedet._version import __version__
from changedet.inference.memory import forget_peak_memory, keep_freed_memory, peak_process_memory
from changedet.inference.opening import open_detector
from changedet.predict.rasters import predict_scene
from changedet.predict.request import SceneRequest
from changedet.predict.stage_times import StageTimes
from changedet.predict.tiling import choose_tiling
from changedet.raster.environment import gdal_environment
from changedet.raster.pair import PairOptions, RasterPair
from changedet.rendering.growth import GrowthPoint, write_growth_chart
from changedet.rendering.plots import charts_note
from changedet.speed.network import measure_ceiling, measure_inference, measure_training
from changedet.speed.results import ScenePoint, SpeedResults, StageSpeed, StartUp
from changedet.speed.scenes import write_scenes
from changedet.storage.markers import SPEED
from changedet.storage.output_folder import claimed, result_folder
from changedet.threads import stated_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from changedet.inference.detector import Detector
    from changedet.predict.tiling import Tiling
    from changedet.speed.request import SpeedRequest
    from changedet.types import Progress

CHART: Final = "speed.png"
_STAGES: Final = ("read", "score", "blend", "write", "polygons", "preview")
_START: Final = (
    "import sys, changedet; "
    "changedet.load(sys.argv[1], device=sys.argv[2], runtime=sys.argv[3], precision=sys.argv[4])"
)
#: Of scenes whose model has no threshold.
_THRESHOLD: Final = 0.5
#: The later date lies off by this in the pair that is read to time resampling.
_OFFSET_PX: Final = 0.5


@dataclass
class _Runs:
    """What one scene took, in each repeat."""

    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    peaks: list[int | None] = field(default_factory=list)


def measure_speed(
    request: SpeedRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> SpeedResults:
    """Time start-up, whole scenes by stage, and the network alone.

    Scenes are generated. Within each repeat all sizes take their turn, so that what else the
    machine does slows all of them alike. Stages overlap in time, hence their CPU seconds count.

    Writes ``speed.json`` and, where matplotlib is installed, ``speed.png`` to ``request.out``.

    Args:
        request: What to time, and on what.
        say: Gets sentences for the user.
        progress: Called with the number of steps done and of all steps.

    Raises:
        ConfigError: If a setting is wrong or ``out`` is not free.
        CheckpointError: If the model file cannot be used.
        StorageError: If the results cannot be written, or the disk has no room for the scenes.
    """
    request.check()
    with claimed(request.out, marker=SPEED, existing=request.existing):
        results = _measure(request, progress=progress or (lambda done, total: None))
        with result_folder(request.out, marker=SPEED) as folder:
            note = charts_note()
            if note is None:
                _draw(results, folder / CHART, title=request.model.stem)
            else:
                say(note)
            results.write(folder / SPEED)
    return results


def _measure(request: SpeedRequest, *, progress: Progress) -> SpeedResults:
    started = time.monotonic()
    sizes = sorted(set(request.sizes))
    steps = request.repeats * len(sizes) + 3
    progress(0, steps)
    start_up = _start_up(request)
    progress(1, steps)
    detector = open_detector(
        request.model,
        device=request.device,
        test_time=request.test_time,
        runtime=request.runtime,
        precision=request.precision,
    )
    keep_freed_memory(detector.device_name)
    tiling = choose_tiling(
        detector, tile_px=request.tile_px, overlap_px=request.overlap_px, batch_size=None
    )
    ceiling = measure_ceiling(detector)
    inference, notes = measure_inference(detector, tiling, repeats=request.repeats, ceiling=ceiling)
    training, more = measure_training(detector, repeats=request.repeats, ceiling=ceiling)
    progress(2, steps)
    # Next to the results, where there is room for what scenes take.
    with tempfile.TemporaryDirectory(prefix=".speed.", dir=request.out.absolute().parent) as name:
        folder = Path(name)
        runs: dict[int, _Runs] = {}
        for repeat in range(request.repeats):
            for number, size in enumerate(sizes):
                scene = folder / str(size)
                if repeat == 0:
                    scene.mkdir()
                    write_scenes(scene, size, detector.card)
                    runs[size] = _Runs()
                _run_scene(detector, scene, tiling=tiling, runs=runs[size])
                progress(3 + repeat * len(sizes) + number, steps)
        warp = _warp_rate(folder, detector, min(sizes[-1], 2048))
    progress(steps, steps)
    return SpeedResults(
        version=__version__,
        model=detector.metadata,
        runtime=detector.runtime or "torch",
        device=detector.device_name,
        processor=_processor(),
        threads=_threads(detector),
        test_time=detector.test_time,
        tile_px=tiling.tile_px,
        overlap_px=tiling.overlap_px,
        repeats=request.repeats,
        start_up=start_up,
        warp_mpx_per_cpu_s=warp,
        scenes=tuple(_point(size, runs[size]) for size in sizes),
        ceiling_gflop_per_s=ceiling.gflop_per_s,
        ceiling_of=ceiling.of,
        inference=inference,
        training=training,
        notes=(*notes, *more),
        seconds=round(time.monotonic() - started, 3),
    )


def _start_up(request: SpeedRequest) -> StartUp:
    """Time new processes that open the model; the least counts, for files are read once."""
    words = [request.model, request.device, request.runtime, request.precision]
    command = [sys.executable, "-c", _START, *map(str, words)]
    times = []
    for _ in range(request.repeats):
        begun, used = time.perf_counter(), _children_cpu()
        # A failure shows again when the model is opened here, with its reason.
        subprocess.run(command, check=False, capture_output=True)
        spent = _children_cpu()
        cpu_s = None if used is None or spent is None else spent - used
        times.append((time.perf_counter() - begun, cpu_s))
    known = [cpu_s for _, cpu_s in times if cpu_s is not None]
    return StartUp(
        seconds=min(seconds for seconds, _ in times), cpu_s=min(known) if known else None
    )


def _children_cpu() -> float | None:
    """CPU seconds of the processes that were started and have ended; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _run_scene(detector: Detector, scene: Path, *, tiling: Tiling, runs: _Runs) -> None:
    """Predict a scene as the command does, and note what it took."""
    stages = StageTimes()
    threshold = None if detector.threshold is not None else _THRESHOLD
    asked = SceneRequest(
        before=str(scene / "before.tif"),
        after=str(scene / "after.tif"),
        model=None,
        out=scene / "result",
        threshold=threshold,
        tile_px=tiling.tile_px,
        overlap_px=tiling.overlap_px,
        existing="replace",
    )
    forget_peak_memory()
    begun, used = time.perf_counter(), time.process_time()
    predict_scene(asked, detector=detector, stages=stages)
    runs.cpu_s.append(time.process_time() - used)
    runs.seconds.append(time.perf_counter() - begun)
    runs.peaks.append(peak_process_memory())
    counted = {str(name): cpu_s for name, cpu_s in stages.seconds.items()}
    runs.stages.append({**counted, "rest": max(0.0, runs.cpu_s[-1] - sum(counted.values()))})


def _point(size: int, runs: _Runs) -> ScenePoint:
    mpx = size**2 / 1e6
    seconds = statistics.median(runs.seconds)
    peaks = [peak for peak in runs.peaks if peak is not None]
    stages = []
    for name in (*_STAGES, "rest"):
        cpu_s = statistics.median(one.get(name, 0.0) for one in runs.stages)
        rate = mpx / cpu_s if cpu_s > 0 else None
        stages.append(StageSpeed(name=name, cpu_s=cpu_s, mpx_per_cpu_s=rate))
    return ScenePoint(
        side_px=size,
        seconds=seconds,
        mpx_per_s=mpx / seconds,
        cpu_s=statistics.median(runs.cpu_s),
        cpu_s_of_repeats=tuple(runs.cpu_s),
        peak_memory_mb=statistics.median(peaks) / 1e6 if peaks else None,
        stages=tuple(stages),
    )


def _warp_rate(folder: Path, detector: Detector, side_px: int) -> float | None:
    """Read a scene whose later date is resampled, and one whose is not: the difference counts."""
    seconds = []
    for name, offset in (("as_it_is", 0.0), ("resampled", _OFFSET_PX)):
        place = folder / name
        place.mkdir()
        before, after = write_scenes(place, side_px, detector.card, offset_px=offset)
        options = PairOptions(channels=detector.in_channels, pixel_type=detector.card.pixel_type)
        with gdal_environment(), RasterPair(str(before), str(after), options) as pair:
            windows = pair.grid.window.cut(512)
            pair.read(windows[0])
            used = time.process_time()
            for window in windows:
                pair.read(window)
            seconds.append(
                (time.process_time() - used) * side_px**2 / (pair.grid.height * pair.grid.width)
            )
    added = seconds[1] - seconds[0]
    return side_px**2 / 1e6 / added if added > 0 else None


def _processor() -> str:
    """Name of the processor where the system tells it, else its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _threads(detector: Detector) -> int:
    if detector.runtime == "torch":
        import torch

        return torch.get_num_threads()
    return stated_threads() or os.cpu_count() or 1


def _draw(results: SpeedResults, path: Path, *, title: str) -> None:
    points = [
        GrowthPoint(
            side_px=scene.side_px,
            cpu_s={stage.name: stage.cpu_s for stage in scene.stages},
            peak_memory_mb=scene.peak_memory_mb,
        )
        for scene in results.scenes
    ]
    write_growth_chart(path, points, title=f"{title}, {results.runtime}")
