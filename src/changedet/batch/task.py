"""What goes to a worker and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from changedet.batch.item import BatchItem

if TYPE_CHECKING:
    # It loads much that a driver does not need.
    from changedet.predict.blocks import BlockScores, SceneBlocks

#: What became of an attempt: ``unchanged``: complete results of the same inputs were there;
#: ``cut``: the scene is large, and its blocks come next; ``part``: one of them is done.
State: TypeAlias = Literal["done", "unchanged", "failed", "cut", "part"]


@dataclass(frozen=True)
class Block:
    """One block of a large scene, to be scored.

    Attributes:
        scene: How the scene is cut.
        number: Of the block.
    """

    scene: SceneBlocks
    number: int


@dataclass(frozen=True)
class Join:
    """The scores of all blocks of a large scene, to be put together.

    Attributes:
        scene: How the scene is cut.
        scored: How each block went.
    """

    scene: SceneBlocks
    scored: tuple[BlockScores, ...]


@dataclass(frozen=True)
class Task:
    """One attempt at one item, or at a part of one.

    Attributes:
        item: The pair.
        attempt: Number of the attempt in this run, from 1.
        part: What of it; None: all.
    """

    item: BatchItem
    attempt: int = 1
    part: Block | Join | None = None


@dataclass(frozen=True)
class Fault:
    """Why an attempt failed.

    Attributes:
        kind: Name of the error's class, or ``Timeout`` and ``WorkerDied``.
        message: What was wrong and what to do.
        may_pass: Whether another attempt may succeed.
        is_of_storage: Whether results could not be written, which the worker's disk may be to
            blame for.
        is_of_inputs: Whether an input is another one than before.
    """

    kind: str
    message: str
    may_pass: bool = False
    is_of_storage: bool = False
    is_of_inputs: bool = False


@dataclass(frozen=True)
class Findings:
    """What is worth knowing of an item's results.

    Attributes:
        fingerprint: Tells from what they were made: inputs, model, settings.
        checksum: SHA-256 of the lines ``CHECKSUM  FILE`` that ``sha256sum mask.tif score.tif``
            prints for the item's folder.
        height: Of the change map in pixels.
        width: Of the change map in pixels.
        changed_share: Share of the pixels with data that have changed; None: no pixel has data.
        polygons: Number of polygons.
        threshold: Score from which on a pixel counts as changed.
        change_kind: Kind of change that was looked for; None where the model names none.
        warnings: Number of warnings; they stand in the item's summary.
        files: Sizes of the results in bytes, by file name.
        seconds: How long the item took.
        before_date: Date of the earlier scene that the catalogue stated, as it stands in the
            item's STAC item; None: it stated none.
        after_date: The same of the later one.
    """

    fingerprint: str
    checksum: str
    height: int
    width: int
    changed_share: float | None
    polygons: int
    threshold: float
    change_kind: str | None = None
    warnings: int = 0
    files: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    before_date: str | None = None
    after_date: str | None = None

    @property
    def mpx(self) -> float:
        """Millions of pixels of the change map."""
        return self.height * self.width / 1e6


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt at one item.

    Attributes:
        id: Of the item.
        state: See :data:`State`.
        started: When the attempt began, in UTC.
        seconds: How long it took.
        findings: About the results; None if there are none.
        fault: Why it failed; None: it did not.
        scene: How a large scene is cut, where it is.
        block: How a block of one went.
        is_redated: Whether the dates of the catalogue are new to results that are unchanged.
    """

    id: str
    state: State
    started: datetime
    seconds: float
    findings: Findings | None = None
    fault: Fault | None = None
    scene: SceneBlocks | None = None
    block: BlockScores | None = None
    is_redated: bool = False

    @property
    def mpx(self) -> float:
        """Millions of pixels that were scored for good."""
        if self.block is not None:
            return self.block.pixels / 1e6
        return self.findings.mpx if self.state == "done" and self.findings else 0.0


@dataclass(frozen=True)
class Pulse:
    """A sign of life of a worker.

    Attributes:
        life: Another number than before: work has gone on since.
        id: Of the item at hand; None: none.
        done: Tiles of the item that are scored.
        total: All of its tiles; 0: not known yet.
        pixels: All of its pixels.
    """

    life: int
    id: str | None = None
    done: int = 0
    total: int = 0
    pixels: int = 0

    @property
    def mpx_done(self) -> float:
        """Millions of pixels of the item that are scored."""
        return self.pixels / 1e6 * self.done / self.total if self.total else 0.0
