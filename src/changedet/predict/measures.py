"""What is measured over a whole scene before its tiles are scored."""

from contextlib import closing
from typing import NamedTuple

from changedet.data.appearance import DomainDistance
from changedet.predict.registration import (
    MIN_CORRECTED_PX,
    Correction,
    are_dates_identical,
    check_correction,
    estimate_shift,
)
from changedet.predict.request import SceneRequest
from changedet.predict.tiling import TileEffect
from changedet.raster.pair import RasterPair
from changedet.raster.shift_estimate import ShiftEstimate


class Alignment(NamedTuple):
    """How the two dates lie on each other.

    Attributes:
        shift: Shift that was measured between them; None: it could not be.
        correction: What of it is corrected.
        are_dates_identical: Whether two files hold the same pixels.
    """

    shift: ShiftEstimate | None
    correction: Correction
    are_dates_identical: bool


class SceneMeasures(NamedTuple):
    """What is measured over a whole scene; parts of it that are scored elsewhere need the same.

    Attributes:
        alignment: How the two dates lie on each other.
        domain_distance: How far the pair is from what the model was trained on, by its looks.
        tile_effect: What tiles of another size than the training's change.
    """

    alignment: Alignment
    domain_distance: DomainDistance | None
    tile_effect: TileEffect | None


def measure_alignment(opened: RasterPair, request: SceneRequest) -> Alignment:
    """Measure the shift, and whether taking it back makes the pair better, if that is asked for.

    Args:
        opened: Both rasters.
        request: As asked.

    Raises:
        DataError: If a raster cannot be read.
    """
    grid = opened.grid
    shift = estimate_shift(opened.read, grid)
    correction = Correction()
    if request.coregister == "global":

        def measure(shift_px: tuple[float, float]) -> ShiftEstimate | None:
            with closing(opened.with_shift(shift_px)) as corrected:
                return estimate_shift(corrected.read, grid)

        is_resampled = opened.facts.resampled is not None
        smallest_px = 0.0 if is_resampled else MIN_CORRECTED_PX * opened.facts.coarsest_px
        correction = check_correction(shift, measure, smallest_px=smallest_px)
    identical = are_dates_identical(opened.read, grid) and not opened.facts.is_same_source
    return Alignment(shift, correction, identical)
