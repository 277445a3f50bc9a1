"""Images of the reported split that a method may have met before, under whatever name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from changedet.data.labelled import LabelledPair
from changedet.data.tools.near_duplicates import (
    MOST_SHIFTED_COMPARISONS,
    NearDuplicate,
    Shifts,
    Thumbnails,
    find_near_duplicates,
    make_thumbnails,
)
from changedet.evaluation.benchmark.splits import BenchmarkData

#: How images are compared, for reports.
METHOD = (
    "each date shrunk to 16 x 16 grey cells; correlation in all eight turns and mirrorings, of one "
    "date of each pair in the same frame, or of both dates with frames shifted by up to half of "
    "their side"
)
Role = Literal["training", "threshold"]


@dataclass(frozen=True)
class SplitRepeats:
    """What another split has in common with the reported one.

    Attributes:
        split: The other split.
        role: What it was used for.
        images: Its images.
        shifts: Whether frames that only overlap were searched.
        found: All near-duplicates.
    """

    split: str
    role: Role
    images: int
    shifts: Shifts
    found: tuple[NearDuplicate, ...]

    @property
    def repeated(self) -> frozenset[int]:
        """Numbers of the images of the reported split that have a near-duplicate here."""
        return frozenset(one.index for one in self.found)

    @property
    def identical(self) -> int:
        """How many of those have an image with the very same pixels here."""
        return len({one.index for one in self.found if one.relation == "identical"})

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "split": self.split,
            "role": self.role,
            "images": self.images,
            "shifts": self.shifts,
            "repeated": len(self.repeated),
            "identical": self.identical,
            "pairs": [one.to_dict() for one in self.found],
        }


@dataclass(frozen=True)
class Repeats:
    """Near-duplicates of the images of the reported split.

    Attributes:
        limit: Correlation from which on two images are near-duplicates.
        images: Images of the reported split.
        splits: One entry for each split that it was compared with.
    """

    limit: float
    images: int
    splits: tuple[SplitRepeats, ...]

    @property
    def of_training(self) -> frozenset[int] | None:
        """Images that repeat a training image, by number; None if no training split is known."""
        known = [split.repeated for split in self.splits if split.role == "training"]
        return frozenset().union(*known) if known else None

    @property
    def others(self) -> list[int] | None:
        """Images that repeat no training image, by number; None if no training split is known."""
        repeated = self.of_training
        if repeated is None:
            return None
        return [number for number in range(self.images) if number not in repeated]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        repeated = self.of_training
        return {
            "limit": self.limit,
            "method": METHOD,
            "repeats_of_training": None if repeated is None else len(repeated),
            "splits": [split.to_dict() for split in self.splits],
        }


def find_repeats(
    data: BenchmarkData,
    pairs: tuple[LabelledPair, ...],
    *,
    channels: int,
    limit: float,
    say: Callable[[str], None],
) -> Repeats:
    """Compare the reported split with the splits that trained and that chose thresholds.

    Args:
        data: The data set.
        pairs: Those of the reported split.
        channels: Channels that the images must have.
        limit: Correlation from which on two images are near-duplicates, in (0, 1].
        say: Gets sentences for the user.

    Raises:
        DataError: If a pair cannot be read.
    """
    roles: Mapping[str, Role] = {
        **dict.fromkeys(data.threshold_splits, "threshold"),
        **dict.fromkeys(data.training_splits, "training"),
    }
    if not roles:
        return Repeats(limit, len(pairs), ())
    say("looking for near-duplicates between the splits")
    own = make_thumbnails(pairs, encoding=data.encoding, channels=channels)
    splits = []
    for name, role in roles.items():
        others = make_thumbnails(data.index.split(name), encoding=data.encoding, channels=channels)
        splits.append(_compare(own, others, split=name, role=role, limit=limit))
        say(_sentence(splits[-1], len(pairs), limit))
    return Repeats(limit, len(pairs), tuple(splits))


def _compare(
    own: Thumbnails, others: Thumbnails, *, split: str, role: Role, limit: float
) -> SplitRepeats:
    is_cheap = len(own.names) * len(others.names) <= MOST_SHIFTED_COMPARISONS
    shifts: Shifts = "search" if is_cheap else "none"
    found = find_near_duplicates(own, others, limit=limit, shifts=shifts)
    return SplitRepeats(split, role, len(others.names), shifts, tuple(found))


def _sentence(repeats: SplitRepeats, images: int, limit: float) -> str:
    unsearched = "" if repeats.shifts == "search" else " (shifted frames were not searched)"
    return (
        f"{len(repeats.repeated)} of {images} images are near-duplicates of images of split "
        f"{repeats.split!r} (correlation >= {limit:g}), {repeats.identical} of them identical"
        f"{unsearched}"
    )
