"""Several data sets as one: pairs that know which kinds of change their labels show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from changedet.data.labels.encoding import count_meanings
from changedet.data.labels.masks import MaskHistogram
from changedet.data.pair import PairPaths
from changedet.types import IGNORED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from changedet.data.labelled import BothDates, Inspection, LabelledPair, PairView
    from changedet.data.labels.encoding import LabelEncoding
    from changedet.data.pixel_sums import Sums
    from changedet.raster.geo_grid import Window
    from changedet.types import Normalisation

#: What a label says of a kind of change: ``all``: which pixels have changed and which have not;
#: ``changed``: some that have changed; ``nothing``.
Teaches = Literal["all", "changed", "nothing"]


@dataclass(frozen=True)
class MixtureSet:
    """A data set of a mixture, as far as its pairs must know it.

    Attributes:
        name: Of the set in the mixture.
        kind: Kind of change that its labels show.
        also_changed: Further kinds of which its changed pixels are changes, too.
        weight: How many times its training pairs are seen in an epoch.
        gsd_m: Ground sample distance of its images in metres; None: not known.
        directed: Whether the order of the dates matters.
        encoding: What the values of its labels mean.
        gsd_is_measured: Whether the images' georeference says ``gsd_m``, and not the mixture.
    """

    name: str
    kind: str
    also_changed: tuple[str, ...]
    weight: float
    gsd_m: float | None
    directed: bool
    encoding: LabelEncoding
    gsd_is_measured: bool = False

    @property
    def stated_gsd_m(self) -> float | None:
        """Ground sample distance that the mixture states, in metres; None: it states none."""
        return None if self.gsd_is_measured else self.gsd_m

    def teaches(self, kind: str) -> Teaches:
        """Tell what the set's labels say of a kind of change."""
        if kind == self.kind:
            return "all"
        return "changed" if kind in self.also_changed else "nothing"


@dataclass(frozen=True)
class Mixture:
    """What a mixture is made of.

    Attributes:
        sets: The data sets, in the order of the file.
        kinds: The kinds of change that they teach: ``any`` first, then as they come.
        terms: Under which terms the images may be used, by the set's name.
        regions: Where the images were taken, by the set's name.
    """

    sets: tuple[MixtureSet, ...]
    kinds: tuple[str, ...]
    terms: Mapping[str, str]
    regions: Mapping[str, str]


@dataclass(frozen=True)
class MixturePair:
    """A labelled pair of one of the data sets, see :class:`.labelled.LabelledPair`.

    Its label is always read with the encoding of its own set.
    """

    pair: LabelledPair
    member: MixtureSet

    @property
    def name(self) -> str:
        """Unique within the split: the set's name and the pair's own."""
        return f"{self.member.name}/{self.pair.name}"

    @property
    def source(self) -> str:
        """The files, for messages."""
        return self.pair.source

    @property
    def is_labelled(self) -> bool:
        """Whether there is a label."""
        return self.pair.is_labelled

    @property
    def is_remote(self) -> bool:
        """Whether it is read over the network."""
        return self.pair.is_remote

    def size(self) -> tuple[int, int]:
        """Read height and width, see :meth:`.labelled.LabelledPair.size`."""
        return self.pair.size()

    def samples(self, crop_px: int, *, encoding: LabelEncoding) -> int:
        """One crop for each time that the pair is seen."""
        return self.pair.samples(crop_px, encoding=self.member.encoding)

    def open(
        self, *, encoding: LabelEncoding, channels: int, fill: Normalisation | None = None
    ) -> PairView:
        """Open the pair, see :meth:`.labelled.LabelledPair.open`; ``encoding`` is the set's own."""
        return self.pair.open(encoding=self.member.encoding, channels=channels, fill=fill)

    def inspect_label(self) -> MaskHistogram:
        """Count the meanings of the label's values, which are the same in all sets."""
        mask = self.pair.inspect_label()
        count = count_meanings(mask, self.member.encoding)
        counts = {0: count.unchanged, 1: count.changed, IGNORED: count.ignored - mask.ignored}
        return MaskHistogram(
            mask.path,
            mask.height,
            mask.width,
            "polygons",
            {value: number for value, number in counts.items() if number},
            ignored=mask.ignored,
        )

    def sum_pixels(self, *, channels: int) -> tuple[Sums, Sums]:
        """Sum up the pixels of both images, see :meth:`.labelled.LabelledPair.sum_pixels`."""
        return self.pair.sum_pixels(channels=channels)

    def read_images(self, windows: Sequence[Window], *, channels: int) -> list[BothDates]:
        """Read windows of both images, see :meth:`.labelled.LabelledPair.read_images`."""
        return self.pair.read_images(windows, channels=channels)

    def inspect(self, *, channels: int) -> Inspection:
        """Look at everything, see :meth:`.labelled.LabelledPair.inspect`."""
        return self.pair.inspect(channels=channels)


def member_of(pair: LabelledPair) -> MixtureSet | None:
    """Tell which set of a mixture a pair belongs to; None: it is of no mixture."""
    return pair.member if isinstance(pair, MixturePair) else None


def set_name(pair: LabelledPair) -> str:
    """Name the set of a mixture that a pair belongs to; empty: it is of no mixture."""
    member = member_of(pair)
    return "" if member is None else member.name


def as_files(pair: LabelledPair) -> PairPaths | None:
    """Give the files of a pair, under its name in the mixture; None if it is a block of a scene."""
    own = pair.pair if isinstance(pair, MixturePair) else pair
    return own._replace(name=pair.name) if isinstance(own, PairPaths) else None


def by_set(pairs: Sequence[LabelledPair]) -> dict[str, list[int]]:
    """Group pairs of a mixture by their sets.

    Args:
        pairs: Pairs of a mixture.

    Returns:
        Places in ``pairs`` by the set's name, in the order in which the sets come.
    """
    places: dict[str, list[int]] = {}
    for place, pair in enumerate(pairs):
        name = set_name(pair)
        if name:
            places.setdefault(name, []).append(place)
    return places
