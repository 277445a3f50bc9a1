"""List files: one pair per line, ``BEFORE AFTER LABEL`` (spec 6) or just a name."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from changedet.data.file_names import IMAGE_SUFFIXES, SPLIT_NAMES
from changedet.data.layouts import (
    FoundPairs,
    Prefer,
    find_folders,
    match_pairs,
)
from changedet.data.pair import PairPaths
from changedet.errors import DataError
from changedet.storage.text import exists, read_text

#: Ends the name of a prepared list: ``train1.txt`` (spec 6).
PREPARED_MARK = "1"

_LIST_FOLDER = "list"
_COMMENT = "#"


class ListFile(NamedTuple):
    """The list of a split, and the one it takes precedence over."""

    path: Path
    loser: Path | None


def find_lists(root: Path, *, prefer: Prefer = "prepared") -> dict[str, ListFile]:
    """Find the list of each split in ``root``, or else in its folder ``list``.

    Of ``train1.txt`` and ``train.txt`` the one that is preferred wins.
    """
    for folder in (root, root / _LIST_FOLDER):
        inside = {path.name.lower(): path for path in folder.glob("*.txt") if path.is_file()}
        found: dict[str, ListFile] = {}
        for split, names in SPLIT_NAMES.items():
            prepared = [inside.get(f"{name}{PREPARED_MARK}.txt") for name in names]
            original = [inside.get(f"{name}.txt") for name in names]
            order = prepared + original if prefer == "prepared" else original + prepared
            there = [path for path in order if path is not None]
            if there:
                found[split] = ListFile(there[0], there[1] if len(there) > 1 else None)
        if found:
            return found
    return {}


def read_list(path: Path, *, root: Path, labelled: bool, prefer: Prefer = "prepared") -> FoundPairs:
    r"""Read the pairs of a list.

    Columns are separated by tabs if there are any, else by spaces; ``/`` and ``\`` both separate
    folders; blank lines and lines from ``#`` on are skipped. Paths are relative to the list's
    folder, or else to ``root``. Lines of one column are names in the folders of ``root``.

    Raises:
        DataError: If the list cannot be read as text.
    """
    lines = read_text(path, error=DataError).splitlines()
    columns = {
        number: _columns(line)
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith(_COMMENT)
    }
    if not columns:
        return FoundPairs(faults=[f"{path} is empty; write one pair per line: BEFORE AFTER LABEL"])
    if all(len(entry) == 1 for entry in columns.values()):
        return _named_pairs(path, columns, root=root, labelled=labelled, prefer=prefer)
    found = FoundPairs()
    for number, entry in columns.items():
        where = f"{path}, line {number}"
        _add_line(found, where, entry, folders=(path.parent, root), labelled=labelled)
    found.pairs = _with_unique_names(path, found, root)
    return found


def _columns(line: str) -> list[str]:
    parts = line.split("\t") if "\t" in line else line.split()
    return [part.strip() for part in parts if part.strip()]


def _add_line(
    found: FoundPairs, where: str, entry: list[str], *, folders: tuple[Path, Path], labelled: bool
) -> None:
    wanted = "BEFORE AFTER LABEL" if labelled else "BEFORE AFTER or BEFORE AFTER LABEL"
    if len(entry) not in ((3,) if labelled else (2, 3)):
        hint = "; separate paths that contain spaces by tabs" if len(entry) > 3 else ""
        found.faults.append(f"{where}: expected {wanted}, got {len(entry)} columns{hint}")
        return
    paths = [_resolve(text, folders) for text in entry]
    missing = [path for path in paths if not exists(path)]
    if missing:
        found.faults.append(f"{where}: {missing[0]} does not exist; check the path")
        return
    label = paths[2] if len(paths) > 2 else None
    found.pairs.append(PairPaths(paths[0].stem, paths[0], paths[1], label))


def _resolve(text: str, folders: tuple[Path, Path]) -> Path:
    candidates = [folder / text.replace("\\", "/") for folder in folders]
    return next((path for path in candidates if exists(path)), candidates[0])


def _named_pairs(
    path: Path, columns: dict[int, list[str]], *, root: Path, labelled: bool, prefer: Prefer
) -> FoundPairs:
    folders = find_folders(root, prefer=prefer)
    if folders is None:
        number, entry = next(iter(columns.items()))
        return FoundPairs(
            faults=[
                f"{path}, line {number}: {entry[0]!r} is a name, but {root} has no folders of two "
                "dates to look it up in; write BEFORE AFTER LABEL"
            ]
        )
    listed = [Path(entry[0]) for entry in columns.values()]
    names = [file.stem if file.suffix.lower() in IMAGE_SUFFIXES else file.name for file in listed]
    found = match_pairs(folders, labelled=labelled, only=dict.fromkeys(names))
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        found.faults.append(f"{path} lists {twice[0]} more than once; remove the repetition")
    return found


def _with_unique_names(path: Path, found: FoundPairs, root: Path) -> list[PairPaths]:
    times = Counter(pair.name for pair in found.pairs)
    named = [
        pair if times[pair.name] == 1 else pair._replace(name=_long_name(pair.before, root))
        for pair in found.pairs
    ]
    repeated = [name for name, count in Counter(p.name for p in named).items() if count > 1]
    if repeated:
        found.faults.append(f"{path} lists {repeated[0]} more than once; remove the repetition")
    return named


def _long_name(before: Path, root: Path) -> str:
    inside = before.relative_to(root) if before.is_relative_to(root) else before
    return "_".join(part for part in inside.with_suffix("").parts if part != before.anchor)
