"""What is said about the values of two rasters; :mod:`changedet.raster.remarks` puts it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from changedet.raster.remark import Remark, note, warning
from changedet.raster.value_survey import PALETTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from changedet.raster.facts import PairFacts
    from changedet.raster.fills import Fill
    from changedet.raster.pair_values import PairValueFacts, StretchFacts
    from changedet.raster.pixel_rules import Linear
    from changedet.raster.value_survey import ValueFacts

# A smaller share without data is nothing to speak of.
_SOME: Final = 0.001
# From this share of clipped values on, a stretch is a mistake, and below this part of its range
# that the middle half of the values takes.
_CLIPPED: Final = 0.25
_FLAT: Final = 0.05
# On CLCD, Sentinel-2, Landsat and NAIP pairs the medians differ by factors of up to 2.4 and the
# 99th percentiles by up to 1.7 (but for a median near 0).
_WILD: Final = 3.0
_WILD_BOTH: Final = 1.5
_WILD_SPREAD: Final = 5.0
_BASE_COLOURS: Final = ("red", "green", "blue")
_SHOWN_BANDS: Final = 4


def remarks_on_values(facts: PairFacts, values: PairValueFacts) -> Iterator[Remark]:
    """Say what a sample shows of the values of both dates, and what is done about it."""
    for date in (values.before, values.after):
        yield from _missing(date)
        yield from (_fill(date, fill) for fill in date.fills)
        yield from _flat(facts, date)
    yield from _given_nodata(values)
    if facts.is_mask_asked and not (values.before.alphas or values.after.alphas):
        yield warning(
            "values", '`alpha="mask"` has no effect: neither raster has an alpha band to use'
        )
    yield from _alphas(values)
    yield from _units(values)
    yield from _colours(facts, values)
    yield from _palettes(values)
    for date, stretch in zip((values.before, values.after), values.stretches, strict=True):
        if stretch is not None:
            yield from _stretch(date, stretch, is_automatic=facts.is_stretch_automatic)
        elif any(values.stretches):
            yield note("values", f"{date.raster} is not stretched: it holds 8-bit values")
    yield from _ranges(facts, values)


def _percent(share: float) -> str:
    return "less than 0.1 %" if 0 < share < _SOME else f"{100 * share:.1f} %"


def _missing(date: ValueFacts) -> Iterator[Remark]:
    declared = date.missing - date.not_numbers
    if declared >= _SOME:
        yield note(
            "values",
            f"{date.raster}: {_percent(declared)} of the sampled pixels have no data, as the file "
            "says (nodata value, mask or alpha band)",
        )
    if date.not_numbers > 0:
        yield note(
            "values",
            f"{date.raster}: {_percent(date.not_numbers)} of the sampled pixels hold NaN, infinite "
            "or impossibly large values and count as missing",
        )


def _fill(date: ValueFacts, fill: Fill) -> Remark:
    where = "in all bands" if fill.scope == "all" else "in a band"
    start = (
        f"{date.raster}: {_percent(fill.share)} of the sampled pixels hold {fill.value:g} {where}"
    )
    keep = '`nodata="none"` keeps them as data'
    if fill.kind == "marker":
        return note("values", f"{start}, far from all other values: taken as missing; {keep}")
    edge = f"{_percent(fill.edge_share)} of the edge"
    if fill.kind == "collar":
        return note("values", f"{start}, {edge}, ending sharply: taken as missing; {keep}")
    return warning(
        "values",
        f"{start} ({edge}): data, or missing without the file saying so? They count as data; set "
        f"`nodata={fill.value:g}` if they are missing",
    )


def _flat(facts: PairFacts, date: ValueFacts) -> Iterator[Remark]:
    """Say that there is no image where all pixels are alike."""
    flat = {
        channel: value
        for channel, value in enumerate(date.only_values, start=1)
        if value is not None
    }
    if flat and len(flat) == len(date.only_values):
        held = ", ".join(f"{value:g}" for value in dict.fromkeys(flat.values()))
        yield warning(
            "values",
            f"{date.raster}: all sampled pixels with data are alike ({held}): there is no image to "
            "compare, and what is marked as changed means nothing; check the file (gdalinfo -stats)"
            f", or set `nodata={next(iter(flat.values())):g}` if these pixels are missing",
        )
    # Baselines say themselves which channels they leave out.
    elif flat and facts.trained_on != "any":
        channel, value = next(iter(flat.items()))
        more = f" (and {len(flat) - 1} more)" if len(flat) > 1 else ""
        yield warning(
            "values",
            f"{date.raster}: channel {channel}{more} holds {value:g} in all sampled pixels; check "
            "the file (gdalinfo -stats), or choose other bands with `bands`",
        )


def _given_nodata(values: PairValueFacts) -> Iterator[Remark]:
    dates = (values.before, values.after)
    nodata = values.before.nodata
    if isinstance(nodata, str):
        return
    for date in dates:
        if date.nodata_share > 0:
            yield note(
                "values",
                f"{date.raster}: {_percent(date.nodata_share)} of the sampled pixels hold "
                f"{nodata:g} and count as missing",
            )
    if not any(date.nodata_share for date in dates):
        yield warning(
            "values", f"`nodata={nodata:g}` marks no sampled pixel of either date; check the value"
        )


def _alphas(values: PairValueFacts) -> Iterator[Remark]:
    used = [any(alpha.is_used for alpha in date.alphas) for date in (values.before, values.after)]
    for date, is_used, other in (
        (values.before, used[0], values.after),
        (values.after, used[1], values.before),
    ):
        for alpha in date.alphas:
            start = f"{date.raster}: band {alpha.band} is tagged as alpha, but "
            done = "used as a mask anyway" if alpha.is_used else "not used as a mask"
            if alpha.kind == "shades":
                yield warning(
                    "values",
                    f"{start}has many values between 0 and opaque, like data "
                    f"({_percent(alpha.zero_share)} are 0): {done}; choose the bands to read with "
                    '`bands`, or set `alpha="mask"` if it is a mask',
                )
            elif alpha.kind == "empty":
                yield warning(
                    "values",
                    f"{start}is 0 everywhere, which would hide the whole image: {done}; set "
                    '`alpha="mask"` to use it',
                )
        if is_used and not other.alphas:
            yield note("values", f"only {date.raster} has an alpha band; it is used as its mask")


def _units(values: PairValueFacts) -> Iterator[Remark]:
    names = {"before": values.before.raster, "after": values.after.raster}
    found = values.conversion
    if found is not None:
        name = names[found.converted]
        other = names["after" if found.converted == "before" else "before"]
        if found.outcome == "converted":
            yield note(
                "values",
                f"the dates declare different scales or offsets: the values of {name} are "
                f"converted to those of {other} ({_formula(found.units)})",
            )
        elif found.outcome == "assumed":
            yield warning(
                "values",
                f"{name} declares an offset and {other} none, and its values are too low to "
                f"contain it: the values of {name} are converted ({_formula(found.units)}); "
                "declare the scale and offset of both with gdal_edit.py if that is wrong",
            )
        else:
            yield warning(
                "values",
                f"{name} declares a scale or an offset that {other} does not have, and the values "
                "do not tell what those of the other are: they are compared as they are stored; "
                "declare both with gdal_edit.py -scale ... -offset ...",
            )
    if values.offset_suspected is not None:
        name = names[values.offset_suspected]
        yield warning(
            "values",
            f"all bands of {name} lie about 1000 above the other date, like Sentinel-2 since "
            "processing baseline 04.00; if that is so, declare it, and it will be subtracted: "
            f"gdal_edit.py -offset -1000 {name}",
        )


def _formula(units: Sequence[Linear]) -> str:
    texts = []
    for unit in units:
        offset = f" {'-' if unit.offset < 0 else '+'} {abs(unit.offset):g}" if unit.offset else ""
        texts.append(f"{unit.factor:g} * value{offset}" if unit.factor != 1 else f"value{offset}")
    different = list(dict.fromkeys(texts))
    if len(different) == 1:
        return different[0]
    more = ", ..." if len(texts) > _SHOWN_BANDS else ""
    return "by band: " + ", ".join(texts[:_SHOWN_BANDS]) + more


def _colours(facts: PairFacts, values: PairValueFacts) -> Iterator[Remark]:
    """Say that the dates have their bands in different orders, as far as the files tell."""
    before, after = values.before.colours, values.after.colours
    known = [(a, b) for a, b in zip(before, after, strict=False) if a and b]
    both = {a for a, _ in known} & {b for _, b in known}
    swapped = [(a, b) for a, b in known if a != b and a in both and b in both]
    if swapped:
        a, b = swapped[0]
        band = before.index(a)
        yield warning(
            "values",
            f"the dates have their bands in different orders, as the files say: channel "
            f"{band + 1} is {a} in {facts.before} and {b} in {facts.after}; give the order of the "
            "later one with `bands_after`",
        )
    elif before == after == _BASE_COLOURS[::-1] and not facts.are_bands_chosen:
        yield note(
            "values",
            "the bands are in the order blue, green, red, and models of pictures take red first; "
            "`bands=(3, 2, 1)` reverses them",
        )


def _palettes(values: PairValueFacts) -> Iterator[Remark]:
    """Say that numbers in a palette are no brightness."""
    for date in (values.before, values.after):
        if PALETTE in date.colours:
            yield warning(
                "values",
                f"{date.raster}: its values are numbers in a colour palette, such as classes, and "
                "differences between them mean little; turn them into colours first: "
                "gdal_translate -expand rgb",
            )


def _stretch(date: ValueFacts, facts: StretchFacts, *, is_automatic: bool) -> Iterator[Remark]:
    (low, high), (most_low, most_high) = facts.limits, facts.most
    clipped = facts.below + facts.above
    yield note(
        "values",
        f"{date.raster}: {low:.6g} to {high:.6g} become 0 to 255; {_percent(clipped)} of the "
        f"values are clipped ({_percent(facts.below)} below, {_percent(facts.above)} above)",
    )
    found = f"96 % of its values lie between {most_low:.6g} and {most_high:.6g}"
    kept = facts.core if is_automatic else facts.most
    advice = f"`stretch=({kept[0]:.4g}, {kept[1]:.4g})`"
    advice += " keeps the contrast" if is_automatic else ' or `stretch="auto"` keeps the contrast'
    if clipped >= _CLIPPED:
        yield warning(
            "values",
            f"the stretch clips {_percent(clipped)} of the values of {date.raster}, so that most "
            f"differences are lost: {found}; {advice}",
        )
    elif facts.middle_share < _FLAT:
        yield warning(
            "values",
            f"the stretch leaves the middle half of the values of {date.raster} only "
            f"{255 * facts.middle_share:.0f} of 255 levels, so that most differences are lost: "
            f"{found}; {advice}",
        )


def _ranges(facts: PairFacts, values: PairValueFacts) -> Iterator[Remark]:
    """Say that the values of the dates differ more than light and season explain."""
    before, after = values.before, values.after
    if before.percentiles is None or after.percentiles is None:
        return
    stretched = [stretch is not None for stretch in values.stretches]
    if any(stretched) and (facts.is_stretch_automatic or stretched[0] != stretched[1]):
        return
    factor = _wild_factor(
        np.median(before.percentiles, axis=0), np.median(after.percentiles, axis=0)
    )
    if factor is None:
        return
    more, less = (before, after) if factor > 1 else (after, before)
    measured = (
        f"the values of {more.raster} and {less.raster} differ by a factor of about "
        f"{max(factor, 1 / factor):.1f} (medians {_median(before)} before and {_median(after)} "
        f"after, {before.dtype} and {after.dtype})"
    )
    if facts.trained_on == "any":
        yield note("values", f"{measured}: baselines bring each date to its own scale")
        return
    yield warning(
        "values",
        f"{measured}: other units, another sensor or another exposure, which looks like change; "
        "bring both to one scale, or declare scale and offset with gdal_edit.py",
    )


def _median(date: ValueFacts) -> str:
    return f"{np.median([band[1] for band in date.percentiles or ()]):.4g}"


def _wild_factor(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Give how many times larger the values of one date are, if that is out of the ordinary.

    Args:
        first: Low, middle and high percentile of the earlier date.
        second: The same of the later one.
    """
    spreads = first[2] - first[0], second[2] - second[0]
    if min(spreads) <= 0:
        return None
    if min(first[0], second[0]) < 0:
        factor = spreads[0] / spreads[1]
        return factor if max(factor, 1 / factor) >= _WILD_SPREAD else None
    middle, high = (
        (one / two if one > 0 and two > 0 else 1.0)
        for one, two in zip(first[1:], second[1:], strict=True)
    )
    is_brighter = min(middle, high) >= _WILD_BOTH and middle >= _WILD
    is_darker = max(middle, high) <= 1 / _WILD_BOTH and middle <= 1 / _WILD
    if high >= _WILD or high <= 1 / _WILD or is_brighter or is_darker:
        return float(high if abs(np.log(high)) > abs(np.log(middle)) else middle)
    return None
