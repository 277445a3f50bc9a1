"""The one place that decides what is said about a pair of rasters, and in which words.

What is measured or noticed reaches this module as a fact (:class:`changedet.raster.facts.PairFacts`
and the like), and leaves it as remarks. Every remark is told at once, stands in ``summary.json``,
and if it is a warning, is repeated at the end of a run. What concerns a model, too, is worded in
:mod:`changedet.predict.remarks`.
"""

import shlex
from collections.abc import Iterator
from typing import Final

from changedet.raster.align import Coverage
from changedet.raster.facts import PairFacts
from changedet.raster.place_facts import DatumShift
from changedet.raster.remark import Remark, Remarks, note, warning, warnings_of
from changedet.raster.shift_estimate import ShiftEstimate
from changedet.raster.value_remarks import remarks_on_values

__all__ = (
    "Remark",
    "Remarks",
    "note",
    "remarks_on_alignment",
    "remarks_on_reading",
    "warning",
    "warnings_of",
)


#: From this ratio of pixel lengths on, the user is warned.
LARGE_RATIO: Final = 4.0
#: How far datums of the same country typically lie apart, in metres: Xian 1980, Beijing 1954,
#: NAD27, ED50 or Pulkovo 1942 against WGS 84.
_BALLPARK_M: Final = 200
_TINY: Final = 1e-12


def remarks_on_reading(facts: PairFacts) -> Iterator[Remark]:
    """Say how two rasters are read."""
    yield from _remarks_on_place(facts)
    if facts.resampled is not None:
        yield note(
            "place",
            f"{facts.after} is resampled ({facts.resampled}) onto the grid of {facts.before}",
        )
    if facts.is_stretch_unused:
        yield note("values", "`stretch` has no effect: both rasters have 8-bit values")
    for name, dtype in facts.other_types:
        yield note(
            "values",
            f"the model was trained on {facts.trained_on}; {name} has {dtype} values, which are "
            "used as they are",
        )
    if facts.values is not None:
        yield from remarks_on_values(facts, facts.values)
    yield from _remarks_on_files(facts)


def _remarks_on_place(facts: PairFacts) -> Iterator[Remark]:
    place = facts.place
    if not place.has_crs:
        kept = ", and the results keep their coordinates, without a CRS"
        yield note(
            "place",
            "neither raster has a CRS: they are compared pixel by pixel"
            + (kept if place.has_position else ""),
        )
    for path in place.useless_world_files:
        yield warning(
            "place",
            f"{path} gives the image beside it no position: a world file holds six numbers, one "
            "a line; write it again, or remove it",
        )
    for path in place.other_world_files:
        yield warning(
            "place",
            f"{path} places the image beside it elsewhere than the image itself does, whose own "
            "position is used; remove the one that is wrong",
        )
    for path in place.unread_prj:
        yield warning(
            "place",
            f"{path} is not read as the CRS of the image beside it; if it is, write it into the "
            f"image: gdal_edit.py -a_srs {shlex.quote(path)} IMAGE",
        )
    if place.unrelated_crs is not None:
        yield note(
            "place",
            f"no way leads from the CRS of the rasters ({place.unrelated_crs}) to longitude and "
            "latitude on Earth: the STAC item has no location, the ground sample distance is not "
            "known, and areas are measured in the CRS",
        )
    if place.is_beyond_crs:
        yield warning(
            "place",
            f"{facts.before} lies outside of where its CRS is defined; check its coordinates and "
            "CRS (gdalinfo), and correct a wrong one with gdal_edit.py -a_srs",
        )
    if place.datum_shift is not None:
        yield from _remarks_on_datum(place.datum_shift, gsd_m=place.gsd_m)
    ratio = max(*facts.source_px, *(1 / max(number, _TINY) for number in facts.source_px))
    if ratio > LARGE_RATIO:
        finer, coarser = ("after", "before") if max(facts.source_px) > 1 else ("before", "after")
        yield warning(
            "place",
            f"a pixel of {coarser} is {ratio:.3g} times as long as one of {finer}: what only the "
            "finer date can show looks like change; compare dates of similar resolution, or "
            "average the finer one first (gdalwarp -r average -tr)",
        )


def _remarks_on_files(facts: PairFacts) -> Iterator[Remark]:
    if facts.is_same_source:
        yield warning(
            "place",
            f"before and after are the same file ({facts.before}), so nothing can have changed",
        )
    for name, pages in facts.further_pages:
        yield warning(
            "place",
            f"{name} holds {pages} images, of which the first is read; choose another one by its "
            f"number ({name}#2)",
        )


def _remarks_on_datum(shift: DatumShift, *, gsd_m: float | None) -> Iterator[Remark]:
    """Say how exactly one CRS can be brought to the other."""
    names = f"between the CRS of the dates ({shift.after} and {shift.before})"

    def in_pixels(metres: float) -> str:
        return "" if gsd_m is None else f", that is {metres / gsd_m:,.0f} pixels"

    remedy = (
        f"; install the grid files {', '.join(shift.missing_grids)} (projsync) for a better one"
        if shift.missing_grids
        else ""
    )
    if shift.is_ballpark:
        yield warning(
            "alignment",
            f"PROJ knows only a ballpark transformation {names}, which takes their datums for the "
            f"same: one date may lie up to some {_BALLPARK_M} m off{in_pixels(_BALLPARK_M)}"
            + (remedy or "; check the residual shift, or bring both into one CRS by other means"),
        )
    elif shift.accuracy_m is None:
        yield note("alignment", f"how exact the transformation {names} is, PROJ does not know")
    elif gsd_m is None or shift.accuracy_m > gsd_m:
        yield note(
            "alignment",
            f"the transformation {names} is accurate to {shift.accuracy_m:g} m"
            f"{in_pixels(shift.accuracy_m)}{remedy}",
        )


def remarks_on_alignment(
    coverage: Coverage,
    shape: tuple[int, int],
    shift: ShiftEstimate | None,
) -> Iterator[Remark]:
    """Say how two rasters lie over each other.

    Args:
        coverage: Shares of the rasters that are common.
        shape: Height and width of the common area.
        shift: What was measured, if it could be.
    """
    height, width = shape
    yield note(
        "alignment",
        f"common area {width}x{height} px: {100 * coverage.before:.1f} % of before, "
        f"{100 * coverage.after:.1f} % of after",
    )
    if shift is None:
        yield note(
            "alignment",
            "the shift between the dates could not be measured (too little overlap, or too few "
            "tiles that agree)",
        )
        return
    yield note(
        "alignment",
        f"residual shift of after: {shift.right_px:+.2f} px right, {shift.down_px:+.2f} px down "
        f"(spread {shift.spread_px:.2f} px, {shift.tiles_used} of {shift.tiles_tried} tiles)",
    )
