"""What was found under a folder or in a manifest, before any of it is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from changedet.data.labelled import LabelledPair
    from changedet.data.layouts import FoundPairs
    from changedet.data.rasters.manifest import RasterSettings
    from changedet.types import PixelType


class BandChoice(NamedTuple):
    """Which bands of rasters are wanted.

    Attributes:
        before: Band numbers from 1, in the model's order; None: all that hold no mask.
        after: Those of the later date, where they are numbered otherwise.
        origin: ``asked``: by the user; ``trained``: by the model, which holds for rasters only.
    """

    before: tuple[int, ...] | None = None
    after: tuple[int, ...] | None = None
    origin: Literal["asked", "trained"] = "asked"


@dataclass
class Survey:
    """What was found under a folder, faults included.

    :func:`changedet.data.index.index_pairs` refuses faults.
    """

    root: Path
    layout: str
    name: str
    splits: dict[str, Sequence[LabelledPair]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    channels: int = 3
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    pixel_type: PixelType = "uint8"
    scenes: RasterSettings | None = None

    def add(self, split: str, found: FoundPairs) -> None:
        """Take over the pairs of one split."""
        self.faults += found.faults
        self.notes += found.notes
        if found.pairs:
            self.splits[split] = found.pairs
