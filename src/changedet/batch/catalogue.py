"""Open a catalogue of pairs of scenes, whatever it is written as."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from changedet.batch.sources import is_address
from changedet.batch.stac_pairs import PairedScenes, PairingRule, PairItems
from changedet.batch.tables import CsvCatalogue, ParquetCatalogue
from changedet.errors import ConfigError, DataError
from changedet.storage.secrets import without_secrets
from changedet.storage.text import exists

if TYPE_CHECKING:
    from changedet.batch.rows import RowCatalogue

__all__ = ["PairingRule", "open_catalogue"]

_CSV: Final = (".csv", ".tsv", ".txt")
_PARQUET: Final = (".parquet", ".geoparquet", ".pq")
_STAC: Final = (".json", ".geojson", ".ndjson", ".jsonl", ".geojsonl", ".geojsons")


def open_catalogue(
    location: str | Path,
    *,
    pairing: PairingRule | None = None,
    asset: str | None = None,
    asset_after: str | None = None,
) -> RowCatalogue:
    """Open a catalogue; its items are read as they are asked for, a million in constant memory.

    Args:
        location: Path or address of a table (CSV, Parquet, GeoParquet) with the columns ``id``,
            ``before`` and ``after``, or of STAC items (item collection, collection, catalogue,
            lines of items, answer of a server): pairs with the assets ``before`` and ``after``, or
            scenes.
        pairing: How scenes become pairs; None: the catalogue holds pairs.
        asset: Of scenes, the asset that holds the image; None: ``visual``, or the only one that
            holds data.
        asset_after: The same of the later scenes; None: ``asset``.

    Raises:
        DataError: If it cannot be read, or columns are missing or mean nothing.
        ConfigError: If it is no such file, or pairing does not apply to it.
        MissingExtraError: If it needs a package that is not installed.
    """
    location = str(location)
    kind = _kind(location)
    if kind == "stac":
        if pairing is not None:
            return PairedScenes(location, pairing, asset=asset, asset_after=asset_after)
        if asset is not None or asset_after is not None:
            raise ConfigError(
                "`asset` chooses an asset of scenes that are paired; give `before_date`, "
                "`after_date` or `after_catalogue`, or remove it"
            )
        return PairItems(location)
    if pairing is not None or asset is not None or asset_after is not None:
        raise ConfigError(
            f"{without_secrets(location)} is a table, which names its pairs; dates, assets and "
            "other rules for pairs are for STAC collections: remove them"
        )
    return CsvCatalogue(location) if kind == "csv" else ParquetCatalogue(location)


def _kind(location: str) -> str:
    name = without_secrets(location)
    suffix = PurePosixPath(name).suffix.lower()
    for kind, suffixes in (("csv", _CSV), ("parquet", _PARQUET), ("stac", _STAC)):
        if suffix in suffixes:
            return kind
    if is_address(location):
        # Servers' collections have no endings.
        return "stac"
    path = Path(location)
    if path.is_dir():
        found = [file for file in ("collection.json", "catalog.json") if exists(path / file)]
        hint = f"give {path / found[0]}" if found else "give a catalogue file"
        raise DataError(f"{name}: is a folder; {hint}")
    if not exists(path):
        raise DataError(f"{name}: no such file; check the path")
    raise ConfigError(
        f"{name}: a catalogue is a table ({', '.join((*_CSV, *_PARQUET))}) or STAC "
        f"({', '.join(_STAC)}); rename the file, or convert it"
    )
