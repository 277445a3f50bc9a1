"""What a model has seen of the data it is evaluated on, and what that makes of the figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from changedet.card import ModelCard
from changedet.data.index import PairIndex
from changedet.data.labelled import LabelledPair
from changedet.data.rasters.provenance import Seen, add_validation, count_seen, record_blocks
from changedet.data.seen import is_same_data_set, splits_trained_on, training_data
from changedet.errors import ConfigError
from changedet.metrics.protocol import SELECTION_SET_NOTE, TRAINING_SET_NOTE
from changedet.selection import Selection


def find_seen(card: ModelCard, index: PairIndex, *, split: str) -> Seen | None:
    """Compare the blocks of a split to those of the run; None where they are not of scenes.

    The sets of a mixture are compared one by one, as some may not be of scenes.
    """
    if index.scenes is None or index.mixture is not None or card.blocks is None:
        return None
    return count_seen(card.blocks, index.split(split))


def with_selection_blocks(
    stored: Mapping[str, Any] | None, index: PairIndex, pairs: Sequence[LabelledPair]
) -> dict[str, Any] | None:
    """Add the blocks that choose now to those that a model has met, so that it is known.

    Args:
        stored: Those of its card.
        index: The data set that chooses.
        pairs: Those of its pairs that choose.
    """
    if index.scenes is None:
        return None if stored is None else dict(stored)
    chosen = record_blocks([], pairs, gap_px=index.scenes.gap_px)
    return chosen if stored is None else add_validation(stored, chosen)


def optimism_note(
    card: ModelCard,
    index: PairIndex,
    *,
    split: str,
    seen: Seen | None,
    threshold: Selection | None,
) -> str | None:
    """Warn where the figures are of images that the model or its threshold has already seen.

    Images that chose the weights count whichever threshold is applied: another checkpoint was left
    aside because it did worse on them.

    Args:
        card: Of the model.
        index: What it is evaluated on.
        split: Name of the split that is reported.
        seen: Of its blocks, where that is known; where it shows nothing, the names of data set and
            split decide.
        threshold: What chose the threshold that is applied, if the model brought it.
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
    return _note_by_name(card, index, split=split, threshold=threshold)


def other_bands_note(card: ModelCard, index: PairIndex) -> list[str]:
    """Warn where other bands are read than those that the model was trained on."""
    if index.bands is None or card.source_bands is None:
        return []
    trained = (card.source_bands, card.source_bands_after or card.source_bands)
    read = (index.bands, index.bands_after or index.bands)
    if read == trained:
        return []
    return [
        f"warning: the model was trained on bands {_listed(trained[0])} of before and "
        f"{_listed(trained[1])} of after, but {_listed(read[0])} and {_listed(read[1])} are read "
        "here; choose those of the training if these are not the same"
    ]


def was_chosen_on(chosen: Selection, *, data_name: str, split: str) -> bool:
    """Tell whether a model's weights or threshold were chosen on a split of a data set.

    Args:
        chosen: Of a model card.
        data_name: Name of the data set, as its index gives it.
        split: Name of the split.
    """
    return chosen.split == split and is_same_data_set(chosen.data, data_name)


def refuse_training_split(card: ModelCard, index: PairIndex, *, split: str, model: Path) -> None:
    """Let a split through that can choose a threshold.

    On images that a network was trained on, its scores are better than they will ever be.

    Args:
        card: Of the model.
        index: The data set.
        split: Name of the split.
        model: The model file, for the message.

    Raises:
        ConfigError: If the model was trained on it.
    """
    seen = find_seen(card, index, split=split)
    if seen is not None:
        trained, chose = seen.trained_on > 0, seen.chosen_on == seen.blocks
    else:
        training = splits_trained_on(card, index.name)
        trained = split in training
        # A run on several splits that validates on one of them chooses nothing there.
        chose = training_data(card, index.name).get("val_split") == split and len(training) == 1
    if trained and not chose:
        raise ConfigError(
            f"{model} was trained on split {split!r} of {index.name}, where its "
            "scores are better than elsewhere, so a threshold from there would be too high or too "
            "low; use its validation split (`split`) or another data set (`data`)"
        )


def _note_by_name(
    card: ModelCard, index: PairIndex, *, split: str, threshold: Selection | None
) -> str | None:
    trained_on = splits_trained_on(card, index.name)
    if len(trained_on) > 1 and split in trained_on:
        # Such a run chooses nothing on them; what else may have been chosen there counts less.
        return TRAINING_SET_NOTE
    known = card.weights_selection if threshold is None else (threshold, *card.weights_selection)
    if any(was_chosen_on(chosen, data_name=index.name, split=split) for chosen in known):
        return SELECTION_SET_NOTE
    if split in trained_on:
        return TRAINING_SET_NOTE
    # A file that was calibrated before the choice of the weights was kept: the recipe still tells.
    chose = training_data(card, index.name).get("val_split")
    return SELECTION_SET_NOTE if chose == split else None


def _listed(bands: tuple[int, ...] | None) -> str:
    return "all" if bands is None else ", ".join(map(str, bands))
