"""From two rasters to a georeferenced change map and polygons, in constant memory."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from changedet._version import __version__
from changedet.card import check_threshold
from changedet.errors import ConfigError, DataError, StorageError
from changedet.inference.detector import Detector
from changedet.inference.memory import keep_freed_memory
from changedet.inference.provenance import settle_threshold
from changedet.predict.flow import TileCounts, TileProgress, score_scene
from changedet.predict.job import SceneJob, match_scene, open_pair, prepare
from changedet.predict.journal import Journal
from changedet.predict.measures import SceneMeasures
from changedet.predict.preview import OutlineMap, write_preview
from changedet.predict.remarks import Remarks
from changedet.predict.request import (
    Option,
    SceneReport,
    SceneRequest,
    load_detector,
    make_request,
    spoken,
)
from changedet.predict.results import MASK, PREVIEW, SCORE, Found, summarise, write_item
from changedet.predict.stage_times import StageTimes
from changedet.predict.summary import SUMMARY
from changedet.predict.tiling import choose_tiling
from changedet.predict.watch import Watch
from changedet.predict.work_folder import WorkFolder, work_folder
from changedet.raster.cog import MaskCounts, read_strips, write_mask_cog, write_score_cog
from changedet.raster.environment import gdal_environment
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.score_store import ScoreFile
from changedet.rendering.qgis import write_styles
from changedet.types import IGNORED
from changedet.vector.files import PolygonSummary, file_name, write_polygons
from changedet.vector.outlines import Change, Outliner

_SCRATCH = "score.f32"
#: Room on the disk for a pixel: 4 bytes while it is scored, up to 4 in the results.
_BYTES_PER_PX = 8


@overload
def predict_scene(
    request: SceneRequest,
    /,
    *,
    detector: Detector | None = None,
    say: Callable[[str], None] = ...,
    progress: TileProgress | None = None,
    stages: StageTimes | None = None,
) -> SceneReport: ...
@overload
def predict_scene(
    before: str | Path,
    after: str | Path,
    /,
    *,
    detector: Detector | None = None,
    say: Callable[[str], None] = ...,
    progress: TileProgress | None = None,
    stages: StageTimes | None = None,
    **options: Option,
) -> SceneReport: ...
def predict_scene(
    before: SceneRequest | str | Path,
    after: str | Path | None = None,
    /,
    *,
    detector: Detector | None = None,
    say: Callable[[str], None] = lambda message: None,
    progress: TileProgress | None = None,
    stages: StageTimes | None = None,
    **options: Option,
) -> SceneReport:
    """Map what changed between two rasters.

    Called with a :class:`SceneRequest`, or with both rasters and the request's other fields by
    name: ``predict_scene("a.tif", "b.tif", model="model.safetensors", out="result")``. A detector
    can serve any number of scenes; without one, the model file is read for each.

    Writes ``score.tif``, ``mask.tif``, polygons, ``preview.png``, ``item.json`` and
    ``summary.json`` to ``request.out``; they appear there when all are complete. A killed run
    resumes from its finished rows of tiles when it is started again with the same request.

    Args:
        before: The rasters, the model and the options; or the raster of the first date.
        after: Raster of the second date, in the second form.
        detector: Scores the tiles, instead of one made from the request's model, device and
            test-time augmentation.
        options: The other fields of :class:`SceneRequest`, in the second form.
        say: Gets sentences for the user: coverage, shift, warnings.
        progress: Called with the progress of scoring.
        stages: Gets the CPU time of each stage.

    Raises:
        ConfigError: If an option is wrong or ``out`` is not free.
        DataError: If a raster cannot be read, the two do not fit each other or the model, or an
            input has changed meanwhile.
        CheckpointError: If the model file cannot be used.
        StorageError: If the results cannot be written.
    """
    if isinstance(before, SceneRequest):
        given = [*(["after"] if after is not None else []), *options]
        if given:
            raise ConfigError(
                f"a SceneRequest holds all settings; {', '.join(given)} beside it would be "
                "ignored: put them into the request (dataclasses.replace)"
            )
        request = before
    else:
        request = make_request(before, after, **options)
    stages = stages or StageTimes()
    with work_folder(request.out, existing=request.existing) as folder, ExitStack() as stack:
        remarks = Remarks(say)
        opened = open_scene(request, detector, remarks=remarks, stack=stack)
        started = time.monotonic()
        scores, tiles = _score(
            opened.job, folder, opened.watch, tell=remarks.tell, progress=progress, stages=stages
        )
        seconds = time.monotonic() - started
        say("writing the change map and the polygons")
        scored = ScoredScene(scores, tiles, seconds)
        return write_results(opened, scored, folder, remarks=remarks, stages=stages)


class OpenScene(NamedTuple):
    """A scene whose tiles can be scored.

    Attributes:
        job: Everything that is settled.
        watch: Its inputs as they were before they were read.
        threshold_source: Who chose the threshold.
    """

    job: SceneJob
    watch: Watch
    threshold_source: str

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides the scores, as plain JSON types."""
        return {**self.job.fingerprint, **self.watch.samples}


