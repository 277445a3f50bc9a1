"""Settings of prediction as a catalogue writes them: for one item, in plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

from changedet.batch.item import BatchItem, OptionValue
from changedet.card import check_threshold
from changedet.choices import check_choice, nearest
from changedet.errors import ConfigError
from changedet.inference.working_gsd import check_gsd
from changedet.predict.request import Resampling, SceneRequest
from changedet.raster.pixel_rules import Alpha
from changedet.vector.region_text import check_region
from changedet.vector.selection import Format

_TRUE: Final = frozenset({"true", "yes", "1"})
_FALSE: Final = frozenset({"false", "no", "0", ""})


def _number(name: str, value: OptionValue) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except ValueError as error:
        raise ConfigError(f"option {name!r} takes a number, got {value!r}") from error


def _whole(name: str, value: OptionValue) -> int:
    number = _number(name, value)
    if number != int(number):
        raise ConfigError(f"option {name!r} takes a whole number, got {value!r}")
    return int(number)


def _text(name: str, value: OptionValue) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"option {name!r} takes a word, got {value!r}")
    return value


def _truth(name: str, value: OptionValue) -> bool:
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ConfigError(f"option {name!r} takes true or false, got {value!r}")
    return word in _TRUE


def _bands(name: str, value: OptionValue) -> tuple[int, ...]:
    # A single band is a number in many formats.
    parts = value.split(",") if isinstance(value, str) else [value]
    bands = tuple(_whole(name, part) for part in parts)
    if min(bands) < 1:
        raise ConfigError(f"option {name!r} takes band numbers from 1, such as 4,3,2")
    return bands


def _stretch(name: str, value: OptionValue) -> tuple[float, float] | str:
    if value == "auto":
        return "auto"
    parts = [_number(name, part) for part in str(value).split(",")]
    if len(parts) != 2 or parts[0] >= parts[1]:
        raise ConfigError(f"option {name!r} takes auto or LOW,HIGH with LOW < HIGH, got {value!r}")
    return parts[0], parts[1]


def _nodata(name: str, value: OptionValue) -> float | str:
    return str(value) if value in ("auto", "none") else _number(name, value)


def _coregister(name: str, value: OptionValue) -> str:
    if value in ("off", "global"):
        return str(value)
    return "global" if _truth(name, value) else "off"


def _threshold(name: str, value: OptionValue) -> float:
    return check_threshold(_number(name, value))


def _gsd(name: str, value: OptionValue) -> float:
    number = _number(name, value)
    check_gsd(number)
    return number


def _one_of(choices: tuple[str, ...]) -> Callable[[str, OptionValue], str]:
    def read(name: str, value: OptionValue) -> str:
        text = _text(name, value)
        check_choice(name, text, choices)
        return text

    return read


#: By the option's name: the field of a request, dotted for one of the polygons; and its reader.
_READERS: Final[Mapping[str, tuple[str, Callable[[str, OptionValue], Any]]]] = {
    "threshold": ("threshold", _threshold),
    "kind": ("kind", _text),
    "gsd_m": ("gsd_m", _gsd),
    "batch_size": ("batch_size", _whole),
    "tile_px": ("tile_px", _whole),
    "overlap_px": ("overlap_px", _whole),
    "bands": ("bands", _bands),
    "bands_after": ("bands_after", _bands),
    "stretch": ("stretch", _stretch),
    "nodata": ("nodata", _nodata),
    "alpha": ("alpha", _one_of(get_args(Alpha))),
    "resampling": ("resampling", _one_of(get_args(Resampling))),
    "coregister": ("coregister", _coregister),
    "region": ("region", _text),
    "region_crs": ("region_crs", _text),
    "polygons": ("polygons.format", _one_of(get_args(Format))),
    "min_area": ("polygons.min_area", _number),
    "fill_holes": ("polygons.fill_holes", _number),
    "simplify_px": ("polygons.simplify_px", _number),
}
#: The options by the names that the command line gives them, and others that say the same.
_ALSO: Final[Mapping[str, str]] = {
    "gsd": "gsd_m",
    "tile": "tile_px",
    "overlap": "overlap_px",
    "aoi": "region",
    "aoi_crs": "region_crs",
    "min_area_m2": "min_area",
    "fill_holes_m2": "fill_holes",
    "simplify": "simplify_px",
}
#: Every name that an option of an item may have.
OPTIONS: Final[frozenset[str]] = frozenset(_READERS) | frozenset(_ALSO)


def check_options(options: Mapping[str, OptionValue]) -> None:
    """Refuse options of an item that do not exist, or whose values make no sense.

    Raises:
        ConfigError: Naming the option.
        DataError: If a file that one of them names is not there.
    """
    nowhere = SceneRequest("", "", None, Path())
    request_for(nowhere, BatchItem("", "", "", options=options), Path())


def request_for(common: SceneRequest, item: BatchItem, out: Path) -> SceneRequest:
    """Put an item and its options into the request that is common to all items.

    Args:
        common: Model and settings of the whole run; its rasters and its folder count for nothing.
        item: The pair; its options replace those of the run.
        out: Folder for its results.

    Raises:
        ConfigError: If the item has an option that does not exist, or whose value makes no sense.
        DataError: If a file that one of them names is not there.
    """
    fields: dict[str, Any] = {}
    polygons: dict[str, Any] = {}
    for name, value in item.options.items():
        found = _READERS.get(_ALSO.get(name, name))
        if found is None:
            raise ConfigError(
                f"unknown option {name!r} of an item; {nearest(name, sorted(OPTIONS))}"
            )
        field, read = found
        part, _, of_polygons = field.rpartition(".")
        (polygons if part else fields)[of_polygons] = read(name, value)
    request = replace(
        common,
        before=item.before,
        after=item.after,
        out=out,
        polygons=replace(common.polygons, **polygons),
        **fields,
    )
    if "region" in fields or "region_crs" in fields:
        check_region(request.region, region_crs=request.region_crs)
    return request
