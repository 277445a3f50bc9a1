"""The splits of a benchmark: what is reported, what chooses thresholds, what was trained on."""

from collections.abc import Iterator, Sequence

from changedet.data.index import BandChoice, PairIndex, index_pairs
from changedet.data.labelled import DecodedPair, LabelledPair
from changedet.data.labels.scan import LabelEncoding
from changedet.data.seen import splits_trained_on
from changedet.errors import DataError
from changedet.evaluation.benchmark.methods import Method
from changedet.evaluation.benchmark.request import AccuracyRequest, ThresholdPolicy
from changedet.evaluation.leakage import find_seen, other_bands_note
from changedet.evaluation.model_data import bands_for, check_pixel_type, scan_labels_as_trained
from changedet.evaluation.threshold import (
    ThresholdChoice,
    own_threshold,
    threshold_note,
)
from changedet.inference.score_source import ScoreSource
from changedet.storage.results import Record

_USUAL_TRAINING_SPLIT = "train"


class BenchmarkedData(Record):
    """The data set and its splits.

    Attributes:
        name: Name of the data set.
        root: Its folder, or the manifest of scenes.
        layout: How its files lie.
        benchmark: Name of the known benchmark it was read as, if it was named.
        label: What the values of its labels mean.
        split: The split that is reported.
        threshold: Where thresholds come from: a split, or stored with each method.
        threshold_split: The split that chose them, if one did.
        training_splits: Splits that a method was trained on, as far as names tell.
        pairs: Pairs of each split.
    """

    name: str
    root: str
    layout: str
    benchmark: str | None
    label: LabelEncoding
    split: str
    threshold: ThresholdPolicy
    threshold_split: str | None
    training_splits: tuple[str, ...]
    pairs: dict[str, int]


class BenchmarkData:
    """A data set as each of the methods wants to read it.

    Attributes:
        scan: What the labels say.
        index: As the first method reads it.
    """

    def __init__(self, request: AccuracyRequest, methods: Sequence[Method]) -> None:
        """Index the data set and check that its splits can be evaluated.

        Args:
            request: Which data and splits.
            methods: What is evaluated.

        Raises:
            ConfigError: If a method takes other values than the data holds.
            DataError: If there is no such split, it holds no change, or the data cannot be used.
        """
        self._request = request
        self._cards = [card for method in methods if (card := method.source.card) is not None]
        self._indexes: dict[tuple[int, BandChoice], PairIndex] = {}
        self.index = self.index_for(methods[0].source)
        for method in methods:
            source = method.source
            index = self.index_for(source)
            check_pixel_type(source.spec, source.pixel_type, index, data=request.data)
        splits = {request.split, *self._choosing()}
        for name in sorted(splits):
            self.index.split(name)
        self.scan = scan_labels_as_trained(
            self.index,
            self._cards,
            ignore_value=request.ignore_value,
            changed_values=request.changed_values,
        )
        for name in sorted(splits):
            if self.scan.share_of(self.index.split(name)) == 0.0:
                raise DataError(
                    f"split {name!r} of {request.data} has no changed pixel, so nothing can be "
                    "detected there; choose another one"
                )

    @property
    def encoding(self) -> LabelEncoding:
        """What the labels' values mean."""
        return self.scan.encoding

    @property
    def training_splits(self) -> list[str]:
        """Splits that a method was trained on, as far as names tell; never the reported one."""
        named = {_USUAL_TRAINING_SPLIT}
        for card in self._cards:
            named |= {*splits_trained_on(card, self.index.name)}
        return [name for name in self.index.splits if name in named - {self._request.split}]

    @property
    def threshold_splits(self) -> list[str]:
        """Splits that choose thresholds and are neither reported nor trained on."""
        others = {self._request.split, *self.training_splits}
        return [name for name in self._choosing() if name not in others]

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user: how the data was read, and how its labels."""
        bands = [note for card in self._cards for note in other_bands_note(card, self.index)]
        labels = f"labels: {self.encoding.describe()}"
        return *self.index.notes, *dict.fromkeys(bands), labels, *self.scan.notes

    def facts(self) -> BenchmarkedData:
        """Name the data set and its splits."""
        request = self._request
        return BenchmarkedData(
            name=self.index.name,
            root=str(request.data),
            layout=self.index.layout,
            benchmark=request.benchmark,
            label=self.encoding,
            split=request.split,
            threshold=request.threshold,
            threshold_split=next(iter(self._choosing()), None),
            training_splits=tuple(self.training_splits),
            pairs={name: len(pairs) for name, pairs in self.index.splits.items()},
        )

    def index_for(self, source: ScoreSource) -> PairIndex:
        """Index the data set with the channels of a method."""
        channels = source.detector.in_channels
        # Baselines look at the same bands as the models.
        cards = [source.card, *self._cards] if source.card else self._cards
        card = next((card for card in cards if card.source_bands is not None), None)
        bands = bands_for(card, self._request.bands, self._request.bands_after)
        key = (channels, bands)
        if key not in self._indexes:
            self._indexes[key] = index_pairs(
                self._request.data,
                benchmark=self._request.benchmark,
                channels=channels,
                bands=bands,
            )
        return self._indexes[key]

    def pairs_of(self, source: ScoreSource, split: str) -> tuple[LabelledPair, ...]:
        """Give the pairs of a split as a method reads them."""
        return self.index_for(source).split(split)

    def read(self, source: ScoreSource, split: str) -> Iterator[DecodedPair]:
        """Read a split, as prediction would show it to a method."""
        return source.reader(self.encoding).read_ahead(self.pairs_of(source, split))

    def note_for(self, source: ScoreSource) -> str | None:
        """Say why figures of a method on the reported split are optimistic, or off, if they are."""
        request, index = self._request, self.index_for(source)
        choice = own_threshold(source)
        if choice.value is None or request.threshold == "split":
            choice = ThresholdChoice(None, None, request.threshold_split)
        seen = None if source.card is None else find_seen(source.card, index, split=request.split)
        return threshold_note(choice, source, index, split=request.split, seen=seen)

    def _choosing(self) -> list[str]:
        request = self._request
        return [request.threshold_split] if request.threshold == "split" else []
