"""Read, score and write a scene at the same time, in bounded queues."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from changedet.data.parallel import load_ahead
from changedet.inference.scorer import Image, Scorer, checked_scores
from changedet.predict.journal import Journal
from changedet.predict.stage_times import StageTimes
from changedet.raster.geo_grid import Window
from changedet.raster.grid import mirror_to
from changedet.raster.nodata import fill_gaps
from changedet.raster.pair import PairPixels
from changedet.raster.tile_plan import Mask, RowBlender, Run, Scores, TilePlan
from changedet.types import Normalisation

#: Reads both dates in a window of the scene; called from several threads.
Read: TypeAlias = Callable[[Window], PairPixels]
#: Says which pixels of a window are asked for; called from several threads.
Inside: TypeAlias = Callable[[Window], Mask]

#: Threads that read where scoring is so fast that it would wait for one.
READERS = 2
_RUNS_AHEAD = 3
_WRITES_WAITING = 3
#: A killed run loses this much work and a row of tiles at most.
_SAVE_EVERY_S = 2.0
#: Scores are stored in steps of 1/8192: finer digits are noise that would double the file.
SCORE_STEPS = np.float32(8192)


class TilesDone(NamedTuple):
    """How far a scene is: tiles done (those of an earlier run included), all tiles, all pixels."""

    done: int
    total: int
    pixels: int


class TileCounts(NamedTuple):
    """Tiles scored, skipped because none of their pixels is needed, done by an earlier run."""

    scored: int
    empty: int
    resumed: int


#: Called at the beginning and as tiles are done.
TileProgress: TypeAlias = Callable[[TilesDone], None]


class ScoreSink(Protocol):
    """Takes the rows of the score map, top to bottom."""

    def write_rows(self, top: int, rows: Scores) -> None:
        """Store rows, (K, n, W)."""

    def sync(self) -> None:
        """Have all that was stored on the disk."""


class TileBatch(NamedTuple):
    """A run of tiles as read: those worth scoring, and where a score is wanted.

    ``columns`` numbers the tiles of ``before`` and ``after``; ``wanted`` covers the run's window.
    """

    run: Run
    columns: tuple[int, ...]
    before: tuple[Image, ...]
    after: tuple[Image, ...]
    wanted: Mask


def score_scene(
    read: Read,
    inside: Inside,
    *,
    plan: TilePlan,
    scorer: Scorer,
    batch_size: int,
    sink: ScoreSink,
    journal: Journal,
    readers: int = READERS,
    progress: TileProgress | None = None,
    stages: StageTimes | None = None,
) -> TileCounts:
    """Score a scene tile by tile, from where its journal stands.

    Pixels without data in either date count for nothing: both dates get the mean of the training
    images there, so that the network sees no difference, and no score is written.

    Args:
        read: Gives both dates on the scene's grid.
        inside: Gives the asked-for pixels, within or without data.
        plan: The tiles.
        scorer: Runs the model.
        batch_size: Tiles that go through the model at once, at most.
        sink: Gets the scores of the plan's target.
        journal: Keeps what is finished.
        readers: Threads that read. Each one opens the files for itself, and decodes again what lies
            at the edges of what others have read.
        progress: Called at the beginning and as tiles are done.
        stages: Gets the CPU time of reading, scoring, blending and writing.

    Returns:
        What became of the tiles.

    Raises:
        DataError: If a raster cannot be read.
        CheckpointError: If a score is no finite number.
        StorageError: If the scores cannot be written.
    """
    rows = range(journal.next_row, plan.rows.stop)
    begun = TilesDone(
        done=(journal.next_row - plan.rows.start) * len(plan.columns),
        total=plan.count,
        pixels=plan.target.height * plan.target.width,
    )
    tell = progress or (lambda done: None)
    tell(begun)
    done, scored = begun.done, 0
    stages = stages or StageTimes()

    def load(run: Run) -> TileBatch:
        with stages.thread("read"):
            return _load(run, read, inside, plan=plan, fill=scorer.card.normalisation)

    writer = _Writer(plan, sink, journal, stages=stages)
    # What the other threads do not use is scoring: the threads of a runtime belong to nobody.
    with stages.rest("score"), writer:
        runs = (run for row in rows for run in plan.runs(row, batch_size))
        batches = load_ahead(load, runs, ahead=_RUNS_AHEAD, threads=readers)
        # Closed at once, also after an error: no thread may read after the rasters are closed.
        with closing(batches):
            for batch in batches:
                scores: Scores = np.empty((0, *plan.tile_shape), np.float32)
                if batch.columns:
                    scores = checked_scores(scorer.score(batch.before, batch.after), scorer)
                writer.put(batch, scores)
                scored += len(batch.columns)
                done += len(batch.run.columns)
                tell(begun._replace(done=done))
    return TileCounts(scored, empty=done - begun.done - scored, resumed=begun.done)


def _load(
    run: Run, read: Read, inside: Inside, *, plan: TilePlan, fill: Normalisation
) -> TileBatch:
    """Read a run of tiles and cut it up; runs in a reading thread."""
    pixels = read(run.window)
    wanted = inside(run.window)
    wanted &= pixels.valid
    before, after, _ = fill_gaps(pixels, fill)
    columns = []
    tiles: list[tuple[Image, Image]] = []
    for column in run.columns:
        tile = plan.tile(run.row, column).moved(-run.window.top, -run.window.left)
        part = np.s_[tile.top : tile.bottom, tile.left : tile.right]
        if wanted[part].any():
            columns.append(column)
            tiles.append((mirror_to(before[part], tile.shape), mirror_to(after[part], tile.shape)))
    return TileBatch(
        run,
        tuple(columns),
        tuple(first for first, _ in tiles),
        tuple(second for _, second in tiles),
        wanted,
    )


class _Writer:
    """Blends and stores in its own thread; its errors are raised by the next call."""

    def __init__(
        self, plan: TilePlan, sink: ScoreSink, journal: Journal, *, stages: StageTimes
    ) -> None:
        self._blender = RowBlender(plan, resumed=journal.open_rows)
        self._last_column = plan.columns[-1]
        self._last_row = plan.rows[-1]
        self._sink = sink
        self._journal = journal
        self._stages = stages
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._waiting: deque[Future[None]] = deque()
        self._saved_at = time.monotonic()
        self._has_failed = False

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            while self._waiting and kind is None:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def put(self, batch: TileBatch, scores: Scores) -> None:
        """Queue the scores of a batch; waits while too many are queued."""
        while len(self._waiting) >= _WRITES_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._write, batch, scores))

    def _write(self, batch: TileBatch, scores: Scores) -> None:
        # After a failure the journal must not count further rows as finished.
        if not self._has_failed:
            self._has_failed = True
            self._store(batch, scores)
            self._has_failed = False

    def _store(self, batch: TileBatch, scores: Scores) -> None:
        with self._stages.thread("blend"):
            finished = self._blend(batch, scores)
        if finished is None:
            return
        top, rows = finished
        with self._stages.thread("write"):
            if rows.shape[1]:
                self._sink.write_rows(top, rows)
            row = batch.run.row
            self._blender.go_on(row)
            if row == self._last_row or time.monotonic() - self._saved_at > _SAVE_EVERY_S:
                self._sink.sync()
                self._journal.save(row + 1, self._blender.open_rows)
                self._saved_at = time.monotonic()

    def _blend(self, batch: TileBatch, scores: Scores) -> tuple[int, Scores] | None:
        """Add the scores of a batch; give the first row and the rows that its row finishes."""
        row = batch.run.row
        if not batch.wanted.all():
            self._blender.leave_out(batch.run.window, ~batch.wanted)
        for column, tile in zip(batch.columns, scores, strict=True):
            self._blender.add_scores(row, column, tile)
        if batch.run.columns[-1] != self._last_column:
            return None
        top, rows = self._blender.finish_row(row)
        if rows.shape[1]:
            rows *= SCORE_STEPS
            np.round(rows, out=rows)
            rows /= SCORE_STEPS
        return top, rows
