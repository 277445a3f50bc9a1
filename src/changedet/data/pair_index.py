"""The pairs of a data set by split, and what is known of the set as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from changedet.data.file_names import split_parts
from changedet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from changedet.data.labelled import LabelledPair
    from changedet.data.mixture import Mixture
    from changedet.data.rasters.manifest import RasterSettings
    from changedet.types import PixelType


@dataclass(frozen=True)
class PairIndex:
    """All pairs of a data set by split.

    Attributes:
        root: Folder of the data set, or manifest of the scenes.
        layout: How the files lie, in words.
        name: Name of the benchmark, or else of the folder.
        splits: Pairs by split, in the order train, val, test.
        notes: Sentences the user should read: which list won, how it was split.
        channels: Bands that are read of each image.
        bands: Their numbers in rasters, from 1; None: these are pictures, or all bands of scenes.
        bands_after: Those of the later date where they differ.
        pixel_type: Kind of the stored values.
        scenes: How scenes were read and cut; None: these are pairs of files.
        mixture: The data sets that are joined; None: there is one.
        data_sets: Those of a mixture by their names in it, each with its own pairs.
    """

    root: Path
    layout: str
    name: str
    splits: Mapping[str, tuple[LabelledPair, ...]]
    notes: tuple[str, ...] = ()
    channels: int = 3
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    pixel_type: PixelType = "uint8"
    scenes: RasterSettings | None = None
    mixture: Mixture | None = None
    data_sets: Mapping[str, PairIndex] = field(default_factory=dict)

    @property
    def pairs(self) -> tuple[LabelledPair, ...]:
        """Pairs of all splits, in the order of the splits."""
        return tuple(pair for pairs in self.splits.values() for pair in pairs)

    def split(self, name: str, *, setting: str = "split") -> tuple[LabelledPair, ...]:
        """Pairs of one split, or of several.

        Args:
            name: Of the split; several are joined, as ``train+val``, and come in that order.
            setting: Name of the setting that chose it, for the message.

        Raises:
            DataError: If there is no such split.
        """
        parts = (name,) if name in self.splits else split_parts(name)
        for part in parts:
            self._check_split(part, setting=setting)
        return tuple(pair for part in parts for pair in self.splits[part])

    def _check_split(self, name: str, *, setting: str) -> None:
        if name not in self.splits:
            raise DataError(
                f"{self.root} has no split {name!r}; choose one of: {', '.join(self.splits)} "
                f"(`{setting}=NAME`), or add the folder or list of that split"
            )
