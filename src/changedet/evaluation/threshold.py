"""Which threshold an evaluation applies, who chose it, and what that makes of the figures."""

from dataclasses import dataclass

from changedet.data.index import PairIndex
from changedet.data.rasters.provenance import Seen
from changedet.errors import DataError
from changedet.evaluation.leakage import optimism_note
from changedet.inference.score_source import ScoreSource
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.protocol import SELECTION_SET_NOTE, choose_threshold
from changedet.selection import Selection


@dataclass(frozen=True)
class ThresholdChoice:
    """A threshold to apply unchanged.

    Attributes:
        value: A score in [0, 1]; None if there is none.
        selection: Who chose it; None if that is not known.
        split: The split on which it was chosen just now; None if it was there before.
        by_hand: Whether the user gave it.
    """

    value: float | None
    selection: Selection | None
    split: str | None = None
    by_hand: bool = False

    @property
    def source(self) -> str | None:
        """Who chose it, as a sentence."""
        return None if self.selection is None else self.selection.describe()


def given_by_hand(threshold: float) -> ThresholdChoice:
    """Apply what the user gave, a score in [0, 1]."""
    return ThresholdChoice(threshold, Selection("user"), by_hand=True)


def own_threshold(source: ScoreSource) -> ThresholdChoice:
    """Apply what a model or an untrained baseline brings with it."""
    card = source.detector.card
    return ThresholdChoice(source.detector.threshold, card.threshold_selection)


def chosen_on_split(histogram: ScoreHistogram, index: PairIndex, split: str) -> ThresholdChoice:
    """Choose the threshold with the best F1 on a split (spec 5).

    Args:
        histogram: Counts of that split.
        index: The data set.
        split: Name of the split.

    Raises:
        DataError: If no pixel of the split has changed.
    """
    try:
        value = choose_threshold(histogram)
    except DataError as error:
        raise DataError(f"split {split!r} of {index.root}: {error}") from error
    chosen = Selection("split", data=index.name, split=split, images=histogram.images)
    return ThresholdChoice(value, chosen, split)


def threshold_note(
    choice: ThresholdChoice,
    source: ScoreSource,
    index: PairIndex,
    *,
    split: str,
    seen: Seen | None,
) -> str | None:
    """Warn where the reported images were seen before, or the threshold is for other scores.

    Seen before: in training, in the choice of the weights, or in that of the threshold.

    Args:
        choice: The threshold that is applied.
        source: What gives the scores.
        index: What it is evaluated on.
        split: Name of the split that is reported.
        seen: Of its blocks, where the model file and the data tell; see
            :func:`changedet.evaluation.leakage.find_seen`.
    """
    notes = [None if choice.split is None else _overlap_note(index, split, chosen_on=choice.split)]
    if source.card is not None:
        is_own = choice.split is None and not choice.by_hand
        own = choice.selection if is_own else None
        notes += [
            optimism_note(source.card, index, split=split, seen=seen, threshold=own),
            _other_views_note(source) if is_own else None,
        ]
    return "; ".join(dict.fromkeys(note for note in notes if note)) or None


def _other_views_note(source: ScoreSource) -> str | None:
    """Say that a model's own threshold was chosen for other test-time augmentation than is used."""
    card = source.card
    if card is None or card.threshold is None or card.test_time == source.detector.test_time:
        return None
    return (
        f"the threshold was chosen for test-time augmentation {card.test_time}, but "
        f"{source.detector.test_time} is used"
    )


def _overlap_note(index: PairIndex, split: str, *, chosen_on: str) -> str | None:
    if split == chosen_on:
        return SELECTION_SET_NOTE
    known = {pair.source for pair in index.split(chosen_on)}
    pairs = index.split(split)
    shared = sum(pair.source in known for pair in pairs)
    return f"{shared} of {len(pairs)} pairs chose the threshold; optimistic" if shared else None
