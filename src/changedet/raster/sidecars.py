"""Files beside a plain picture that say where it lies; found by their names, without GDAL."""

from __future__ import annotations

from pathlib import Path
from typing import Final

# What GDAL writes there is mostly statistics; these are a place.
_PLACES: Final = (b"<GeoTransform", b"<SRS", b"<GCPList")


def place_files(picture: Path) -> list[Path]:
    """Find the files beside a picture that say where it lies.

    World files of all usual names count: ``a.pgw``, ``a.pngw`` or ``a.wld`` beside ``a.png``; and
    ``a.png.aux.xml``, if it holds a place.

    Args:
        picture: PNG, JPEG or the like; it need not exist.
    """
    letters = picture.suffix[1:].lower()
    if not letters:
        return []
    endings = {f"{letters[0]}{letters[-1]}w", f"{letters}w", "wld"}
    found = [
        beside
        for ending in sorted(endings)
        for spelled in (ending, ending.upper())
        if (beside := picture.with_suffix(f".{spelled}")).is_file()
    ]
    described = picture.with_name(f"{picture.name}.aux.xml")
    if described.is_file() and any(word in described.read_bytes() for word in _PLACES):
        found.append(described)
    return found


def world_file_of(picture: Path) -> tuple[str, ...] | None:
    """Read the numbers of a picture's world file, as they stand; None if it has none."""
    for path in place_files(picture):
        if path.suffix != ".xml":
            return tuple(path.read_text("utf-8", errors="replace").split())
    return None
