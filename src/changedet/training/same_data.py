"""Whether all processes of a training see the same data, each on the disk of its machine."""

import hashlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from changedet.data.index import PairIndex
from changedet.data.labelled import LabelledPair
from changedet.data.mixture import MixturePair
from changedet.data.pair import PairPaths
from changedet.errors import DataError
from changedet.training.config import ExperimentConfig
from changedet.training.ranks import Ranks


class _Seen(NamedTuple):
    """What a process sees: how many pairs there are, a hash of each split, its machine."""

    counts: tuple[int, int]
    digests: tuple[str, str]
    host: str


def check_same_data(index: PairIndex, config: ExperimentConfig, ranks: Ranks) -> None:
    """Refuse processes that would train on different pairs.

    Compared are the pairs of the training and the validation split in their order: names, sizes in
    pixels, and sizes of files in bytes. Pixels are not read.

    Raises:
        DataError: In all processes, if one sees other pairs than the first.
    """
    if ranks.world == 1:
        return
    names = (config.data.train_split, config.data.val_split)
    splits = [index.split(name) for name in names]
    training, validation = splits
    own = _Seen(
        (len(training), len(validation)),
        (_digest(training), _digest(validation)),
        socket.gethostname(),
    )
    first, *others = ranks.gather(own)
    for rank, other in enumerate(others, start=1):
        if (other.counts, other.digests) == (first.counts, first.digests):
            continue
        place = next(
            number
            for number in range(len(names))
            if (other.counts[number], other.digests[number])
            != (first.counts[number], first.digests[number])
        )
        counts = other.counts[place], first.counts[place]
        how = (
            f"{counts[0]} pairs instead of {counts[1]}"
            if counts[0] != counts[1]
            else "pairs of other names or files of other sizes"
        )
        raise DataError(
            f"process {rank} (on {other.host}) sees other data in {index.root} than process 0 (on "
            f"{first.host}): in the split {names[place]!r} {how}; copy the same files to all "
            "machines, or give a folder that they share"
        )


def check_same_files(ranks: Ranks, path: Path) -> None:
    """Refuse processes that do not see the file that all of them resume from, or another one.

    Raises:
        DataError: In all processes, if one does not.
    """
    if ranks.world == 1:
        return
    size = path.stat().st_size if path.is_file() else None
    first, *others = ranks.gather((size, socket.gethostname()))
    for rank, (found, host) in enumerate(others, start=1):
        if found != first[0]:
            raise DataError(
                f"process {rank} (on {host}) does not see the {path} of process 0 (on {first[1]}), "
                "from which all of them resume; `out` must be a folder that all machines share"
            )


def _digest(pairs: Sequence[LabelledPair]) -> str:
    content = hashlib.sha256()
    for pair in pairs:
        words = [pair.name, str(pair.size()), *map(str, _bytes_of(pair))]
        content.update(repr(words).encode())
    return content.hexdigest()


def _bytes_of(pair: LabelledPair) -> Iterator[int]:
    """Sizes of the files of a pair that is made of files."""
    inner = pair.pair if isinstance(pair, MixturePair) else pair
    if not isinstance(inner, PairPaths):
        return
    files: list[Path] = [inner.before, inner.after]
    for path in [*files, *([] if inner.label is None else [inner.label])]:
        yield path.stat().st_size if path.is_file() else -1
