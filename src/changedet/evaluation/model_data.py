"""A data set as a model wants it: values of the kind it was trained on, labels as declared then."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from changedet.data.index import PairIndex
from changedet.data.labelled import DecodedPair, LabelledPair, read_pair
from changedet.data.labels.scan import LabelEncoding, LabelScan, scan_labels
from changedet.errors import ConfigError
from changedet.evaluation.leakage import is_same_data_set
from changedet.inference.loading import load_ahead, room_for
from changedet.models.model_file import ModelCard
from changedet.types import Normalisation, PixelType


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


def check_pixel_type(
    model: str | Path, wanted: PixelType | None, index: PairIndex, *, data: Path
) -> None:
    """Let a data set through that holds the kind of values a model was trained on.

    Args:
        model: Its name, for the message.
        wanted: The kind it was trained on; None: it takes any.
        index: The data set.
        data: Where that is, for the message.

    Raises:
        ConfigError: If it holds another kind.
    """
    if wanted not in (None, index.pixel_type):
        raise ConfigError(
            f"{model} was trained on {wanted} values, {data} holds {index.pixel_type}; use data "
            "of the same kind, or a model that was trained on it"
        )


def scan_labels_as_trained(
    index: PairIndex,
    cards: Sequence[ModelCard],
    *,
    ignore_value: int | None,
    changed_values: tuple[int, ...] | None,
) -> LabelScan:
    """Decide from all masks of a data set what their values mean.

    What was declared when one of the models was trained on this very data set holds again where
    nothing else is declared now.

    Args:
        index: The data set.
        cards: Of the models; the first that was trained here counts.
        ignore_value: Label value that counts neither as changed nor as unchanged.
        changed_values: Label values that mean changed, where the labels do not say it themselves.

    Raises:
        DataError: If a label cannot be read, or the values cannot be understood.
    """
    declared = _declared(cards, index.name)
    if ignore_value is None:
        ignore_value = declared.get("ignore_value")
    if changed_values is None and declared.get("kind") == "declared":
        changed_values = tuple(declared["changed"])
    return scan_labels(index.pairs, ignore_value=ignore_value, changed_values=changed_values)


def _declared(cards: Sequence[ModelCard], data_name: str) -> Mapping[str, Any]:
    known = (card.label for card in cards if is_same_data_set(card.data_name, data_name))
    return next((label for label in known if label is not None), {})
