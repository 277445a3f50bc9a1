"""What a catalogue is written as; light, so that a wrong path is told at once."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

from changedet.batch.sources import is_address
from changedet.errors import ConfigError, DataError
from changedet.storage.secrets import without_secrets
from changedet.storage.text import exists

_CSV: Final = (".csv", ".tsv", ".txt")
_PARQUET: Final = (".parquet", ".geoparquet", ".pq")
_STAC: Final = (".json", ".geojson", ".ndjson", ".jsonl", ".geojsonl", ".geojsons")


def catalogue_format(location: str) -> str:
    """Tell what a catalogue is written as: csv, parquet or stac.

    Args:
        location: Path, or an address.

    Raises:
        ConfigError: If it is neither.
        DataError: If there is no such file, or it is a folder.
    """
    name = without_secrets(location)
    path = Path(location)
    if not is_address(location) and not exists(path):
        raise DataError(f"{name}: no such file; check the path")
    suffix = PurePosixPath(name).suffix.lower()
    for kind, suffixes in (("csv", _CSV), ("parquet", _PARQUET), ("stac", _STAC)):
        if suffix in suffixes:
            return kind
    if is_address(location):
        # Servers' collections have no endings.
        return "stac"
    if path.is_dir():
        found = [file for file in ("collection.json", "catalog.json") if exists(path / file)]
        hint = f"give {path / found[0]}" if found else "give a catalogue file"
        raise DataError(f"{name}: is a folder; {hint}")
    raise ConfigError(
        f"{name}: a catalogue is a table ({', '.join((*_CSV, *_PARQUET))}) or STAC "
        f"({', '.join(_STAC)}); rename the file, or convert it"
    )
