"""Open a catalogue of pairs of scenes, whatever it is written as."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from changedet.batch.formats import catalogue_format
from changedet.batch.stac_pairs import PairedScenes, PairingRule, PairItems
from changedet.batch.tables import CsvCatalogue, ParquetCatalogue
from changedet.errors import ConfigError
from changedet.storage.secrets import without_secrets

if TYPE_CHECKING:
    from changedet.batch.rows import RowCatalogue

__all__ = ["PairingRule", "open_catalogue"]


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
    kind = catalogue_format(location)
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