class ScoredScene(NamedTuple):
    """The scores of a scene.

    Attributes:
        scores: Of the whole target; writing the results closes them.
        tiles: What became of the tiles.
        seconds: How long that took.
    """

    scores: ScoreFile
    tiles: TileCounts
    seconds: float


def open_scene(
    request: SceneRequest,
    detector: Detector | None,
    *,
    remarks: Remarks,
    stack: ExitStack,
    measures: SceneMeasures | None = None,
) -> OpenScene:
    """Open the rasters of a scene and settle everything before its tiles are scored.

    Args:
        request: As asked.
        detector: Scores the tiles; None: one made from the request.
        remarks: Gets what the user must know.
        stack: Closes what is opened here.
        measures: What was measured before on the same scene; None: it is measured here.

    Raises:
        ConfigError: If an option is wrong.
        DataError: If a raster cannot be read, or the two do not fit each other or the model.
        CheckpointError: If the model file cannot be used.
    """
    if request.threshold is not None:
        check_threshold(request.threshold)
    detector = detector.for_kind(request.kind) if detector else load_detector(request)
    keep_freed_memory(detector.device_name)
    name = str(detector.path or "the model")
    threshold, _ = settle_threshold(detector.card, request.threshold, model=name)
    stack.enter_context(gdal_environment())
    watch = Watch.begin(request, detector)
    pair = stack.enter_context(closing(open_pair(request, detector, remarks=remarks)))
    gsd = match_scene(request, detector, pair, remarks=remarks)
    detector = detector.zoomed(gsd.factor)
    tiling = choose_tiling(
        detector,
        tile_px=request.tile_px,
        overlap_px=request.overlap_px,
        batch_size=request.batch_size,
    )
    job = prepare(
        request,
        detector,
        pair,
        gsd=gsd,
        threshold=threshold,
        tiling=tiling,
        remarks=remarks,
        stack=stack,
        measures=measures,
    )
    # A baseline has its threshold from the scene that it has measured now.
    _, source = settle_threshold(job.scorer.card, request.threshold, model=name)
    return OpenScene(job, watch, source)


def write_results(
    opened: OpenScene,
    scored: ScoredScene,
    folder: WorkFolder,
    *,
    remarks: Remarks,
    stages: StageTimes,
) -> SceneReport:
    """Write all that a prediction gives from the scores, and put it in its place.

    Args:
        opened: The scene.
        scored: Its scores.
        folder: Where it works.
        remarks: What the user was told.
        stages: Gets the CPU time of each stage.

    Raises:
        DataError: If no pixel has data in both dates, or an input has changed meanwhile.
        StorageError: If the results cannot be written.
    """
    job = opened.job
    with closing(scored.scores) as scores:
        counts, polygons = _write_products(job, scores, folder, stages=stages)
    found = Found(counts, polygons, scored.tiles, scored.seconds)
    summary = summarise(job, source=opened.threshold_source, found=found, remarks=remarks.told)
    write_item(job, folder.products, summary)
    summary.write(folder.products / SUMMARY)
    _check_inputs(job, folder, opened.watch)
    folder.publish()
    return SceneReport(
        out=job.request.out,
        threshold=job.threshold,
        threshold_source=opened.threshold_source,
        counts=counts,
        coverage=job.pair.coverage,
        shift=job.shift,
        polygons=polygons,
        seconds=scored.seconds,
        mpx_per_s=summary.speed.mpx_per_s,
        peak_memory_mb=summary.peak_memory_mb,
        remarks=summary.remarks,
        content=summary.to_dict(),
    )


def _score(
    job: SceneJob,
    folder: WorkFolder,
    watch: Watch,
    *,
    tell: Callable[[str], None],
    progress: TileProgress | None,
    stages: StageTimes,
) -> tuple[ScoreFile, TileCounts]:
    """Fill the score file, from where an earlier run stopped."""
    _check_room(folder, job.grid)
    fingerprint = {**job.fingerprint, **watch.samples}
    journal = Journal(folder.state, fingerprint, first_row=job.plan.rows.start)
    scores = _take_up(job, journal, folder.state / _SCRATCH, tell=tell)
    if scores is None:
        folder.clear_state()
        journal = Journal(folder.state, fingerprint, first_row=job.plan.rows.start)
        scores = ScoreFile.create(folder.state / _SCRATCH, job.grid)
    try:
        tiles = score_scene(
            job.pair.read,
            job.inside,
            plan=job.plan,
            scorer=job.scorer,
            batch_size=job.tiling.batch_size,
            sink=scores,
            journal=journal,
            readers=job.readers,
            progress=progress,
            stages=stages,
        )
    except BaseException as error:
        scores.close()
        if isinstance(error, DataError):
            # A file that is written to looks damaged.
            _check_inputs(job, folder, watch)
        raise
    return scores, tiles


