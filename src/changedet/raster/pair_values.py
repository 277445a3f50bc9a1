"""How the values of both dates are read, and what a sample of them says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from changedet.raster.units import (
    Conversion,
    UnitSample,
    higher_by_baseline_offset,
    settle_units,
)
from changedet.raster.value_survey import ValueFacts, percentiles_of, survey

if TYPE_CHECKING:
    from changedet.raster.geo_grid import Window
    from changedet.raster.info import RasterInfo
    from changedet.raster.pixel_rules import Alpha, Linear, NoData, PixelRules
    from changedet.raster.rescale import Limits
    from changedet.raster.value_survey import Survey

#: Types in which Sentinel-2 and the like are stored.
_DEEP: Final = ("uint16", "int16")
#: Shares of the values, in percent, between which most of an image lies.
MOST: Final = (2.0, 98.0)
_MIDDLE: Final = (25.0, 75.0)
# Of a normal distribution, 98 % lie within this many widths of the middle half around it.
_FAR_OUT: Final = 1.25


@dataclass(frozen=True)
class StretchFacts:
    """What a stretch does to one date.

    Attributes:
        limits: Values that become 0 and 255.
        below: Share of the values that lie below and are clipped, in [0, 1].
        above: The same above.
        most: The values between which 96 % of all lie.
        core: Limits that leave out what lies far from the middle half.
        middle_share: Part of the limits' range that the middle half of the values takes.
    """

    limits: Limits
    below: float
    above: float
    most: tuple[float, float]
    core: tuple[float, float]
    middle_share: float


@dataclass(frozen=True)
class PairValueFacts:
    """What a sample says of the values of both dates.

    Attributes:
        before: Of the earlier one.
        after: Of the later one.
        conversion: How they are brought to one unit, if they have two.
        offset_suspected: The date all of whose bands lie about 1000 above the other, as
            Sentinel-2's since processing baseline 04.00, although nothing declares it.
        stretches: What a stretch does to each date; None where there is none.
    """

    before: ValueFacts
    after: ValueFacts
    conversion: Conversion | None
    offset_suspected: Literal["before", "after"] | None
    stretches: tuple[StretchFacts | None, StretchFacts | None] = (None, None)


@dataclass(frozen=True)
class PairValues:
    """How both dates are read.

    Attributes:
        rules: For each date.
        facts: What a sample says; None where it was found out before.
        samples: Valid pixels of each date as they are read, (N, C).
    """

    rules: tuple[PixelRules, PixelRules]
    facts: PairValueFacts | None = None
    samples: tuple[NDArray[np.float32], ...] = ()

    def stretched(self, limits: tuple[Limits | None, Limits | None]) -> PairValueFacts | None:
        """Add what a stretch does to the facts."""
        if self.facts is None:
            return None
        before, after = (
            None if wanted is None or not len(values) else _stretch_facts(values, wanted)
            for values, wanted in zip(self.samples, limits, strict=True)
        )
        return replace(self.facts, stretches=(before, after))


def survey_pair(
    rasters: tuple[RasterInfo, RasterInfo],
    areas: tuple[Window, Window],
    *,
    nodata: NoData,
    alpha: Alpha,
    pixel_type: str,
) -> PairValues:
    """Look at the values of both dates and decide how they are read.

    Args:
        rasters: The earlier and the later one.
        areas: What of each will be read, in its pixels.
        nodata: What marks missing pixels besides what the files declare.
        alpha: Whether alpha bands tell which pixels hold data.
        pixel_type: Type of the values that the model takes.

    Raises:
        ImageError: If a file is damaged or its server fails.
    """
    before, after = (
        survey(raster, area, nodata=nodata, alpha=alpha)
        for raster, area in zip(rasters, areas, strict=True)
    )
    conversion = settle_units(_unit_sample(before), _unit_sample(after), pixel_type=pixel_type)
    suspected = None
    if conversion is None and {before.facts.dtype, after.facts.dtype} <= set(_DEEP):
        suspected = higher_by_baseline_offset(before.values, after.values)
    if conversion is not None and conversion.units:
        if conversion.converted == "before":
            before = _converted(before, conversion.units)
        else:
            after = _converted(after, conversion.units)
    facts = PairValueFacts(
        replace(before.facts, percentiles=percentiles_of(before.values)),
        replace(after.facts, percentiles=percentiles_of(after.values)),
        conversion,
        suspected,
    )
    return PairValues((before.rules, after.rules), facts, (before.values, after.values))


def _unit_sample(date: Survey) -> UnitSample:
    return UnitSample(date.facts.units, date.facts.dtype, date.values)


def _converted(date: Survey, units: tuple[Linear, ...]) -> Survey:
    factors = np.array([unit.factor for unit in units])
    offsets = np.array([unit.offset for unit in units])
    values = (date.values * factors + offsets).astype(np.float32)
    return replace(date, rules=replace(date.rules, units=units), values=values)


def _stretch_facts(values: NDArray[np.float32], limits: Limits) -> StretchFacts:
    low, high = limits
    most_low, middle_low, middle_high, most_high = np.percentile(
        values, (MOST[0], *_MIDDLE, MOST[1])
    )
    reach = _FAR_OUT * (middle_high - middle_low)
    return StretchFacts(
        limits,
        below=float((values < low).mean()),
        above=float((values > high).mean()),
        most=(float(most_low), float(most_high)),
        core=(float(max(most_low, middle_low - reach)), float(min(most_high, middle_high + reach))),
        middle_share=float((middle_high - middle_low) / (high - low)),
    )
