"""Labelled pairs as a model, or a baseline, is shown them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from changedet.data.labelled import DecodedPair, LabelledPair, read_pair
from changedet.data.labels.encoding import LabelEncoding
from changedet.data.parallel import load_ahead, room_for
from changedet.types import Normalisation


@dataclass(frozen=True)
class PairReader:
    """Reads labelled pairs as a model, or another source of scores, is shown them.

    Attributes:
        encoding: What the labels' values mean.
        channels: Channels that the images must have.
        fill: Statistics whose means stand where a date holds no image.
    """

    encoding: LabelEncoding
    channels: int = 3
    fill: Normalisation | None = None

    def read(self, pair: LabelledPair) -> DecodedPair:
        """Read one pair.

        Raises:
            DataError: If it cannot be read, or its parts do not fit each other.
        """
        return read_pair(pair, encoding=self.encoding, channels=self.channels, fill=self.fill)

    def read_ahead(self, pairs: Sequence[LabelledPair]) -> Iterator[DecodedPair]:
        """Read pairs in their order, while earlier ones are being scored, as memory allows."""
        ahead = room_for(pairs[0].size()) if pairs else 1
        return load_ahead(self.read, pairs, ahead=ahead)
