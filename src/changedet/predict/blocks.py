"""A large scene in blocks that share no state, and are put together bit by bit as it was whole.

A block is some rows of the scene, all of its columns: so every tile goes through the network in the
same batch as if the scene were whole, and a pixel's scores are summed up in the same order. What is
measured over the scene, such as the shift between the dates, is measured once and given to all.
The row of tiles at a seam is scored for both blocks.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from changedet.errors import StorageError
from changedet.inference.detector import Detector
from changedet.inference.scorer import SceneFitted
from changedet.predict.flow import TileCounts, TileProgress, score_scene
from changedet.predict.journal import Journal
from changedet.predict.measures import SceneMeasures
from changedet.predict.rasters import OpenScene, ScoredScene, open_scene, write_results
from changedet.predict.remarks import Remarks
from changedet.predict.request import SceneReport, SceneRequest
from changedet.predict.stage_times import StageTimes
from changedet.predict.watch import InputChangedError
from changedet.predict.work_folder import WorkFolder, work_folder
from changedet.raster.geo_grid import Window
from changedet.raster.open import raster_shape
from changedet.raster.score_store import ScoreFile
from changedet.raster.tile_plan import TilePlan

_SCORES: Final = "score.f32"
# As in a file of scores.
_DTYPE: Final = np.dtype("<f4")
# Rows of scores that are copied at once.
_ROWS: Final = 256


class SceneBlocks(NamedTuple):
    """How a scene is cut, and what all of its blocks need to know; it can be sent anywhere.

    Attributes:
        blocks: Windows of the scene, top to bottom.
        measures: What was measured over the whole scene.
        fingerprint: Everything that decides the scores.
    """

    blocks: tuple[Window, ...]
    measures: SceneMeasures
    fingerprint: dict[str, Any]


class BlockScores(NamedTuple):
    """What became of a block.

    Attributes:
        tiles: Tiles that were scored, and those that were skipped.
        pixels: Pixels of the block.
        seconds: How long it took.
    """

    tiles: TileCounts
    pixels: int
    seconds: float


def is_large(request: SceneRequest, detector: Detector, *, split_px: int) -> bool:
    """Tell whether a scene is worth to be cut.

    A baseline measures the scene that it scores, so its scenes stay whole.

    Args:
        request: What to predict on.
        detector: The model.
        split_px: Pixels from which on a scene is cut.

    Raises:
        ImageError: If the raster before cannot be opened.
    """
    if isinstance(detector.scorer, SceneFitted):
        return False
    height, width = raster_shape(request.before)
    return height * width > split_px


def cut_scene(request: SceneRequest, detector: Detector, *, block_px: int) -> SceneBlocks:
    """Measure a scene and cut it.

    Args:
        request: What to predict on.
        detector: The model; not one that measures scenes.
        block_px: Pixels of a block, about.

    Raises:
        ConfigError: If an option is wrong.
        DataError: If a raster cannot be read, or the two do not fit each other or the model.
    """
    with ExitStack() as stack:
        opened = open_scene(request, detector, remarks=Remarks(), stack=stack)
        blocks = tuple(cut(opened.job.plan, block_px=block_px))
        return SceneBlocks(blocks, opened.job.measures, opened.fingerprint)


def cut(plan: TilePlan, *, block_px: int) -> list[Window]:
    """Cut the target of a plan where rows of tiles begin, into blocks of about the same height.

    Args:
        plan: The tiles of a scene.
        block_px: Pixels of a block, about; a block has one row of tiles at least.
    """
    target = plan.target
    most = max(1, -(-target.height * target.width // block_px))
    tops = [plan.tops[row] for row in plan.rows if plan.tops[row] > target.top]
    seams = [target.top]
    for number in range(1, most):
        wanted = target.top + number * target.height / most
        best = min(tops, key=lambda top: abs(top - wanted), default=target.top)
        if best > seams[-1]:
            seams.append(best)
    ends = [*seams[1:], target.bottom]
    return [
        Window(top, target.left, end - top, target.width)
        for top, end in zip(seams, ends, strict=True)
    ]


def score_block(
    request: SceneRequest,
    detector: Detector,
    scene: SceneBlocks,
    *,
    number: int,
    folder: Path,
    progress: TileProgress | None = None,
) -> tuple[Path, BlockScores]:
    """Score one block of a scene.

    Args:
        request: As for :func:`cut_scene`.
        detector: The same model.
        scene: What that gave.
        number: Of the block.
        folder: Where its scores go; nobody else uses it.
        progress: Called as tiles are done.

    Returns:
        The file of its scores, (height, width), float32, little-endian; and how it went.

    Raises:
        DataError: If a raster cannot be read, or has changed since the scene was cut.
        StorageError: If the scores cannot be written.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        opened = _open_again(request, detector, scene, stack=stack, remarks=Remarks())
        job, block = opened.job, scene.blocks[number]
        plan = replace(job.plan, target=block)
        grid = job.grid.crop(block.moved(-job.plan.target.top, -job.plan.target.left))
        scores = stack.enter_context(closing(ScoreFile.create(folder / _SCORES, grid)))
        tiles = score_scene(
            job.pair.read,
            job.inside,
            plan=plan,
            scorer=job.scorer,
            batch_size=job.tiling.batch_size,
            sink=scores,
            journal=Journal(folder / "state", {}, first_row=plan.rows.start),
            progress=progress,
            readers=job.readers,
        )
        opened.watch.check(job)
    done = BlockScores(tiles, block.height * block.width, time.monotonic() - started)
    return folder / _SCORES, done


