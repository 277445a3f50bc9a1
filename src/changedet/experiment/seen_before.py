"""What a model has seen of the data it is judged on, and what that makes of the figures."""

import re

from changedet.data.index import PairIndex
from changedet.data.scenes.record import Seen, count_seen
from changedet.metrics.protocol import SELECTION_SET_NOTE
from changedet.models.model_file import ModelCard

#: For figures on the very images the model was trained on.
TRAINING_SET_NOTE = "training set, optimistic"

#: As training writes it: max-F1 on split 'val' of NAME (120 images), epoch 3, batch 40.
_CHOSEN_ON = re.compile(r"on split '(?P<split>[^']*)' of (?P<data>.*) \(\d+ images?\)")


def find_seen(card: ModelCard, index: PairIndex, *, split: str) -> Seen | None:
    """Compare the blocks of a split to those of the run; None where they are not of scenes."""
    if index.scenes is None or card.blocks is None:
        return None
    return count_seen(card.blocks, index.split(split))


def optimism_note(
    card: ModelCard, index: PairIndex, *, split: str, seen: Seen | None, by_hand: bool
) -> str | None:
    """Warn where the figures are of images that the model or its threshold has already seen.

    Args:
        card: Of the model.
        index: What it is judged on.
        split: Name of the split that is reported.
        seen: Of its blocks, where that is known; else names of data set and split decide.
        by_hand: Whether the user gave the threshold, so that no images of the run chose it.
    """
    if seen is not None and seen.trained_on == seen.blocks:
        return TRAINING_SET_NOTE
    parts = [] if seen is None else list(seen.in_training)
    if seen is not None and seen.chosen_on and not by_hand:
        if seen.chosen_on == seen.blocks and not parts:
            return SELECTION_SET_NOTE
        parts.append(f"{seen.chosen_on} of {seen.blocks} blocks chose the threshold")
    if parts:
        return f"{'; '.join(parts)}; optimistic"
    return None if by_hand else _note_by_name(card, index, split=split)


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
    """Tell whether a model's threshold was chosen on a split of a data set.

    Args:
        source: ``threshold_source`` of a model card.
        data_name: Name of the data set, as its index gives it.
        split: Name of the split.
    """
    found = _CHOSEN_ON.search(source or "")
    return found is not None and (found["split"], found["data"]) == (split, data_name)


def _note_by_name(card: ModelCard, index: PairIndex, *, split: str) -> str | None:
    if was_chosen_on(card.threshold_source, data_name=index.name, split=split):
        return SELECTION_SET_NOTE
    trained_on = (card.recipe or {}).get("data", {}).get("train_split")
    if card.data_name == index.name and trained_on == split:
        return TRAINING_SET_NOTE
    return None


def _listed(bands: tuple[int, ...] | None) -> str:
    return "all" if bands is None else ", ".join(map(str, bands))
