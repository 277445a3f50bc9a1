"""What a row of a catalogue says, and what is wrong with it."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final, NamedTuple

from changedet.batch.item import BatchItem, OptionValue
from changedet.batch.options import OPTIONS, check_options
from changedet.batch.sources import resolve
from changedet.choices import nearest
from changedet.errors import ChangeDetError, DataError
from changedet.storage.secrets import without_secrets
from changedet.storage.text import first_few
from changedet.vector.region_text import is_region_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Columns that a catalogue must have.
REQUIRED: Final = ("id", "before", "after")
_DATES: Final = ("before_date", "after_date")
_ALSO: Final = {"date_before": "before_date", "date_after": "after_date"}
# Settings that may name a file beside the catalogue.
_REGIONS: Final = ("aoi", "region")
# Columns that are somebody's own.
_OWN: Final = "_"
# Their folders lie on file systems that tell no cases apart, or know no other characters.
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_LONGEST_ID: Final = 120
# Names that Windows keeps for devices.
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|\Z)", re.IGNORECASE)


class Row(NamedTuple):
    """One row of a catalogue.

    Attributes:
        place: Where it stands, such as ``row 3``; the first row of a table is that of the names.
        item: What it says; None if it is faulty.
        faults: What is wrong with it, and what to do.
        id: Of the pair, also of a faulty row; "" if there is none.
    """

    place: str
    item: BatchItem | None
    faults: tuple[str, ...] = ()
    id: str = ""


class RowCatalogue(ABC):
    """A :class:`~changedet.batch.item.Catalogue` that can also tell what is wrong with its rows.

    Attributes:
        name: What it was opened from, without passwords.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self.name = without_secrets(location)

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Give all rows in their order, faulty ones as well.

        Raises:
            DataError: If the catalogue cannot be read any further.
        """

    def count(self) -> int | None:
        """Give the number of rows; None where it is not known without reading all."""
        return None

    def __iter__(self) -> Iterator[BatchItem]:
        """Give all items.

        Raises:
            DataError: At the first row that is faulty.
        """
        for row in self.rows():
            if row.item is None:
                raise DataError(f"{self.name}, {row.place}: {row.faults[0]}")
            yield row.item


class Columns:
    """The columns of a table by what they mean.

    Args:
        names: As they stand in the table.
        table: Its path or address.

    Raises:
        DataError: If columns are missing, come twice, or mean nothing.
    """

    def __init__(self, names: Sequence[str], *, table: str) -> None:
        self._table = table
        self._names = [_meaning(name) for name in names]
        shown = without_secrets(table)
        twice = [name for name, times in Counter(self._names).items() if times > 1 and name]
        if twice:
            raise DataError(f"{shown}: has the column {twice[0]} twice; remove one of them")
        missing = [name for name in REQUIRED if name not in self._names]
        if missing:
            there = first_few([repr(name) for name in names], most=8) or "none"
            raise DataError(
                f"{shown}: has no column {' and no column '.join(missing)}; a catalogue has "
                f"{', '.join(REQUIRED)}, and this one has {there}; rename them"
            )
        known = {*REQUIRED, *_DATES, *OPTIONS, ""}
        strange = [name for name in self._names if name not in known]
        if strange:
            hint = nearest(strange[0], (*_DATES, *sorted(OPTIONS)))
            raise DataError(
                f"{shown}: the column {strange[0]!r} is no setting of an item; {hint} (the names "
                "of columns for your own use begin with _)"
            )

    def read(self, place: str, cells: Sequence[object]) -> Row:
        """Read one row; missing cells at its end are empty.

        Args:
            place: Where it stands.
            cells: One for each column: text, numbers, dates; None, NaN and "" are empty.
        """
        if len(cells) > len(self._names):
            fault = (
                f"has {len(cells)} cells and the table {len(self._names)} columns; put cells that "
                "hold the separator into quotes"
            )
            return Row(place, None, (fault,))
        values = {
            name: value
            for name, value in zip(self._names, map(_value, cells), strict=False)
            if name
        }
        return read_values(place, values, base=self._table)


def read_values(
    place: str, values: Mapping[str, object], *, base: str, is_resolved: bool = False
) -> Row:
    """Read what is known of one pair.

    Args:
        place: Where it stands.
        values: By the names of columns; None where there is no value.
        base: Path or address of the catalogue.
        is_resolved: Whether ``before`` and ``after`` are paths from where the program runs, not
            from where the catalogue lies.
    """
    faults: list[str] = []
    texts = {name: _text(values.get(name)) for name in REQUIRED}
    faults += [f"{name} is empty; fill it in" for name, text in texts.items() if not text]
    if texts["id"]:
        faults += check_id(texts["id"])
    if texts["before"] and texts["before"] == texts["after"]:
        faults.append("before and after are the same file; give two dates")
    dates: dict[str, datetime | None] = {}
    for name in _DATES:
        try:
            dates[name] = read_date(values.get(name))
        except DataError as error:
            faults.append(f"{name} {error}")
    first, last = dates.get("before_date"), dates.get("after_date")
    if first is not None and last is not None and first > last:
        faults.append(f"before_date {first:%Y-%m-%d} is later than after_date; swap the dates")
    options, wrong = _options(values, base=base)
    faults += wrong
    if faults:
        return Row(place, None, tuple(faults), texts["id"])
    item = BatchItem(
        id=texts["id"],
        before=texts["before"] if is_resolved else resolve(texts["before"], base=base),
        after=texts["after"] if is_resolved else resolve(texts["after"], base=base),
        before_date=first,
        after_date=last,
        options=options,
    )
    return Row(place, item, id=item.id)


def check_id(text: str) -> list[str]:
    """Say what is wrong with an id, which becomes the name of a folder."""
    is_safe = _ID.fullmatch(text) and not _DEVICES.match(text) and not text.endswith(".")
    if is_safe:
        return []
    return [
        f"the id {text[:80]!r} cannot name a folder everywhere; use up to {_LONGEST_ID} letters, "
        f"digits, -, _ and ., such as {safe_id(text)!r}"
    ]


def safe_id(text: str) -> str:
    """Make an id of any text; different texts may become the same id."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:_LONGEST_ID].rstrip(".")
    return f"x{plain}" if not plain or _DEVICES.match(plain) else plain


