"""Which results of predictions a folder holds; light, so that a wrong folder is told at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from changedet.errors import DataError, ResultsError
from changedet.storage.markers import SUMMARY
from changedet.storage.results import read_content

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
