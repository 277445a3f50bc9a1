"""Where the files of a pair lie on disk: folders of the two dates and of the labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

from changedet.data.file_names import IMAGE_SUFFIXES, SPLIT_NAMES
from changedet.data.pair import PairPaths
from changedet.errors import DataError
from changedet.storage.text import first_few

Prefer = Literal["prepared", "original"]


class Layout(NamedTuple):
    """Names of the folders of the two dates; upper and lower case are the same.

    ``endings`` are those of the names of before, after and label where they share a folder.
    """

    name: str
    before: str
    after: str
    endings: tuple[str, str, str] = ("", "", "")


class LayoutFolders(NamedTuple):
    """The folders of a layout that were found; ``label`` is None if there is none."""

    layout: Layout
    before: Path
    after: Path
    label: Path | None

    @property
    def name(self) -> str:
        """The layout as the user sees it on disk."""
        if any(self.layout.endings):
            return self.layout.name
        parts = [self.before, self.after, *([] if self.label is None else [self.label])]
        return "/".join(part.name for part in parts)


@dataclass
class FoundPairs:
    """Pairs, and what is to be said about them.

    Attributes:
        pairs: Pairs that have all their files.
        faults: What makes the data set unusable, one sentence each.
        notes: What the user should know, a sentence each.
    """

    pairs: list[PairPaths] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


LAYOUTS: Final = (
    Layout("A/B", "A", "B"),
    Layout("time1/time2", "time1", "time2"),
    Layout("im1/im2", "im1", "im2"),
    Layout("T1/T2", "T1", "T2"),
    Layout("before/after", "before", "after"),
    Layout(
        "images (*_pre_disaster, *_post_disaster)",
        "images",
        "images",
        ("_pre_disaster", "_post_disaster", "_post_disaster_target"),
    ),
)
#: Written by ``changedet data prepare`` and by the preparation of the DASNet-V2 document (spec 6).
PREPARED_FOLDER: Final = "OUT1"
LABEL_FOLDERS: Final = ("label", "labels", "OUT", "mask", "masks", "GT", "targets")
_VIRTUAL: Final = frozenset({".vrt"})
UNDERSTOOD: Final = (
    "list files (train.txt, val.txt, test.txt with lines 'BEFORE AFTER LABEL') or folders "
    + ", ".join(layout.name for layout in LAYOUTS)
    + f" with labels in {', '.join((PREPARED_FOLDER, *LABEL_FOLDERS))}, "
    "directly in the folder or in train, val and test"
)


def subfolders(folder: Path) -> dict[str, Path]:
    """Visible subfolders by lower-case name.

    Raises:
        DataError: If the folder cannot be listed.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror}; check the path") from error
    return {path.name.lower(): path for path in found if not path.name.startswith(".")}


def find_folders(folder: Path, *, prefer: Prefer = "prepared") -> LayoutFolders | None:
    """Recognise the folders of the two dates and of the labels in ``folder``, or None."""
    inside = subfolders(folder)
    for layout in LAYOUTS:
        before, after = inside.get(layout.before.lower()), inside.get(layout.after.lower())
        if before and after and _has_endings(before, layout):
            prepared = (PREPARED_FOLDER,)
            names = prepared + LABEL_FOLDERS if prefer == "prepared" else LABEL_FOLDERS + prepared
            labels = [inside[name.lower()] for name in names if name.lower() in inside]
            return LayoutFolders(layout, before, after, labels[0] if labels else None)
    return None


def half_a_layout(folder: Path) -> str | None:
    """Say which date is missing if ``folder`` holds just one of a layout's two."""
    inside = subfolders(folder)
    for layout in LAYOUTS:
        before, after = inside.get(layout.before.lower()), inside.get(layout.after.lower())
        if before and not after:
            return f"{folder} has {before.name} but no {layout.after}"
        if after and not before:
            return f"{folder} has {after.name} but no {layout.before}"
    return None


def other_label_folders(folders: LayoutFolders) -> list[str]:
    """Names of label folders beside the one that is used."""
    if folders.label is None:
        return []
    inside = subfolders(folders.label.parent)
    names = [name.lower() for name in (PREPARED_FOLDER, *LABEL_FOLDERS)]
    return [inside[n].name for n in names if n in inside and inside[n] != folders.label]


