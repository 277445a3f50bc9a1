"""What is said about a pair where a model comes in; see :mod:`changedet.raster.remarks`."""

from collections.abc import Iterator
from typing import Final, Literal

from changedet.inference.detector import Detector
from changedet.predict.registration import Correction
from changedet.predict.tiling import TileEffect, Tiling
from changedet.raster.remarks import (
    Remark,
    Remarks,
    note,
    remarks_on_alignment,
    remarks_on_reading,
    warning,
    warnings_of,
)
from changedet.raster.shift import ShiftEstimate
from changedet.vector.place import Kept

__all__ = (
    "Remark",
    "Remarks",
    "note",
    "remark_on_area",
    "remark_on_identical_dates",
    "remark_on_missing_bands",
    "remark_on_tiles",
    "remarks_on_alignment",
    "remarks_on_correction",
    "remarks_on_reading",
    "remarks_on_results",
    "remarks_on_shift",
    "warning",
    "warnings_of",
)

#: From this shift on, in pixels of the coarser date, the user is warned.
LARGE_SHIFT_PX: Final = 1.0


def remarks_on_shift(
    shift: ShiftEstimate | None, *, coregister: Literal["off", "global"], coarsest_px: float
) -> Iterator[Remark]:
    """Warn of a shift that is left as it is.

    Args:
        shift: As measured, if it could be.
        coregister: What was asked for.
        coarsest_px: Length of a pixel of the coarser date in pixels of the scene.
    """
    if coregister == "off" and shift and shift.length_px > LARGE_SHIFT_PX * coarsest_px:
        yield warning(
            "alignment",
            f"the dates lie {shift.length_px:.1f} px apart, which looks like change; use "
            '`coregister="global"` to correct it',
        )


def remarks_on_correction(correction: Correction) -> Iterator[Remark]:
    """Say what became of the correction of the shift, if one was asked for."""
    left = correction.remaining
    if correction.shift_px is not None and left is not None:
        yield note(
            "alignment",
            f"this shift is corrected; measured again, {left.length_px:.2f} px are left",
        )
    if correction.refusal is None:
        return
    why = {
        "unknown": "it could not be measured",
        "small": "it is so small that resampling would cost more",
        "uncertain": "it is smaller than the error of its measurement",
        "worse": "measured again with the correction, the dates lie no closer "
        + ("(too few tiles agree)" if left is None else f"({left.length_px:.2f} px)"),
    }[correction.refusal]
    make = note if correction.refusal == "small" else warning
    yield make("alignment", f"the shift is not corrected: {why}")


def remark_on_identical_dates() -> Remark:
    """Say that there is nothing to compare."""
    return warning(
        "place",
        "before and after hold the same values wherever they were compared, so nothing can have "
        "changed; check that they are two dates",
    )


def remarks_on_results(*, has_sidecar: bool, polygons: Kept) -> Iterator[Remark]:
    """Say where the place of the results stands, if not in the files themselves.

    Args:
        has_sidecar: Whether GeoTIFF keys cannot say it.
        polygons: How much of the CRS the polygon file keeps.
    """
    if has_sidecar:
        yield note(
            "place",
            "GeoTIFF cannot say all of the rasters' CRS: it stands in files .aux.xml next to the "
            "results, which must be moved and copied with them",
        )
    if polygons == "no datum parameters":
        yield note(
            "place",
            "the polygon file has the CRS without its parameters to WGS 84 (TOWGS84); the format "
            "geoparquet keeps them",
        )


def remark_on_area(share_outside: float) -> Remark:
    """Say that part of the area of interest, a share in [0, 1], has no pixels."""
    return note(
        "area",
        f"{100 * share_outside:.1f} % of the area of interest lies outside the common area",
    )


def remark_on_tiles(effect: TileEffect | None, detector: Detector, tiling: Tiling) -> Remark:
    """Say what tiles of another size than the training's change."""
    start = (
        f"the model uses attention and was trained on tiles of {detector.tile_px} px, not of "
        f"{tiling.tile_px}"
    )
    if effect is None:
        return warning("model", f"{start}; the scene is too small to measure the difference")
    return warning(
        "model",
        f"{start}: scores differ by {effect.mean_difference:.4f} on average, "
        f"{100 * effect.flipped_share:.2f} % of the sampled pixels cross the threshold",
    )


def remark_on_missing_bands(listed: str, *, raster: str, count: int) -> Remark:
    """Say that a raster lacks the bands that the model was trained on."""
    return warning(
        "values",
        f"the model was trained on bands {listed} of its rasters, but {raster} has {count}; set "
        "`bands` to choose which to read",
    )
