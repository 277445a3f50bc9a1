"""What was found under a folder or in a manifest, before any of it is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from changedet.data.labelled import LabelledPair
    from changedet.data.layouts import FoundPairs
    from changedet.data.rasters.manifest import RasterSettings
    from changedet.types import PixelType


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
    pixel_type: PixelType = "uint8"
    scenes: RasterSettings | None = None

    def add(self, split: str, found: FoundPairs) -> None:
        """Take over the pairs of one split."""
        self.faults += found.faults
        self.notes += found.notes
        if found.pairs:
            self.splits[split] = found.pairs
