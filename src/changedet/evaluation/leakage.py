"""What a model has seen of the data it is judged on, and what that makes of the figures."""

import re
from collections.abc import Mapping
from typing import Any

from changedet.card import ModelCard
from changedet.data.index import PairIndex
from changedet.data.rasters.provenance import Seen, count_seen
from changedet.metrics.protocol import SELECTION_SET_NOTE

#: For figures on the very images the model was trained on.
TRAINING_SET_NOTE = "training set, optimistic"

#: Name of the figures that a calibration adds to a model card.
CALIBRATION = "calibration"

#: As training writes it: max-F1 on split 'val' of NAME (120 images), epoch 3, batch 40. There are
#: several for an ensemble.
_CHOSEN_ON = re.compile(r"on split '(?P<split>[^']*)' of (?P<data>.*?) \(\d+ images?\)(?=[,;]|$)")


def find_seen(card: ModelCard, index: PairIndex, *, split: str) -> Seen | None:
    """Compare the blocks of a split to those of the run; None where they are not of scenes."""
    if index.scenes is None or card.blocks is None:
        return None
    return count_seen(card.blocks, index.split(split))


def optimism_note(
    card: ModelCard,
    index: PairIndex,
    *,
    split: str,
    seen: Seen | None,
    threshold_source: str | None,
) -> str | None:
    """Warn where the figures are of images that the model or its threshold has already seen.

    Images that chose the weights count whichever threshold is applied: another checkpoint was left
    aside because it did worse on them.

    Args:
        card: Of the model.
        index: What it is judged on.
        split: Name of the split that is reported.
        seen: Of its blocks, where that is known; where it shows nothing, the names of data set and
            split decide.
        threshold_source: What chose the threshold that is applied, if the model brought it.
    """
    if seen is not None and seen.trained_on == seen.blocks:
        return TRAINING_SET_NOTE
    parts = [] if seen is None else list(seen.in_training)
    if seen is not None and seen.chosen_on:
        if seen.chosen_on == seen.blocks and not parts:
            return SELECTION_SET_NOTE
        parts.append(f"{seen.chosen_on} of {seen.blocks} blocks chose the model or its threshold")
    if parts:
        return f"{'; '.join(parts)}; optimistic"
    return _note_by_name(card, index, split=split, threshold_source=threshold_source)


def selection_source(card: ModelCard) -> str | None:
    """Say how the weights of a model were chosen, also for files older than that field.

    In those the threshold was chosen together with the weights unless it was calibrated later.
    """
    if card.selection_source is not None:
        return card.selection_source
    source = card.threshold_source
    is_of_training = source is not None and CALIBRATION not in card.metrics
    return source if is_of_training and _CHOSEN_ON.search(source or "") else None


def other_bands_note(card: ModelCard, index: PairIndex) -> list[str]:
    """Warn where a manifest names other bands than the one the model was trained by."""
    if index.scenes is None or card.source_bands is None:
        return []
    trained = (card.source_bands, card.source_bands_after or card.source_bands)
    read = (index.scenes.bands, index.scenes.bands_after or index.scenes.bands)
    if read == trained:
        return []
    return [
        f"warning: the model was trained on bands {_listed(trained[0])} of before and "
        f"{_listed(trained[1])} of after, {_listed(read[0])} and {_listed(read[1])} are read here; "
        "name the bands in the manifest if these are others"
    ]


def was_chosen_on(source: str | None, *, data_name: str, split: str) -> bool:
    """Tell whether a model's weights or threshold were chosen on a split of a data set.

    Args:
        source: ``selection_source`` or ``threshold_source`` of a model card.
        data_name: Name of the data set, as its index gives it.
        split: Name of the split.
    """
    return any(
        found["split"] == split and is_same_data_set(found["data"], data_name)
        for found in _CHOSEN_ON.finditer(source or "")
    )


def is_same_data_set(name: str | None, other: str) -> bool:
    """Compare the names of data sets; "clcd", a folder, and "CLCD", the benchmark, are the same."""
    return name is not None and name.casefold() == other.casefold()


def training_data(card: ModelCard, index: PairIndex) -> Mapping[str, Any]:
    """Give the recipe's section ``data``, as ``train_split``; empty if of another data set."""
    if not is_same_data_set(card.data_name, index.name):
        return {}
    return data_settings(card)


def data_settings(card: ModelCard) -> Mapping[str, Any]:
    """Give the recipe's section ``data``, whatever the data set; empty if it has none."""
    section: Mapping[str, Any] = (card.recipe or {}).get("data", {})
    return section


def _note_by_name(
    card: ModelCard, index: PairIndex, *, split: str, threshold_source: str | None
) -> str | None:
    for source in (threshold_source, selection_source(card)):
        if was_chosen_on(source, data_name=index.name, split=split):
            return SELECTION_SET_NOTE
    splits = training_data(card, index)
    if splits.get("train_split") == split:
        return TRAINING_SET_NOTE
    # A file that was calibrated before selection_source was kept: only the recipe still tells.
    return SELECTION_SET_NOTE if splits.get("val_split") == split else None


def _listed(bands: tuple[int, ...] | None) -> str:
    return "all" if bands is None else ", ".join(map(str, bands))
