"""Images of the reported split that a method may have met before, under whatever name."""

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import computed_field

from changedet.data.labelled import LabelledPair
from changedet.data.tools.near_duplicates import (
    MOST_SHIFTED_COMPARISONS,
    NearDuplicate,
    Shifts,
    find_near_duplicates,
    make_thumbnails,
)
from changedet.evaluation.benchmark.splits import BenchmarkData
from changedet.storage.results import Record

#: How images are compared, for reports.
METHOD = (
    "each date reduced to 16 x 16 grey cells; correlation over all eight rotations and "
    "reflections, of one date of each pair in the same frame, or of both dates with frames "
    "shifted by up to half of their side"
)
Role = Literal["training", "threshold"]


class SplitRepeats(Record):
    """What another split has in common with the reported one.

    Attributes:
        split: The other split.
        role: What it was used for.
        images: Its images.
        shifts: Whether frames that only overlap were searched.
        pairs: All near-duplicates.
    """

    split: str
    role: Role
    images: int
    shifts: Shifts
    pairs: tuple[NearDuplicate, ...]

    @property
    def indices(self) -> frozenset[int]:
        """Numbers of the images of the reported split that have a near-duplicate here."""
        return frozenset(one.index for one in self.pairs)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def repeated(self) -> int:
        """How many images of the reported split have a near-duplicate here."""
        return len(self.indices)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def identical(self) -> int:
        """How many of those have an image with the very same pixels here."""
        return len({one.index for one in self.pairs if one.relation == "identical"})


class Repeats(Record):
    """Near-duplicates of the images of the reported split.

    Attributes:
        limit: Correlation from which on two images are near-duplicates.
        method: How images were compared.
        images: Images of the reported split.
        splits: One entry for each split that it was compared with.
    """

    limit: float
    method: str = METHOD
    images: int
    splits: tuple[SplitRepeats, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def repeats_of_training(self) -> int | None:
        """How many images repeat a training image; null if no training split is known."""
        repeated = self._of_training()
        return None if repeated is None else len(repeated)

    @property
    def others(self) -> list[int] | None:
        """Images that repeat no training image, by number; None if no training split is known."""
        repeated = self._of_training()
        if repeated is None:
            return None
        return [number for number in range(self.images) if number not in repeated]

    def _of_training(self) -> frozenset[int] | None:
        known = [split.indices for split in self.splits if split.role == "training"]
        return frozenset().union(*known) if known else None


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
        return Repeats(limit=limit, images=len(pairs), splits=())
    say("searching for near-duplicates between the splits")
    own = make_thumbnails(pairs, encoding=data.encoding, channels=channels)
    splits = []
    for name, role in roles.items():
        others = make_thumbnails(data.index.split(name), encoding=data.encoding, channels=channels)
        is_cheap = len(own.names) * len(others.names) <= MOST_SHIFTED_COMPARISONS
        shifts: Shifts = "search" if is_cheap else "none"
        found = find_near_duplicates(own, others, limit=limit, shifts=shifts)
        splits.append(
            SplitRepeats(
                split=name, role=role, images=len(others.names), shifts=shifts, pairs=tuple(found)
            )
        )
        say(_sentence(splits[-1], len(pairs), limit))
    return Repeats(limit=limit, images=len(pairs), splits=tuple(splits))


def _sentence(repeats: SplitRepeats, images: int, limit: float) -> str:
    unsearched = "" if repeats.shifts == "search" else " (shifted frames were not searched)"
    return (
        f"{repeats.repeated} of {images} images are near-duplicates of images of split "
        f"{repeats.split!r} (correlation >= {limit:g}), {repeats.identical} of them identical"
        f"{unsearched}"
    )