def join_blocks(
    request: SceneRequest,
    detector: Detector,
    scene: SceneBlocks,
    *,
    files: Sequence[Path],
    scored: Sequence[BlockScores],
) -> SceneReport:
    """Put the scores of all blocks together and write what ``changedet predict`` writes.

    Args:
        request: As for :func:`cut_scene`.
        detector: The same model.
        scene: What that gave.
        files: Of the blocks' scores, in their order.
        scored: How each of them went.

    Raises:
        ConfigError: If ``out`` is not free.
        DataError: If a raster cannot be read, or has changed since the scene was cut.
        StorageError: If the results cannot be written.
    """
    with work_folder(request.out, existing=request.existing) as folder, ExitStack() as stack:
        remarks = Remarks()
        opened = _open_again(request, detector, scene, stack=stack, remarks=remarks)
        job = opened.job
        scores = _joined(opened, scene, files, folder=folder)
        # Those at a seam were scored twice.
        done = min(job.plan.count, sum(one.tiles.scored for one in scored))
        tiles = TileCounts(done, empty=job.plan.count - done, resumed=0)
        whole = ScoredScene(scores, tiles, sum(one.seconds for one in scored))
        return write_results(opened, whole, folder, remarks=remarks, stages=StageTimes())


def _open_again(
    request: SceneRequest,
    detector: Detector,
    scene: SceneBlocks,
    *,
    stack: ExitStack,
    remarks: Remarks,
) -> OpenScene:
    """Open a scene that was cut, if it is still the same."""
    opened = open_scene(request, detector, remarks=remarks, stack=stack, measures=scene.measures)
    # As text, in which a value that is no number is equal to itself.
    now, then = (
        {name: json.dumps(value) for name, value in fingerprint.items()}
        for fingerprint in (opened.fingerprint, scene.fingerprint)
    )
    if now != then:
        names = [name for name in now.keys() | then.keys() if now.get(name) != then.get(name)]
        pair = opened.job.pair
        raise InputChangedError(
            f"{pair.before.name} and {pair.after.name} are not what they were when the scene was "
            f"cut into blocks ({', '.join(sorted(names))}); it is cut anew"
        )
    return opened


def _joined(
    opened: OpenScene, scene: SceneBlocks, files: Sequence[Path], *, folder: WorkFolder
) -> ScoreFile:
    job = opened.job
    folder.clear_state()
    scores = ScoreFile.create(folder.state / _SCORES, job.grid)
    try:
        for block, path in zip(scene.blocks, files, strict=True):
            offset = block.top - job.plan.target.top
            for top, rows in _rows(path, block):
                scores.write_rows(offset + top, rows)
    except BaseException:
        scores.close()
        raise
    return scores


def _rows(path: Path, block: Window) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Read the scores of a block piece by piece: the first row of each piece, and its rows."""
    row_bytes = block.width * _DTYPE.itemsize
    try:
        with path.open("rb") as file:
            for top in range(0, block.height, _ROWS):
                count = min(_ROWS, block.height - top)
                content = file.read(count * row_bytes)
                if len(content) < count * row_bytes:
                    raise StorageError(f"{path} is cut short; run the command again")
                yield top, np.frombuffer(content, _DTYPE).reshape(count, block.width)
    except OSError as error:
        raise StorageError(
            f"cannot read {path}: {error.strerror or error}; run the command again"
        ) from error
