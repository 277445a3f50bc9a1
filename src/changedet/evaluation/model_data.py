"""A data set as a model wants it: values of the kind it was trained on, labels as declared then."""

from collections.abc import Sequence
from pathlib import Path

from changedet.card import ModelCard
from changedet.data.index import BandChoice, PairIndex
from changedet.data.labels.scan import LabelScan, scan_labels
from changedet.data.seen import is_same_data_set
from changedet.errors import ConfigError
from changedet.types import PixelType


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
            f"{model} was trained on {wanted} values, but {data} has {index.pixel_type}; use data "
            "of the same type, or a model trained on this one"
        )


def bands_for(
    card: ModelCard | None,
    bands: tuple[int, ...] | None,
    bands_after: tuple[int, ...] | None,
) -> BandChoice:
    """Choose the bands of rasters: those that are asked for, or else those of the training.

    Args:
        card: Of the model; None: a baseline.
        bands: As asked, numbered from 1.
        bands_after: The same for the later date.
    """
    if bands is not None or card is None or card.source_bands is None:
        return BandChoice(bands, bands_after)
    return BandChoice(card.source_bands, bands_after or card.source_bands_after, origin="trained")


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
        ignore_value: Label value whose pixels are ignored.
        changed_values: Label values that mean changed, where the labels do not say it themselves.

    Raises:
        DataError: If a label cannot be read, or the values cannot be understood.
    """
    known = (card.label for card in cards if is_same_data_set(card.data_name, index.name))
    declared = next((label for label in known if label is not None), {})
    if ignore_value is None:
        ignore_value = declared.get("ignore_value")
    if changed_values is None and declared.get("kind") == "declared":
        changed_values = tuple(declared["changed"])
    return scan_labels(index.pairs, ignore_value=ignore_value, changed_values=changed_values)
