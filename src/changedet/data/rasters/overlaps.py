"""Labelled rasters that show the same ground, or touch, so that splits would leak."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from changedet.vector.footprints import do_meet, grown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from changedet.data.rasters.source import LabelledRaster


def find_overlaps(scenes: Sequence[LabelledRaster], *, gap_px: int) -> list[str]:
    """Warn of rasters closer than the gap whose blocks may go to different splits.

    Args:
        scenes: All labelled rasters of a manifest.
        gap_px: Distance that splits keep within a raster, in pixels.

    Returns:
        A sentence for each two of them.
    """
    warnings = []
    for first, second in combinations(scenes, 2):
        splits = {first.entry.split, second.entry.split}
        if len(splits) == 1 and None not in splits:
            continue
        names = f"{first.entry.name} and {second.entry.name}"
        remedy = "assign both to the same split in the manifest"
        if do_meet(first.grid, second.grid):
            warnings.append(
                f"{names} overlap on the ground, so the same place may be in two splits; {remedy}"
            )
        elif do_meet(grown(first.grid, gap_px), second.grid):
            warnings.append(
                f"{names} touch or lie closer than {gap_px} px on the ground, so neighbouring "
                f"places may be in two splits; {remedy}"
            )
    return warnings