def find_split_folders(folder: Path) -> dict[str, Path]:
    """Folders of the splits, in the order train, val, test."""
    inside = subfolders(folder)
    return {
        split: next(inside[name] for name in names if name in inside)
        for split, names in SPLIT_NAMES.items()
        if any(name in inside for name in names)
    }


def match_pairs(
    folders: LayoutFolders, *, labelled: bool, only: Iterable[str] | None = None
) -> FoundPairs:
    """Match the files of both dates and the labels by stem, whatever their extensions.

    Args:
        folders: Where to look.
        labelled: Whether every pair needs a label.
        only: Stems that are wanted, in this order; None takes all, sorted.
    """
    found = FoundPairs()
    of_before, of_after, of_label = folders.layout.endings
    before = images_by_stem(folders.before, found, ending=of_before)
    after = images_by_stem(folders.after, found, ending=of_after)
    in_labels = found if labelled else FoundPairs()
    labels = (
        {} if folders.label is None else images_by_stem(folders.label, in_labels, ending=of_label)
    )
    if labelled and folders.label is None:
        found.faults.append(
            f"{folders.before.parent} has no label folder; name it one of "
            f"{', '.join((PREPARED_FOLDER, *LABEL_FOLDERS))}"
        )
    if only is None:
        _require_partners(folders, {"before": before, "after": after, "label": labels}, found)
        wanted: Sequence[str] = sorted(before.keys() & after.keys())
    else:
        wanted = list(only)
        lost = [name for name in wanted if name not in before or name not in after]
        if lost:
            found.faults.append(
                f"{first_few(lost)} of the list: no image in {folders.before} and {folders.after}"
            )
    bare = [name for name in wanted if labelled and labels and name not in labels]
    if bare:
        found.faults.append(f"{folders.label}: no label for {first_few(bare)}")
    for name in wanted:
        if name in before and name in after and (name in labels or not labelled):
            found.pairs.append(PairPaths(name, before[name], after[name], labels.get(name)))
    return found


def _has_endings(folder: Path, layout: Layout) -> bool:
    stems = [path.stem for path in folder.iterdir()] if any(layout.endings) else [""]
    return all(any(stem.endswith(ending) for stem in stems) for ending in layout.endings[:2])


def images_by_stem(folder: Path, found: FoundPairs, *, ending: str = "") -> dict[str, Path]:
    """Visible images directly in ``folder`` by stem; two of one stem are a fault.

    Args:
        folder: Where to look.
        found: Gets the faults.
        ending: Of the stems that are wanted; it is left out.
    """
    images: dict[str, Path] = {}
    skipped: dict[str, int] = {}
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != "."]
    # A VRT among other images is made of them: a mosaic or a stack of bands.
    is_made = any(path.suffix.lower() in IMAGE_SUFFIXES - _VIRTUAL for path in files)
    taken = IMAGE_SUFFIXES - _VIRTUAL if is_made else IMAGE_SUFFIXES
    for path in files:
        if path.suffix.lower() not in taken:
            skipped[path.suffix] = skipped.get(path.suffix, 0) + 1
        elif not path.stem.endswith(ending):
            continue
        elif (name := path.stem.removesuffix(ending)) in images:
            found.faults.append(
                f"{folder}: {images[name].name} and {path.name} have the same stem, so it is "
                "unclear which one to use; remove one"
            )
        else:
            images[name] = path
    if not images:
        others = ", ".join(sorted(suffix or "no extension" for suffix in skipped))
        found.faults.append(
            f"{folder} has no images" + (f" (only files of {others})" if others else "")
        )
    return images


def _require_partners(
    folders: LayoutFolders, images: Mapping[str, Mapping[str, Path]], found: FoundPairs
) -> None:
    before, after, labels = images["before"], images["after"], images["label"]
    lone_before = [name for name in before if name not in after]
    lone_after = [name for name in after if name not in before]
    if before and after and lone_before:
        found.faults.append(f"{folders.after}: no partner for {first_few(lone_before)} of before")
    if before and after and lone_after:
        found.faults.append(f"{folders.before}: no partner for {first_few(lone_after)} of after")
    stray = [name for name in labels if name not in before and name not in after]
    if before and after and stray:
        found.faults.append(f"{folders.label}: no images for label {first_few(stray)}")