def read_date(value: object) -> datetime | None:
    """Read a date, or a date with a time; without a time zone it is UTC.

    Args:
        value: ISO 8601 text, a date of Python, or None.

    Raises:
        DataError: If it is none.
    """
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime.combine(value, time())
    else:
        try:
            moment = datetime.fromisoformat(str(value).strip())
        except ValueError:
            raise DataError(f"must be a date such as 2024-06-30, got {str(value)[:40]!r}") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _meaning(name: str) -> str:
    """Give what a column means; "" for what is not to be read."""
    plain = name.strip().lower()
    if plain.startswith(_OWN) or not plain:
        return ""
    plain = re.sub(r"[\s-]+", "_", plain)
    return _ALSO.get(plain, plain)


def _options(
    values: Mapping[str, object], *, base: str
) -> tuple[dict[str, OptionValue], list[str]]:
    options: dict[str, OptionValue] = {}
    for name, value in values.items():
        if name in REQUIRED or name in _DATES or value is None or value == "":
            continue
        plain = value if isinstance(value, str | float | bool) else str(value)
        if name in _REGIONS and is_region_file(str(plain)):
            plain = resolve(str(plain).strip(), base=base)
        options[name] = plain
    if not options:
        return options, []
    try:
        # Together: the CRS of an area says nothing by itself.
        check_options(options)
    except ChangeDetError as error:
        # What is a setting elsewhere is a column here.
        return options, [str(error).replace("`", "")]
    return options, []


def _value(cell: object) -> object:
    """Take what stands for nothing in tables as nothing."""
    if isinstance(cell, float) and math.isnan(cell):
        return None
    return cell


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
