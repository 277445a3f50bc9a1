"""Two rasters in, a georeferenced change map and polygons out, in constant memory."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from changedet._atomic import write_text
from changedet._result_folder import check_result_folder, replace_content, staging_folder
from changedet._version import __version__
from changedet.errors import DataError, StorageError
from changedet.inference.detector import checked_threshold, load
from changedet.inference.provenance import settle_threshold
from changedet.raster.cog import read_strips, write_mask_cog, write_score_cog
from changedet.raster.environment import gdal_environment
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.scratch import ScoreFile
from changedet.raster.style import write_styles
from changedet.scene.flow import TileProgress, score_scene
from changedet.scene.job import SceneJob, open_pair, prepare
from changedet.scene.journal import Journal
from changedet.scene.request import SceneReport, SceneRequest
from changedet.scene.summary import MASK, SCORE, SUMMARY, Found, summarise, write_item
from changedet.scene.tiling import choose_tiling
from changedet.types import IGNORED
from changedet.vector.files import file_name, write_polygons
from changedet.vector.outlines import Change, Outliner

_STATE = "state"
_BYTES_PER_PX = 6


def predict_scene(
    request: SceneRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: TileProgress | None = None,
) -> SceneReport:
    """Map what changed between two rasters.

    Writes ``score.tif``, ``mask.tif``, polygons, ``item.json`` and ``summary.json`` to
    ``request.out``; they appear there when all are complete. A killed run goes on from its
    finished rows of tiles when it is started again with the same request.

    Args:
        request: The rasters, the model and the options.
        say: Gets sentences for the user: coverage, shift, warnings.
        progress: Told how far the scoring is.

    Raises:
        ConfigError: If an option is wrong or ``out`` is not free.
        DataError: If a raster cannot be read, or the two do not fit each other or the model.
        CheckpointError: If the model file cannot be used.
        StorageError: If the results cannot be written.
    """
    out = request.out.absolute()
    check_result_folder(out, marker=SUMMARY, existing=request.existing)
    if request.threshold is not None:
        checked_threshold(request.threshold)
    detector = load(request.model, device=request.device)
    threshold, source = settle_threshold(detector.card, request.threshold, model=request.model)
    tiling = choose_tiling(
        detector,
        tile_px=request.tile_px,
        overlap_px=request.overlap_px,
        batch_size=request.batch_size,
    )
    notes: list[str] = []

    def tell(message: str) -> None:
        notes.append(message)
        say(message)

    with gdal_environment(), closing(open_pair(request, detector)) as opened:
        for note in opened.notes:
            tell(note)
        job = prepare(request, detector, opened, threshold=threshold, tiling=tiling, tell=tell)
        with closing(job.pair):
            work = staging_folder(out, "unfinished")
            started = time.monotonic()
            scores, tiles = _score(job, work, tell=tell, progress=progress)
            seconds = time.monotonic() - started
            with closing(scores):
                found = _write_products(job, scores, work)
            share = tiles / job.plan.count
            content = summarise(
                job, source=source, found=found, seconds=seconds, share=share, notes=notes
            )
            write_item(job, work, content)
            write_text(work / SUMMARY, json.dumps(content, indent=2) + "\n")
    _put_in_place(out, work)
    return SceneReport(
        out=request.out,
        threshold=threshold,
        threshold_source=source,
        counts=found.counts,
        coverage=job.pair.coverage,
        shift=job.shift,
        polygons=found.polygons,
        seconds=seconds,
        mpx_per_s=content["speed"]["mpx_per_s"],
        peak_memory_mb=content["peak_memory_mb"],
        content=content,
    )


def _score(
    job: SceneJob, work: Path, *, tell: Callable[[str], None], progress: TileProgress | None
) -> tuple[ScoreFile, int]:
    """Fill the score file, from where an earlier run stopped."""
    state = work / _STATE
    _make_room(state, job.grid)
    journal = Journal(state, job.fingerprint, first_row=job.plan.rows.start)
    scratch = state / "score.f32"
    differing = journal.resume()
    if differing:
        tell(f"an unfinished run is discarded, because other settings were asked: {differing}")
    scores = _reopen(scratch, job) if journal.open_rows is not None else None
    if scores is not None:
        done = journal.next_row - job.plan.rows.start
        tell(f"going on with an unfinished run: {done} of {len(job.plan.rows)} rows of tiles done")
    else:
        journal = Journal(state, job.fingerprint, first_row=job.plan.rows.start)
        scores = ScoreFile.create(scratch, job.grid)
    try:
        tiles = score_scene(
            job.pair.read,
            job.inside,
            plan=job.plan,
            scorer=job.scorer,
            batch_size=job.tiling.batch_size,
            sink=scores,
            journal=journal,
            progress=progress,
        )
    except BaseException:
        scores.close()
        raise
    return scores, tiles


def _reopen(scratch: Path, job: SceneJob) -> ScoreFile | None:
    try:
        return ScoreFile.open(scratch, job.grid)
    except DataError:
        # Damaged or gone: the scene can be scored anew.
        return None


def _make_room(state: Path, grid: GeoGrid) -> None:
    try:
        state.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(state).free
        held = sum(path.stat().st_size for path in state.iterdir())
    except OSError as error:
        raise StorageError(
            f"cannot write to {state.parent.parent}: {error.strerror or error}; "
            "choose another folder"
        ) from error
    needed = grid.height * grid.width * _BYTES_PER_PX
    if free + held < needed:
        shutil.rmtree(state.parent, ignore_errors=True)
        raise StorageError(
            f"the results need up to {needed / 1e9:.1f} GB and {state.parent.parent} has "
            f"{free / 1e9:.1f} GB left; make room, choose another folder, or cut the scene with "
            "--aoi"
        )


def _write_products(job: SceneJob, scores: ScoreFile, work: Path) -> Found:
    tags = {
        "CHANGEDET_VERSION": __version__,
        "CHANGEDET_MODEL_SHA256": job.model["sha256"],
        "CHANGEDET_THRESHOLD": f"{job.threshold:.6g}",
    }
    write_score_cog(scores, work / SCORE, tags=tags)
    counts = write_mask_cog(scores, work / MASK, threshold=job.threshold, tags=tags)
    if counts.changed + counts.unchanged == 0:
        shutil.rmtree(work, ignore_errors=True)
        raise DataError(
            f"no pixel of the {'area of interest' if job.region else 'common area'} has data in "
            f"both {job.pair.before.location} and {job.pair.after.location}; check their nodata "
            "values (gdalinfo) and where they overlap"
        )
    write_styles(work)
    options = job.request.polygons
    polygons = write_polygons(
        _changes(job, scores),
        work / file_name(options.format),
        grid=job.grid,
        options=options,
    )
    return Found(counts, polygons)


def _changes(job: SceneJob, scores: ScoreFile) -> Iterator[Change]:
    outliner = Outliner(job.grid)
    for _, strip in read_strips(scores):
        mask = (strip >= np.float32(job.threshold)).astype(np.uint8)
        mask[np.isnan(strip)] = IGNORED
        yield from outliner.add(mask, strip)
    yield from outliner.finish()


def _put_in_place(out: Path, work: Path) -> None:
    try:
        replace_content(out, work, marker=SUMMARY, leave=(_STATE,))
        shutil.rmtree(work)
    except OSError as error:
        raise StorageError(
            f"cannot put the results into {out}: {error.strerror or error}; "
            f"they are complete in {work}"
        ) from error
