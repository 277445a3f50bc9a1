"""The dates of a catalogue in the STAC item of a result."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pystac.utils

from changedet.batch.item import in_utc

if TYPE_CHECKING:
    from changedet.batch.item import BatchItem


class Dates(NamedTuple):
    """When the scenes of a pair were acquired, ISO 8601 in UTC; None where nobody says so."""

    before: str | None = None
    after: str | None = None


def dates_of(item: BatchItem) -> Dates:
    """Give the dates that a catalogue states of a pair."""
    return Dates(*(_text(date) for date in (item.before_date, item.after_date)))


def put_dates(content: dict[str, Any], dates: Dates, *, of_files: Dates) -> None:
    """Put the dates of a catalogue into a STAC item, in place of those that the rasters state.

    Where both dates are known, they are the item's time range; else its time is that at which it
    was made.

    Args:
        content: The item as JSON has it.
        dates: Those of the catalogue.
        of_files: Those of the rasters, for scenes of which the catalogue states none.
    """
    properties = content["properties"]
    used = Dates(*(stated or found for stated, found in zip(dates, of_files, strict=True)))
    for name, date in used._asdict().items():
        properties["changedet:inputs"][name]["acquired"] = date
    for name in ("start_datetime", "end_datetime"):
        properties.pop(name, None)
    properties["datetime"] = properties["created"]
    if used.before is not None and used.after is not None:
        first, last = sorted((used.before, used.after), key=pystac.utils.str_to_datetime)
        properties |= {"datetime": None, "start_datetime": first, "end_datetime": last}


def dates_of_files(summary: Mapping[str, Any]) -> Dates:
    """Give the dates that the rasters state, from the summary of a result."""
    inputs = summary["inputs"]
    return Dates(*(inputs[name]["acquired"] for name in Dates._fields))


def _text(date: datetime | None) -> str | None:
    moment = in_utc(date)
    return None if moment is None else pystac.utils.datetime_to_str(moment)
