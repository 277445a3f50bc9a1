"""Where results and their inputs lie, also after they were moved together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from changedet.errors import DataError, ImageError, ResultsError
from changedet.raster.layers import split_layer
from changedet.raster.open import is_remote
from changedet.storage.markers import SUMMARY
from changedet.storage.results import read_content
from changedet.storage.secrets import without_secrets

# Folders above a result in which an input is looked for that is named by a relative path.
_LEVELS: Final = 4
# How deep results are looked for in a folder, and how many of them are opened.
_DEPTH: Final = 3
_MOST: Final = 10_000


class Place(NamedTuple):
    """A folder with a result, and its name for people."""

    folder: Path
    name: str


def find_results(result: Path) -> list[Place]:
    """Find the results of predictions in a folder.

    Args:
        result: A result's folder or one of its files, or a folder of results.

    Raises:
        DataError: If there are none.
        ResultsError: If the only summary is damaged.
    """
    if result.is_file():
        if not (result.parent / SUMMARY).is_file():
            raise DataError(
                f"{result} is no part of a result; give the folder that `out` named at the "
                "prediction"
            )
        result = result.parent
    if not result.is_dir():
        raise DataError(f"there is no file or folder {result}; check the spelling")
    name = result.absolute().name
    if (result / SUMMARY).is_file():
        content = read_content(result / SUMMARY)
        if content.get("kind") != "images" and "pairs" not in content:
            return [Place(result, name)]
        pairs = [_inside(result, str(pair["name"])) for pair in content.get("pairs", ())]
        return [Place(folder, folder.name) for folder in pairs]
    found = []
    for folder in _summaries(result, _DEPTH):
        found.append(Place(folder, str(folder.relative_to(result))))
        if len(found) > _MOST:
            raise DataError(f"{result} has more than {_MOST:,} results; open a part of them")
    if not found:
        raise DataError(
            f"{result} has no result of changedet predict (no {SUMMARY} in it or in its folders); "
            "give the folder that `out` named at the prediction"
        )
    return found


def _inside(folder: Path, name: str) -> Path:
    """Give a folder in another one; a name from a file must not lead out of it."""
    place = folder / name
    if Path(name).name != name or name in ("", ".", ".."):
        raise DataError(f"{folder / SUMMARY} names a pair {name!r}, which is no name of a folder")
    return place


def _summaries(folder: Path, depth: int) -> Iterator[Path]:
    """Give the folders with results of single pairs, sorted."""
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return
    for entry in entries:
        if not entry.is_dir():
            continue
        if (entry / SUMMARY).is_file() and not _is_of_many(entry / SUMMARY):
            yield entry
        elif depth > 1:
            yield from _summaries(entry, depth - 1)


def _is_of_many(path: Path) -> bool:
    try:
        content: dict[str, Any] = read_content(path)
    except ResultsError:
        return False
    return content.get("kind") == "images"


def find_input(location: str, folder: Path) -> str:
    """Find an input of a result.

    Args:
        location: As the summary has it: a path, perhaps relative to where the command was run, or
            an address.
        folder: Of the result.

    Returns:
        Where it lies; the location as it was if it is nowhere to be found.
    """
    file, _ = split_layer(location)
    path = Path(file)
    if is_remote(location) or location.startswith("/vsi") or path.exists():
        return location
    roots = [folder.absolute(), *folder.absolute().parents][: _LEVELS + 1]
    # The whole relative path first; then the file's name, beside the result.
    if not path.is_absolute():
        for root in roots:
            if (root / file).exists():
                return str(root / location)
    for root in roots[:2]:
        if (root / path.name).is_file():
            return str(root / Path(location).name)
    return location


def signature(location: str, *, is_input: bool) -> str:
    """Say which state of a file is there now; of what is on a server, nothing is known.

    Args:
        location: Of the file.
        is_input: Whether it is one of the dates, which may lie elsewhere.

    Raises:
        ImageError: If it is gone.
    """
    file, _ = split_layer(location)
    if is_remote(location) or location.startswith("/vsi"):
        return "remote"
    try:
        status = Path(file).stat()
    except OSError as error:
        remedy = "say where it is now (`before`, `after`)" if is_input else "predict again"
        raise ImageError(
            f"{without_secrets(location)}: cannot be read ({error.strerror}); put the file back, "
            f"or {remedy}"
        ) from error
    return f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"