def _check_inputs(job: SceneJob, folder: WorkFolder, watch: Watch) -> None:
    """Throw away what was done if an input has changed meanwhile."""
    try:
        watch.check(job)
    except DataError:
        folder.clear_state()
        raise


def _take_up(
    job: SceneJob, journal: Journal, scratch: Path, *, tell: Callable[[str], None]
) -> ScoreFile | None:
    """Open the scores of an unfinished run, if they fit."""
    differing = journal.resume()
    if journal.damage is not None:
        tell(
            f"discarding the unfinished run: its state is damaged ({journal.damage}); "
            "the scene is scored anew"
        )
    if differing:
        tell(
            "discarding the unfinished run: these settings changed: "
            f"{', '.join(map(spoken, differing))}"
        )
    if journal.open_rows is None:
        return None
    open_shape = journal.open_rows.scores.shape
    fits = (
        journal.next_row in range(job.plan.rows.start, job.plan.rows.stop + 1)
        and len(open_shape) == 3
        and open_shape[::2] == (1, job.grid.width)
        and open_shape[1] <= job.plan.tile_shape[0]
    )
    try:
        scores = ScoreFile.open(scratch, job.grid) if fits else None
    except DataError:
        # Damaged or gone: the scene can be scored again.
        scores = None
    if scores is not None:
        done = journal.next_row - job.plan.rows.start
        tell(f"resuming an unfinished run: {done} of {len(job.plan.rows)} rows of tiles done")
    return scores


def _check_room(folder: WorkFolder, grid: GeoGrid) -> None:
    held = sum(path.stat().st_size for path in folder.state.iterdir())
    free = shutil.disk_usage(folder.state).free
    needed = grid.height * grid.width * _BYTES_PER_PX
    if free + held < needed:
        raise StorageError(
            f"the results need up to {needed / 1e6:,.0f} MB and the disk of {folder.out} has "
            f"{free / 1e6:,.0f} MB left; make room, choose another folder (`out`), or predict a "
            "smaller area (`region`)"
        )


def _write_products(
    job: SceneJob, scores: ScoreFile, folder: WorkFolder, *, stages: StageTimes
) -> tuple[MaskCounts, PolygonSummary]:
    place = folder.products
    tags = {
        "CHANGEDET_VERSION": __version__,
        **_model_tag(job),
        "CHANGEDET_THRESHOLD": f"{job.threshold:.6g}",
    }
    with stages.process("write"):
        (counts,) = write_mask_cog(scores, place / MASK, threshold=job.threshold, tags=tags)
    if counts.changed + counts.unchanged == 0:
        folder.clear_state()
        raise DataError(
            f"no pixel of the {'area of interest' if job.region else 'common area'} has data in "
            f"both {job.pair.before.name} and "
            f"{job.pair.after.name}; check their nodata values (gdalinfo) and "
            "where they overlap"
        )
    with stages.process("write"):
        write_score_cog(scores, place / SCORE, tags=tags)
    write_styles(place)
    options = job.request.polygons
    outlines = OutlineMap(job.grid)
    with stages.process("polygons"):
        polygons = write_polygons(
            _changes(job, scores),
            place / file_name(options.format),
            grid=job.grid,
            options=options,
            watch=outlines.add,
        )
    with stages.process("preview"):
        write_preview(job, score=place / SCORE, outlines=outlines, path=place / PREVIEW)
    return counts, polygons


def _model_tag(job: SceneJob) -> dict[str, str]:
    checksum = job.model.get("sha256")
    if checksum is not None:
        return {"CHANGEDET_MODEL_SHA256": checksum}
    return {"CHANGEDET_MODEL": job.detector.card.architecture}


def _changes(job: SceneJob, scores: ScoreFile) -> Iterator[Change]:
    outliner = Outliner(job.grid)
    for _, (strip,) in read_strips(scores):
        mask = (strip >= np.float32(job.threshold)).astype(np.uint8)
        mask[np.isnan(strip)] = IGNORED
        yield from outliner.add(mask, strip)
    yield from outliner.finish()
