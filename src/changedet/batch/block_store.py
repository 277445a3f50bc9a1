"""Scores of the blocks of a large scene, between the worker that made them and the one that joins.

They lie where the results go, as that is what all workers see.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from changedet.batch.names import BLOCKS, UNFINISHED
from changedet.batch.place import Place
from changedet.predict.blocks import BlockScores, join_blocks, score_block
from changedet.predict.flow import TileCounts, TileProgress

if TYPE_CHECKING:
    from changedet.batch.task import Block, Join
    from changedet.inference.detector import Detector
    from changedet.predict.request import SceneReport, SceneRequest


class BlockStore:
    """The blocks of one item.

    Args:
        place: Where the results go.
        work: Folder of this machine to work in.
        identifier: Of the item.
        fingerprint: From what its results are made: blocks of other inputs have other names.
    """

    def __init__(self, place: Place, work: Path, *, identifier: str, fingerprint: str) -> None:
        self._place = place
        self._folder = f"{BLOCKS}/{identifier}"
        self._work = work / UNFINISHED
        self._id = identifier
        self._print = fingerprint[:16]

    def score(
        self,
        request: SceneRequest,
        detector: Detector,
        part: Block,
        *,
        progress: TileProgress | None,
    ) -> BlockScores:
        """Score a block, unless a run that was killed has done so.

        Raises:
            ChangeDetError: As :func:`changedet.predict.blocks.score_block`.
        """
        name = self._name(part.number)
        done = self._place.read(f"{name}.json")
        if done is not None:
            tiles, pixels, seconds = json.loads(done)
            return BlockScores(TileCounts(*tiles), pixels, seconds)
        folder = self._work / f".{self._id}.{part.number}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            path, scored = score_block(
                request,
                detector,
                part.scene,
                number=part.number,
                folder=folder,
                progress=progress,
            )
            self._place.put(path, f"{name}.f32")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._place.write(f"{name}.json", json.dumps(scored).encode())
        return scored

    def join(self, request: SceneRequest, detector: Detector, part: Join) -> SceneReport:
        """Put all blocks together.

        Raises:
            ChangeDetError: As :func:`changedet.predict.blocks.join_blocks`.
        """
        count = len(part.scene.blocks)
        names = [f"{self._name(number)}.f32" for number in range(count)]
        if self._place.folder is not None:
            files = [self._place.folder / name for name in names]
            return join_blocks(request, detector, part.scene, files=files, scored=part.scored)
        folder = self._work / f".{self._id}.join"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            files = [folder / f"{number}.f32" for number in range(count)]
            for name, path in zip(names, files, strict=True):
                self._place.get(name, path)
            return join_blocks(request, detector, part.scene, files=files, scored=part.scored)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def clear(self) -> None:
        """Remove the blocks, also those of other inputs."""
        for name in self._place.sizes(self._folder):
            self._place.remove(f"{self._folder}/{name}")
        if self._place.folder is not None:
            shutil.rmtree(self._place.folder / self._folder, ignore_errors=True)

    def _name(self, number: int) -> str:
        return f"{self._folder}/{self._print}_{number}"
