"""Find out, once and from the headers, how the rasters among the images of a data set are read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from changedet.data.images import count_bands, is_raster
from changedet.data.pair import PairPaths
from changedet.data.parallel import map_in_order
from changedet.data.rasters.tile_fills import find_tile_fills, remarks_on_fills, rules_for
from changedet.data.rasters.tile_oddities import find_oddities
from changedet.data.tile_reading import TileReading
from changedet.errors import ChangeDetError, ConfigError
from changedet.raster.band_reading import BandReading, settle_bands
from changedet.raster.pixel_rules import PixelRules
from changedet.storage.text import first_few

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from changedet.data.survey import BandChoice, Survey
    from changedet.types import PixelType


class _Probe(NamedTuple):
    """How an image is read, or why it cannot be."""

    path: Path
    found: BandReading | None
    fault: str = ""


def settle_tiles(found: Survey, choice: BandChoice, *, channels: int | None) -> None:
    """Settle the bands and the kind of values of all images; what does not fit is a fault.

    Args:
        found: Pairs of files; they learn how they are read.
        choice: The bands that are wanted.
        channels: Bands that the model takes; None: as many as there are.
    """
    pairs = [
        pair for split in found.splits.values() for pair in split if isinstance(pair, PairPaths)
    ]
    if not pairs:
        return
    if channels is None and choice.before is not None:
        channels = len(choice.before)
    if channels is None:
        channels = _first_channels(pairs)
    befores = _probe_all([pair.before for pair in pairs], choice.before, channels=channels)
    afters = _probe_all(
        [pair.after for pair in pairs], choice.after or choice.before, channels=channels
    )
    found.faults += [*_faults([*befores, *afters]), *_mixed_types([*befores, *afters])]
    converted = sum(
        before.units != after.units
        for (_, before, _), (_, after, _) in zip(befores, afters, strict=True)
        if before is not None and after is not None
    )
    if converted:
        found.notes.append(
            f"the dates of {converted} pairs declare different scales or offsets; where "
            "both declare one, one date is converted to the unit of the other"
        )
    readings = _without_fills(_readings(pairs, befores, afters), found)
    # What has a fault cannot be looked at any further.
    found.splits = {
        split: [
            pair._replace(reading=readings[pair])
            for pair in members
            if isinstance(pair, PairPaths) and pair in readings
        ]
        for split, members in found.splits.items()
    }
    first, second = befores[0].found, afters[0].found
    if first is not None and second is not None and channels is not None:
        found.channels, found.pixel_type, found.bands = channels, first.pixel_type, first.bands
        found.bands_after = None if second.bands == first.bands else second.bands
        found.notes.append(_how(first, second))


def _readings(
    pairs: Sequence[PairPaths], befores: Sequence[_Probe], afters: Sequence[_Probe]
) -> dict[PairPaths, TileReading]:
    """Settle how pairs are read that have no fault, and values of the same type as the first."""
    readings: dict[PairPaths, TileReading] = {}
    kind: PixelType | None = None
    for pair, (_, before, _), (_, after, _) in zip(pairs, befores, afters, strict=True):
        if before is None or after is None:
            continue
        kind = kind or before.pixel_type
        if before.pixel_type == after.pixel_type == kind:
            gaps = before.has_gaps or after.has_gaps
            readings[pair] = TileReading(
                before.channels,
                before.bands,
                after.bands,
                pixel_type=kind,
                has_gaps=gaps,
                has_units=before.units != after.units,
            )
    return readings


def _without_fills(
    readings: dict[PairPaths, TileReading], found: Survey
) -> dict[PairPaths, TileReading]:
    """Settle from a sample which pixels are missing, and say what is not as the files say."""
    tiles = [
        (path, bands)
        for pair, reading in readings.items()
        for path, bands in ((pair.before, reading.bands), (pair.after, reading.bands_after))
        if is_raster(path)
    ]
    fills = find_tile_fills(tiles) if tiles else ()
    found.notes += remarks_on_fills(fills)
    rules = rules_for(fills)
    are_masks, remarks = find_oddities(tiles)
    found.notes += remarks
    if not are_masks:
        rules = replace(rules or PixelRules(), uses_alpha=False)
    if rules is None:
        return readings
    return {
        pair: reading._replace(rules=rules, has_gaps=reading.has_gaps or rules.has_missing)
        for pair, reading in readings.items()
    }


def _first_channels(pairs: Sequence[PairPaths]) -> int | None:
    """Take the number of bands of the first image that can be opened, if there is one."""
    for pair in pairs:
        found = _probe(pair.before, None, channels=None).found
        if found is not None:
            return found.channels
    return None


def _probe_all(
    paths: list[Path], wanted: tuple[int, ...] | None, *, channels: int | None
) -> list[_Probe]:
    return list(map_in_order(partial(_probe, wanted=wanted, channels=channels), paths))


def _probe(path: Path, wanted: tuple[int, ...] | None, channels: int | None) -> _Probe:
    try:
        if is_raster(path):
            return _Probe(path, settle_bands(str(path), wanted, channels=channels))
        count = count_bands(path)
        bands = wanted or tuple(range(1, count + 1))
        if max(bands) > count or len(bands) != (channels or len(bands)):
            raise ConfigError(
                f"{path}: is a picture of {count} bands; the model takes {channels or len(bands)}, "
                "chosen with `bands`"
            )
        return _Probe(path, BandReading(bands, len(bands), band_count=count))
    except ChangeDetError as error:
        return _Probe(path, None, str(error))


def _faults(probes: Sequence[_Probe]) -> Iterator[str]:
    """Say each fault once, however many files have it."""
    alike: dict[str, list[str]] = defaultdict(list)
    for probe in probes:
        if probe.found is None:
            alike[probe.fault.replace(str(probe.path), "")].append(probe.fault)
    for faults in alike.values():
        more = len(faults) - 1
        yield faults[0] + (f" (and {more} more files like it)" if more else "")


def _mixed_types(probes: Sequence[_Probe]) -> Iterator[str]:
    first: dict[PixelType, _Probe] = {}
    for probe in probes:
        if probe.found is not None:
            first.setdefault(probe.found.pixel_type, probe)
    if len(first) > 1:
        kinds = ", ".join(f"{probe.path} {kind}" for kind, probe in first.items())
        yield (
            f"the images have values of different types ({kinds}); store all of them alike, for "
            "example with: gdal_translate -ot UInt16"
        )


def _how(before: BandReading, after: BandReading) -> str:
    how = f"images are read as rasters, {before.pixel_type}: {_listed(before)}"
    return how if after.bands == before.bands else f"{how}; after: {_listed(after)}"


def _listed(found: BandReading) -> str:
    if found.bands == tuple(range(1, found.band_count + 1)):
        return f"all {found.band_count} bands"
    return f"bands {first_few(found.bands, most=16)} of {found.band_count}"
