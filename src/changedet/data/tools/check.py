"""Look at every file of a data set and tell what is wrong with it, all at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from functools import partial, reduce
from itertools import combinations
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple

from changedet.data.index import BandChoice, survey
from changedet.data.labels.encoding import (
    MaskCount,
    changed_share,
    count_meanings,
    decide_encoding,
)
from changedet.data.labels.scan import notes_on
from changedet.data.parallel import map_in_order
from changedet.data.rasters.manifest import LAYOUT
from changedet.errors import DataError
from changedet.storage.text import first_few
from changedet.types import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from changedet.data.labelled import Inspection, LabelledPair
    from changedet.data.labels.masks import MaskHistogram
    from changedet.data.pixel_sums import Sums
    from changedet.data.survey import Survey

_DATES = ("before", "after")


@dataclass(frozen=True)
class SplitSummary:
    """One split; ``changed_share`` is None where the labels are not understood."""

    pairs: int
    changed_share: float | None
    empty: int
    full: int


@dataclass(frozen=True)
class DateSummary:
    """Mean and standard deviation per channel of one date, in stored values."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class CheckReport:
    """What :func:`check_pairs` found.

    Attributes:
        root: Folder that was checked.
        name: Name of the benchmark, or else of the folder.
        layout: How the files lie.
        notes: How the pairs were found, and what is worth knowing.
        errors: What must be repaired before the data set can be used, a sentence each.
        warnings: What is legal but seldom meant, a sentence each.
        encoding: What the label values mean, or None if that is not understood.
        splits: Statistics by split.
        sizes: Number of pairs by image size, "WIDTHxHEIGHT", the most frequent first.
        measured_split: Split that ``dates`` describes.
        dates: Statistics of ``before`` and ``after``.
    """

    root: str
    name: str
    layout: str
    notes: tuple[str, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    encoding: str | None
    splits: dict[str, SplitSummary] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    measured_split: str | None = None
    dates: dict[str, DateSummary] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True if there is no error; warnings do not count."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, ``passed`` included."""
        return {"passed": self.passed, **asdict(self)}


class _Entry(NamedTuple):
    """One pair of a split, and what was found in it."""

    split: str
    pair: LabelledPair
    found: Inspection

    @property
    def faults(self) -> tuple[str, ...]:
        """What must be repaired, sizes that differ included."""
        shapes = {name: _shown(size) for name, size in self.found.sizes.items()}
        if len(set(shapes.values())) < 2:
            return self.found.faults
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        differ = f"{self.split}/{self.pair.name}: the sizes differ: {listed} ({self.pair.source})"
        return (*self.found.faults, differ)

    @property
    def size(self) -> str | None:
        """Size of the images, None if neither could be read."""
        sizes = self.found.sizes
        size = sizes.get("before", sizes.get("after"))
        return None if size is None else _shown(size)


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def check_pairs(
    root: Path,
    *,
    benchmark: str | None = None,
    ignore_value: int | None = None,
    changed_values: tuple[int, ...] | None = None,
    channels: int | None = None,
    bands: BandChoice = BandChoice(),  # noqa: B008 - immutable
    progress: Progress | None = None,
) -> CheckReport:
    """Read every file under ``root`` once and report all faults.

    Args:
        root: Folder of the data set.
        benchmark: Row to compare layout and numbers with.
        ignore_value: Stored label value that counts as neither changed nor unchanged.
        changed_values: Stored label values that mean changed.
        channels: Channels that the images must have; None: rasters have as many as they have,
            pictures are RGB.
        bands: Which bands of rasters these are.
        progress: Told after every pair.

    Raises:
        DataError: If the folder does not exist or nothing in it is understood.
        ConfigError: If there is no such benchmark.
    """
    found = survey(root, benchmark=benchmark, channels=channels, bands=bands)
    channels = found.channels
    work = [(split, pair) for split, pairs in found.splits.items() for pair in pairs]
    entries = list(map_in_order(partial(_inspect, channels=channels), work, progress=progress))
    errors = [*found.faults, *(fault for entry in entries for fault in entry.faults)]
    masks = [entry.found.mask for entry in entries if entry.found.mask is not None]
    encoding = None
    warnings = list(found.warnings)
    if masks:
        try:
            encoding = decide_encoding(
                masks, ignore_value=ignore_value, changed_values=changed_values
            )
            warnings += notes_on(masks, encoding)
        except DataError as error:
            errors.append(str(error))
    counts = {
        (entry.split, entry.pair.name): count_meanings(entry.found.mask, encoding)
        for entry in entries
        if encoding is not None and entry.found.mask is not None
    }
    empty = _empty_labels(found, counts)
    # Most blocks of a scene show no change; an image pair was chosen for it.
    is_cut = found.layout == LAYOUT
    warnings += [] if is_cut else empty
    warnings += _label_warnings(found, counts)
    warnings += _repetitions(found, entries)
    measured = "train" if "train" in found.splits else next(iter(found.splits), None)
    sizes = Counter(entry.size for entry in entries if entry.size is not None)
    return CheckReport(
        root=str(root),
        name=found.name,
        layout=found.layout,
        notes=(
            *found.notes,
            *_recurring_names(found),
            *(empty if is_cut else _turned(entries)),
            *([] if is_cut else _gaps(masks)),
        ),
        errors=tuple(errors),
        warnings=tuple(warnings),
        encoding=None if encoding is None else encoding.describe(),
        splits={split: _split_facts(found, split, counts) for split in found.splits},
        sizes=dict(sizes.most_common()),
        measured_split=measured,
        dates=_date_facts(e for e in entries if e.split == measured),
    )


def _inspect(work: tuple[str, LabelledPair], *, channels: int) -> _Entry:
    split, pair = work
    return _Entry(split, pair, pair.inspect(channels=channels))


def _split_facts(
    found: Survey, split: str, counts: dict[tuple[str, str], MaskCount]
) -> SplitSummary:
    own = [count for (of_split, _), count in counts.items() if of_split == split]
    return SplitSummary(
        pairs=len(found.splits[split]),
        changed_share=changed_share(own) if own else None,
        empty=sum(not count.changed for count in own),
        full=sum(bool(count.changed) and not count.unchanged for count in own),
    )


def _date_facts(entries: Iterable[_Entry]) -> dict[str, DateSummary]:
    sums: dict[str, list[Sums]] = {date: [] for date in _DATES}
    for entry in entries:
        for date, own in entry.found.sums.items():
            sums[date].append(own)
    whole = {date: reduce(add, parts) for date, parts in sums.items() if parts}
    return {date: DateSummary(total.means, total.deviations) for date, total in whole.items()}


def _empty_labels(found: Survey, counts: dict[tuple[str, str], MaskCount]) -> list[str]:
    sentences = []
    for split in found.splits:
        own = {name: count for (of_split, name), count in counts.items() if of_split == split}
        empty = [name for name, count in own.items() if not count.changed]
        if empty:
            sentences.append(
                f"{split}: {len(empty)} of {len(own)} labels are empty (no changed pixel): "
                f"{first_few(empty)}"
            )
    return sentences


def _label_warnings(found: Survey, counts: dict[tuple[str, str], MaskCount]) -> list[str]:
    warnings = []
    if found.splits and "train" not in found.splits:
        warnings.append("there is no train split")
    if found.splits and "val" not in found.splits:
        warnings.append("there is no val split")
    for split in found.splits:
        own = {name: count for (of_split, name), count in counts.items() if of_split == split}
        full = [name for name, count in own.items() if count.changed and not count.unchanged]
        if full:
            warnings.append(
                f"{split}: {len(full)} of {len(own)} labels are 100 % changed: {first_few(full)}"
            )
    val = [count for (split, _), count in counts.items() if split == "val"]
    if val and changed_share(val) == 0:
        warnings.append(
            "no pixel of the validation labels is changed, so no model can be selected on them; "
            "put pairs with changes into val, or train with another data.val_split"
        )
    train = [count for (split, _), count in counts.items() if split == "train"]
    if train and changed_share(train) in (0, 1):
        everything = "every" if changed_share(train) else "no"
        warnings.append(
            f"{everything} pixel of the training labels is changed, so a weighted loss cannot be "
            "balanced; set loss.changed_share to train on this"
        )
    return warnings


def _gaps(masks: Sequence[MaskHistogram]) -> list[str]:
    ignored = sum(mask.ignored for mask in masks)
    if not ignored:
        return []
    share = ignored / sum(mask.height * mask.width for mask in masks)
    return [
        f"{share:.2%} of the pixels are ignored: an image has no data there, or the label is its "
        "nodata value"
    ]


def _turned(entries: Sequence[_Entry]) -> list[str]:
    """Say where pictures are turned upright, above all where the dates differ in it."""
    turned, differ = 0, []
    for entry in entries:
        before, after = entry.found.orientations
        turned += before != 1 or after != 1
        if before != after:
            differ.append(f"{entry.split}/{entry.pair.name}")
    notes = []
    if turned:
        notes.append(f"{turned} pairs are turned upright by their EXIF orientation")
    if differ:
        notes.append(
            f"before and after have different EXIF orientations in {len(differ)} pairs: "
            f"{first_few(differ)}; see that both show the same ground"
        )
    return notes


def _recurring_names(found: Survey) -> list[str]:
    # Many data sets number each split again, so a name alone is no reason for a warning.
    times = Counter(pair.name for pairs in found.splits.values() for pair in pairs)
    recurring = sorted(name for name, number in times.items() if number > 1)
    if not recurring:
        return []
    return [
        f"{len(recurring)} names are in more than one split ({first_few(recurring)}): fine if each "
        "split has its own numbering, a leak if they are the same places"
    ]


def _repetitions(found: Survey, entries: Sequence[_Entry]) -> list[str]:
    warnings = []
    same_dates = [
        f"{entry.split}/{entry.pair.name}"
        for entry in entries
        if len(entry.found.digests) == len(_DATES) and len(set(entry.found.digests.values())) == 1
    ]
    if same_dates:
        warnings.append(
            f"before and after are the same file content in {len(same_dates)} pairs: "
            f"{first_few(same_dates)}"
        )
    holders: dict[bytes, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        for digest in entry.found.digests.values():
            holders[digest].setdefault(entry.split, f"{entry.split}/{entry.pair.name}")
    for first, second in combinations(found.splits, 2):
        leaks = [
            f"{by_split[first]} = {by_split[second]}"
            for by_split in holders.values()
            if first in by_split and second in by_split
        ]
        if leaks:
            warnings.append(
                f"leak: {len(leaks)} images of {first} have the same content as images of "
                f"{second}: {first_few(leaks)}"
            )
    return warnings
