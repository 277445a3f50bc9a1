"""The splits of a benchmark: what is reported, what chooses thresholds, what was trained on."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from changedet.data.index import PairIndex, index_pairs
from changedet.data.labelled import DecodedPair, LabelledPair
from changedet.data.labels import LabelEncoding, LabelScan, scan_labels
from changedet.data.pairs import read_pair
from changedet.errors import ConfigError, DataError
from changedet.experiment.accuracy.methods import Method
from changedet.experiment.accuracy.request import AccuracyRequest
from changedet.experiment.score_source import ScoreSource
from changedet.experiment.seen_before import find_seen, optimism_note, other_bands_note
from changedet.inference.loading import load_ahead, room_for
from changedet.metrics.protocol import SELECTION_SET_NOTE
from changedet.models.model_file import ModelCard

_USUAL_TRAINING_SPLIT = "train"


class BenchmarkData:
    """A data set as each of the methods wants to read it.

    Attributes:
        scan: What the labels say.
        index: As the first method reads it.
    """

    def __init__(self, request: AccuracyRequest, methods: Sequence[Method]) -> None:
        """Index the data set and see that its splits can be judged on.

        Args:
            request: Which data and splits.
            methods: What shall be judged.

        Raises:
            ConfigError: If a method takes other values than the data holds.
            DataError: If there is no such split, it holds no change, or the data cannot be used.
        """
        self._request = request
        self._cards = [card for method in methods if (card := method.source.card) is not None]
        self._by_channels: dict[int, PairIndex] = {}
        self.index = self.index_for(methods[0].source)
        for method in methods:
            _check_pixel_type(method, self.index_for(method.source), request.data)
        splits = {request.split, *self._choosing()}
        for name in sorted(splits):
            self.index.split(name)
        self.scan = self._scan()
        for name in sorted(splits):
            if self.scan.share_of(self.index.split(name)) == 0.0:
                raise DataError(
                    f"split {name!r} of {request.data} holds no changed pixel, so nothing can be "
                    "found there; choose another one"
                )

    @property
    def encoding(self) -> LabelEncoding:
        """What the labels' values mean."""
        return self.scan.encoding

    @property
    def training_splits(self) -> list[str]:
        """Splits that a method was trained on, as far as names tell; never the reported one."""
        named = {_USUAL_TRAINING_SPLIT}
        named |= {
            (card.recipe or {}).get("data", {}).get("train_split", _USUAL_TRAINING_SPLIT)
            for card in self._cards
            if card.data_name == self.index.name
        }
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

    def to_dict(self) -> dict[str, Any]:
        """Name the data set and its splits as plain JSON types."""
        request = self._request
        return {
            "name": self.index.name,
            "root": str(request.data),
            "layout": self.index.layout,
            "benchmark": request.benchmark,
            "label": self.encoding.to_dict(),
            "split": request.split,
            "threshold": request.threshold,
            "threshold_split": next(iter(self._choosing()), None),
            "training_splits": self.training_splits,
            "pairs": {name: len(pairs) for name, pairs in self.index.splits.items()},
        }

    def index_for(self, source: ScoreSource) -> PairIndex:
        """Index the data set with the channels of a method."""
        channels = source.in_channels
        if channels not in self._by_channels:
            self._by_channels[channels] = index_pairs(
                self._request.data, benchmark=self._request.benchmark, channels=channels
            )
        return self._by_channels[channels]

    def pairs_of(self, source: ScoreSource, split: str) -> tuple[LabelledPair, ...]:
        """Give the pairs of a split as a method reads them."""
        return self.index_for(source).split(split)

    def read(self, source: ScoreSource, split: str) -> Iterator[DecodedPair]:
        """Read a split, as prediction would show it to a method."""
        pairs = self.pairs_of(source, split)

        def read_one(pair: LabelledPair) -> DecodedPair:
            return read_pair(
                pair, encoding=self.encoding, channels=source.in_channels, fill=source.fill
            )

        return load_ahead(read_one, pairs, ahead=room_for(pairs[0].size()))

    def note_for(self, source: ScoreSource) -> str | None:
        """Say why figures of a method on the reported split are optimistic, if they are."""
        request, notes = self._request, []
        if request.threshold == "split" and request.threshold_split == request.split:
            notes.append(SELECTION_SET_NOTE)
        card = source.card
        if card is not None:
            index = self.index_for(source)
            seen = find_seen(card, index, split=request.split)
            # Also where another split gives the threshold: the run kept the weights that were best
            # on the split that its own threshold comes from.
            notes.append(
                optimism_note(card, index, split=request.split, seen=seen, by_hand=False) or ""
            )
        return "; ".join(dict.fromkeys(note for note in notes if note)) or None

    def _choosing(self) -> list[str]:
        request = self._request
        return [request.threshold_split] if request.threshold == "split" else []

    def _scan(self) -> LabelScan:
        ignore_value, changed_values = self._request.ignore_value, self._request.changed_values
        declared = _declared(self._cards, self.index.name)
        if ignore_value is None:
            ignore_value = declared.get("ignore_value")
        if changed_values is None and declared.get("kind") == "declared":
            changed_values = tuple(declared["changed"])
        return scan_labels(
            self.index.pairs, ignore_value=ignore_value, changed_values=changed_values
        )


def _declared(cards: Sequence[ModelCard], data_name: str) -> dict[str, Any]:
    """What was declared of the labels when one of the models was trained on this data set."""
    known = (card.label for card in cards if card.data_name == data_name)
    return next((label for label in known if label is not None), {})


def _check_pixel_type(method: Method, index: PairIndex, data: Path) -> None:
    wanted = method.source.pixel_type
    if wanted is not None and wanted != index.pixel_type:
        raise ConfigError(
            f"{method.source.spec} was trained on {wanted} values, {data} holds "
            f"{index.pixel_type}; leave it out, or use data of the same kind"
        )
