"""Which pairs of one split are training pairs too: what makes figures on them too good."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from changedet.data.file_names import split_parts
from changedet.data.mixture import MixturePair, as_files
from changedet.data.pair import PairPaths
from changedet.data.parallel import map_in_order
from changedet.data.tools.near_duplicates import find_near_duplicates, make_thumbnails
from changedet.errors import ImageError
from changedet.storage.text import first_few

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from changedet.data.labelled import LabelledPair
    from changedet.data.labels.encoding import LabelEncoding

#: ``identical``: they have an image in common; ``look alike``: they show the same place in the same
#: frame, by :func:`changedet.data.tools.near_duplicates.find_near_duplicates`.
LeakKind = Literal["identical", "look alike"]

# Looking for pairs that look alike means to read them all: below this many pixels of before images
# that takes seconds.
_CHEAP_PIXELS = 2**26
# Copies that were stored again, mirrored or recoloured correlate more than this. Two images of
# little structure may exceed the limit of the accuracy benchmark, which one looks through by hand.
_COPY_CORRELATION = 0.98


@dataclass(frozen=True)
class Leak:
    """A pair of another split that is a training pair, too.

    Attributes:
        split: The other split.
        name: Name of the pair in it.
        training: Name of the training pair.
        kind: How the two were found to be the same.
    """

    split: str
    name: str
    training: str
    kind: LeakKind


def find_leaks(
    splits: Mapping[str, Sequence[LabelledPair]],
    *,
    train_split: str = "train",
    encoding: LabelEncoding,
    channels: int = 3,
) -> tuple[Leak, ...]:
    """Find pairs of other splits that are training pairs, too, as far as that is cheap to know.

    Files of the same content are found in any data set: only files of equal size are read. Pairs
    that look alike are looked for in single data sets that are read within seconds. Blocks of
    scenes are left out: their splits keep a distance.

    Args:
        splits: Pairs by split, as an index holds them.
        train_split: Name of the split that is trained on, or of several, as ``train+val``.
        encoding: What the labels' values mean.
        channels: Channels of the images.

    Returns:
        One leak for each pair that leaks, in the order of the splits and pairs.

    Raises:
        DataError: If a file cannot be read.
    """
    files = {
        split: [files for pair in pairs if (files := as_files(pair)) is not None]
        for split, pairs in splits.items()
    }
    training = [pair for part in split_parts(train_split) for pair in files.pop(part, [])]
    if not training or not any(files.values()):
        return ()
    found = {(leak.split, leak.name): leak for leak in _identical(training, files)}
    everything = sum(map(len, files.values())) + len(training)
    is_mixture = any(
        isinstance(pair, MixturePair)
        for part in split_parts(train_split)
        for pair in splits.get(part, ())
    )
    if not is_mixture and everything * math.prod(training[0].size()) <= _CHEAP_PIXELS:
        for leak in _alike(training, files, encoding=encoding, channels=channels):
            found.setdefault((leak.split, leak.name), leak)
    return tuple(
        found[split, pair.name]
        for split, pairs in files.items()
        for pair in pairs
        if (split, pair.name) in found
    )


def describe_leaks(leaks: Sequence[Leak], *, pairs: Mapping[str, int]) -> list[str]:
    """Say how many pairs of each split are training pairs, too.

    Args:
        leaks: What :func:`find_leaks` found.
        pairs: Number of pairs of each split.
    """
    sentences = []
    for split, number in pairs.items():
        own = [leak for leak in leaks if leak.split == split]
        if not own:
            continue
        parts = []
        for kind, words in (
            ("identical", "have an image in common with"),
            ("look alike", "look like"),
        ):
            some = [f"{leak.name} = {leak.training}" for leak in own if leak.kind == kind]
            if some:
                parts.append(f"{len(some)} of {number} pairs {words} training pairs")
                parts[-1] += f" ({first_few(some)})"
        sentences.append(
            f"leak: {split}: {'; '.join(parts)}; figures on this split will be too good"
        )
    return sentences


def _identical(
    training: Sequence[PairPaths], others: Mapping[str, Sequence[PairPaths]]
) -> list[Leak]:
    sizes: dict[int, list[tuple[Path, str]]] = defaultdict(list)
    for pair in training:
        for path in _images(pair):
            sizes[_size(path)].append((path, pair.name))
    wanted = [
        (path, split, pair.name)
        for split, pairs in others.items()
        for pair in pairs
        for path in _images(pair)
        if _size(path) in sizes
    ]
    candidates = {_size(path) for path, _, _ in wanted}
    held = [entry for size in candidates for entry in sizes[size]]
    digests = map_in_order(_digest, [path for path, _ in held])
    holders: dict[bytes, str] = {}
    for (_, name), digest in zip(held, digests, strict=True):
        holders.setdefault(digest, name)
    theirs = map_in_order(_digest, [path for path, _, _ in wanted])
    return [
        Leak(split, name, holders[digest], "identical")
        for (_, split, name), digest in zip(wanted, theirs, strict=True)
        if digest in holders
    ]


def _alike(
    training: Sequence[PairPaths],
    others: Mapping[str, Sequence[PairPaths]],
    *,
    encoding: LabelEncoding,
    channels: int,
) -> list[Leak]:
    ours = make_thumbnails(training, encoding=encoding, channels=channels)
    found = []
    for split, pairs in others.items():
        theirs = make_thumbnails(pairs, encoding=encoding, channels=channels)
        found += [
            Leak(
                split,
                near.name,
                near.other,
                "identical" if near.relation == "identical" else "look alike",
            )
            for near in find_near_duplicates(theirs, ours, limit=_COPY_CORRELATION, shifts="none")
        ]
    return found


def _images(pair: PairPaths) -> tuple[Path, Path]:
    return pair.before, pair.after


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise ImageError(f"cannot open {path}: {error.strerror}; check the path") from error


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}; check the file") from error
