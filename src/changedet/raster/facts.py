"""What was noticed about a pair of rasters, as facts; sentences are made of them elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from changedet.raster.place_facts import PlaceFacts

if TYPE_CHECKING:
    from changedet.raster.pair_values import PairValueFacts
    from changedet.raster.read_plan import ResamplingMethod


_LEAST: Final = 1e-9


@dataclass(frozen=True)
class PairFacts:
    """What the user should know of how two rasters are read.

    A place that drops or changes something (a CRS, bands, values) records it here;
    :mod:`changedet.raster.remarks` says it.

    Attributes:
        before: Name of the earlier raster, without secrets.
        after: The same of the later one.
        place: Where they lie.
        source_px: Pixels of ``after`` for one pixel of ``before``, along x and y.
        is_same_source: Whether both dates are the same file.
        further_pages: Name and number of pages of each raster of which only one page is read.
        resampled: How ``after`` is resampled; None: its pixels lie on those of ``before``.
        is_stretch_unused: Whether a stretch was asked for that has nothing to do.
        trained_on: Type of the values that the model takes.
        other_types: Name and type of each raster that holds values of another type, which are
            used as they are.
        values: What a sample says of the values; None if it was not looked at.
        are_bands_chosen: Whether the bands were chosen, and not just all of them taken.
        is_stretch_automatic: Whether the limits of the stretch were measured for each date.
        is_mask_asked: Whether an alpha band was told to be a mask.
    """

    before: str
    after: str
    place: PlaceFacts = field(default_factory=PlaceFacts)
    source_px: tuple[float, float] = (1.0, 1.0)
    is_same_source: bool = False
    further_pages: tuple[tuple[str, int], ...] = ()
    resampled: ResamplingMethod | None = None
    is_stretch_unused: bool = False
    trained_on: str = "uint8"
    other_types: tuple[tuple[str, str], ...] = ()
    values: PairValueFacts | None = None
    are_bands_chosen: bool = False
    is_stretch_automatic: bool = False
    is_mask_asked: bool = False

    @property
    def coarsest_px(self) -> float:
        """Length of a pixel of the coarser date in pixels of the common area; at least 1."""
        return max(1.0, 1.0 / max(min(self.source_px), _LEAST))
