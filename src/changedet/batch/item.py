"""What a catalogue says about one pair of scenes, and what a catalogue is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

OptionValue: TypeAlias = str | float | bool


@dataclass(frozen=True)
class BatchItem:
    """One pair of scenes of a catalogue.

    Attributes:
        id: Names the item's folder of results, so it is safe as a folder name; unique in the
            catalogue.
        before: Path, URL or /vsi path of the earlier scene, as rasterio opens it.
        after: The later one.
        before_date: Date of the earlier scene, where the catalogue gives it.
        after_date: Date of the later one.
        options: Settings of prediction for this item alone (`threshold`, `kind`, `gsd_m`,
            `min_area_m2`, `aoi`, ...), which replace those of the whole run.
    """

    id: str
    before: str
    after: str
    before_date: datetime | None = None
    after_date: datetime | None = None
    options: Mapping[str, OptionValue] = field(default_factory=dict)


def in_utc(date: datetime | None) -> datetime | None:
    """Give a date in UTC; one without a time zone counts as UTC."""
    return date and (date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC))


class Catalogue(Protocol):
    """The items of an archive, read as they are needed: an archive may have a million."""

    @property
    def name(self) -> str:
        """What the catalogue was opened from, for messages and records."""
        ...

    def __iter__(self) -> Iterator[BatchItem]:
        """All items in the catalogue's own order, the same each time."""
        ...

    def count(self) -> int | None:
        """The number of items; None where it is not known without reading all."""
        ...
