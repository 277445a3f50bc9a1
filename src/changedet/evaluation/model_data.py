"""A data set as a model wants it: values of the kind it was trained on, labels as declared then."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from changedet.card import ModelCard
from changedet.data.domain import measure_shared_gsd
from changedet.data.index import BandChoice, PairIndex, index_pairs
from changedet.data.labelled import LabelledPair
from changedet.data.labels.scan import LabelEncoding, LabelScan, scan_labels
from changedet.data.seen import is_same_data_set
from changedet.errors import ConfigError
from changedet.evaluation.leakage import other_bands_note
from changedet.inference.score_source import ScoreSource
from changedet.inference.working_gsd import GsdMatch, match_gsd, remarks_on_gsd
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


@dataclass(frozen=True)
class LabelledSplit:
    """The labelled pairs of a split, and how to read them.

    Attributes:
        index: The data set.
        pairs: Those of the split.
        encoding: What the labels' values mean.
        notes: Sentences for the user.
    """

    index: PairIndex
    pairs: Sequence[LabelledPair]
    encoding: LabelEncoding
    notes: tuple[str, ...]


def open_split(
    model: str | Path,
    card: ModelCard,
    *,
    data: Path,
    split: str,
    benchmark: str | None,
    bands: BandChoice,
    declared: Mapping[str, Any],
) -> LabelledSplit:
    """Open a split of a data set as a model wants it.

    Args:
        model: Its name, for messages.
        card: Of the model.
        data: Folder of the data set, or manifest of scenes.
        split: Name of the split.
        benchmark: Name of a known benchmark; None: the layout is found out.
        bands: Bands of rasters, see :func:`bands_for`.
        declared: What the labels' values mean, arguments of :func:`scan_labels_as_trained`.

    Raises:
        ConfigError: If the data hold values of another kind than the model was trained on.
        DataError: If the data set, the split or a label cannot be used.
    """
    channels = len(card.normalisation.mean_before)
    index = index_pairs(data, benchmark=benchmark, channels=channels, bands=bands)
    check_pixel_type(model, card.pixel_type, index, data=data)
    pairs = index.split(split)
    scan = scan_labels_as_trained(index, [card], **declared)
    read = f"labels: {scan.encoding.describe()}"
    notes = (*index.notes, *other_bands_note(card, index), read, *scan.notes)
    return LabelledSplit(index, pairs, scan.encoding, notes)


def at_working_gsd(
    source: ScoreSource,
    pairs: Sequence[LabelledPair],
    *,
    given: float | None,
    say: Callable[[str], None] = lambda message: None,
) -> tuple[ScoreSource, GsdMatch]:
    """Have the images of a data set resampled to a ground sample distance at which a model works.

    All are resampled by the same factor: those of a data set are much alike.

    Args:
        source: Gives the scores.
        pairs: Of the data set; where some are georeferenced, that says what their length is.
        given: What the user says, in metres.
        say: Gets sentences for the user.

    Returns:
        What scores the images, and how it treats them.

    Raises:
        ConfigError: If what is given is no length.
        ImageError: If an image cannot be opened.
    """
    card = source.card
    if card is None:
        return source, GsdMatch()
    measured = None
    if card.working_gsd_m is not None:
        measured = measure_shared_gsd(pairs, say=say if given is None else lambda message: None)
    match = match_gsd(card, given=given, measured=measured)
    for remark in remarks_on_gsd(match, measured=measured):
        say(remark.sentence)
    return replace(source, detector=source.detector.zoomed(match.factor)), match
