"""Scale and offset that rasters declare, and one unit for both dates where they differ.

A model is trained on stored values, so these stay as they are where both dates declare the same.
Where they differ, as for Sentinel-2 scenes from before and after processing baseline 04.00, whose
stored values lie 1000 apart on the same ground, one date is converted to the unit of the other.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from changedet.raster.pixel_rules import Linear

if TYPE_CHECKING:
    import rasterio
    from numpy.typing import NDArray

# Metadata of Sentinel-2 products: what to add to stored values, in their unit.
_ADD_OFFSET: Final = re.compile(r"(?:BOA|RADIO)_ADD_OFFSET(?:_VALUES?)?", re.IGNORECASE)
# Values of one unit differ by less than this factor between the dates.
_SAME_UNIT: Final = 5.0
# Below this part of a declared offset, values cannot contain it: they would be negative.
_WITHOUT_OFFSET: Final = 0.9
# What Sentinel-2 added in processing baseline 04.00, in stored values, and how near to it counts.
_BASELINE_OFFSET: Final = 1000.0
_NEAR_OFFSET: Final = 200.0
_NEAR_OFFSET_MEDIAN: Final = 400.0


@dataclass(frozen=True)
class DeclaredUnits:
    """What the stored values of the chosen bands stand for.

    Attributes:
        bands: For each, what turns a stored value into a physical one.
        is_declared: Whether the file says so; otherwise it is 1 * value + 0.
    """

    bands: tuple[Linear, ...]
    is_declared: bool

    @property
    def offsets_stored(self) -> tuple[float, ...]:
        """The offsets in units of the stored values."""
        return tuple(unit.offset / unit.factor for unit in self.bands)


@dataclass(frozen=True)
class Conversion:
    """How two dates with different units are brought to one.

    Attributes:
        outcome: ``converted``; ``assumed``, where one date declares nothing and its values tell
            that it lacks the offset; ``unclear``, where nothing is converted.
        converted: The date whose values are changed, or that declares a unit.
        units: For each band, what is done with its stored values.
    """

    outcome: Literal["converted", "assumed", "unclear"]
    converted: Literal["before", "after"]
    units: tuple[Linear, ...] = ()


@dataclass(frozen=True)
class UnitSample:
    """What is known of the stored values of one date.

    Attributes:
        declared: Its units.
        dtype: Type of its values.
        values: Sample of valid pixels, (N, C).
    """

    declared: DeclaredUnits
    dtype: str
    values: NDArray[np.float32]


def read_units(dataset: rasterio.DatasetReader, bands: tuple[int, ...]) -> DeclaredUnits:
    """Read scale and offset of the chosen bands, from GDAL's fields or Sentinel-2's metadata.

    Args:
        dataset: The open raster.
        bands: Numbered from 1.
    """
    units = []
    for band in bands:
        factor, offset = float(dataset.scales[band - 1]), float(dataset.offsets[band - 1])
        if not (math.isfinite(factor) and math.isfinite(offset) and factor != 0):
            factor, offset = 1.0, 0.0
        units.append(Linear(factor, offset))
    if all(unit == Linear() for unit in units):
        added = [_added_offset(dataset, band) for band in bands]
        units = [Linear(1.0, offset or 0.0) for offset in added]
        return DeclaredUnits(tuple(units), any(offset is not None for offset in added))
    return DeclaredUnits(tuple(units), is_declared=True)


def _added_offset(dataset: rasterio.DatasetReader, band: int) -> float | None:
    for tags in (dataset.tags(band), dataset.tags()):
        for name, text in tags.items():
            if _ADD_OFFSET.fullmatch(name):
                numbers = re.findall(r"-?\d+(?:\.\d+)?", text)
                # One for all bands, or one for each.
                index = band - 1 if len(numbers) > 1 else 0
                if index < len(numbers):
                    return float(numbers[index])
    return None


def settle_units(before: UnitSample, after: UnitSample, *, pixel_type: str) -> Conversion | None:
    """Decide how to bring both dates to one unit; None: they have one.

    The date that stays as it is stored is the one whose type is the model's, then the one without
    an offset (as in archives that were harmonised), then the earlier one.

    Args:
        before: The earlier date.
        after: The later one, of as many bands.
        pixel_type: Type of the values that the model was trained on.
    """
    one, two = before.declared, after.declared
    if one.bands == two.bands or not (one.is_declared or two.is_declared):
        return None
    is_byte = [sample.dtype == "uint8" for sample in (before, after)]
    both_declared = one.is_declared and two.is_declared
    same_factor = all(a.factor == b.factor for a, b in zip(one.bands, two.bands, strict=True))
    if is_byte[0] != is_byte[1]:
        return Conversion("unclear", "before" if one.is_declared else "after")
    if same_factor or both_declared:
        keep = _reference(before, after, pixel_type=pixel_type)
        source, target = (two, one) if keep == "before" else (one, two)
        units = tuple(
            Linear(given.factor / wanted.factor, (given.offset - wanted.offset) / wanted.factor)
            for given, wanted in zip(source.bands, target.bands, strict=True)
        )
        return Conversion("converted", "after" if keep == "before" else "before", units)
    if one.is_declared:
        return _beside_undeclared(before, after, date="before")
    return _beside_undeclared(after, before, date="after")


def _reference(
    before: UnitSample, after: UnitSample, *, pixel_type: str
) -> Literal["before", "after"]:
    fits = [sample.dtype == pixel_type for sample in (before, after)]
    if fits[0] != fits[1]:
        return "before" if fits[0] else "after"
    first, second = (sum(map(abs, sample.declared.offsets_stored)) for sample in (before, after))
    return "after" if second < first else "before"


def _beside_undeclared(
    declared: UnitSample, other: UnitSample, *, date: Literal["before", "after"]
) -> Conversion:
    """Compare values where one date declares another factor and the other one nothing."""
    unclear = Conversion("unclear", date)
    if not (len(declared.values) and len(other.values)):
        return unclear
    units = declared.declared.bands
    stored = np.percentile(declared.values, 99, axis=0)
    factors = np.array([unit.factor for unit in units])
    physical = factors * stored + np.array([unit.offset for unit in units])
    there = np.percentile(other.values, 99, axis=0)
    if _is_alike(physical, there) and not _is_alike(stored, there):
        return Conversion("converted", date, units)
    if not _is_alike(stored, there):
        return unclear
    offsets = declared.declared.offsets_stored
    # The offset of one date only: the darkest values of the other one tell whether it is in them.
    lowest = np.percentile(other.values, 0.1, axis=0)
    lacks = all(
        low < -_WITHOUT_OFFSET * offset for low, offset in zip(lowest, offsets, strict=True)
    )
    if all(offset < 0 for offset in offsets) and lacks:
        return Conversion("assumed", date, tuple(Linear(1.0, offset) for offset in offsets))
    return unclear


def _is_alike(one: NDArray[np.floating], two: NDArray[np.floating]) -> bool:
    first, second = float(np.median(one)), float(np.median(two))
    return first > 0 and second > 0 and 1 / _SAME_UNIT <= first / second <= _SAME_UNIT


def higher_by_baseline_offset(
    before: NDArray[np.float32], after: NDArray[np.float32]
) -> Literal["before", "after"] | None:
    """Tell whether every band of one date lies about 1000 above the other, as of Sentinel-2.

    Args:
        before: Sample of 16-bit values, (N, C).
        after: The same.
    """
    if not (len(before) and len(after)):
        return None
    dark = np.percentile(after, 1, axis=0) - np.percentile(before, 1, axis=0)
    middle = np.median(after, axis=0) - np.median(before, axis=0)
    for sign, date in ((1.0, "after"), (-1.0, "before")):
        is_near = np.abs(sign * dark - _BASELINE_OFFSET) < _NEAR_OFFSET
        is_near &= np.abs(sign * middle - _BASELINE_OFFSET) < _NEAR_OFFSET_MEDIAN
        if is_near.all():
            return "after" if date == "after" else "before"
    return None
