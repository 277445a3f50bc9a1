"""Score labelled pairs and count, so that every metric can be computed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from changedet.card import check_threshold
from changedet.errors import DataError
from changedet.inference.tiling import overlap_of, score_pairs
from changedet.metrics.host_counter import HostScoreCounter
from changedet.raster.grid import round_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from changedet.data.labelled import DecodedPair
    from changedet.inference.scorer import Image, Scorer
    from changedet.metrics.histogram import ScoreHistogram
    from changedet.raster.tile_plan import Resident
    from changedet.types import Mode

#: Score maps are counted together up to this many pixels, to bound memory with large images.
_COUNTED_AT_ONCE_PX = 2**22


@dataclass(frozen=True, eq=False)
class ScoredPair:
    """One labelled pair with its scores.

    Attributes:
        number: Of the pair, from 0, in the order in which they were given.
        pair: Before, after and label.
        resident: Scores, (H, W), float32 in [0, 1], where the scorer leaves them.
        scorer: What scored it.
    """

    number: int
    pair: DecodedPair
    resident: Resident
    scorer: Scorer

    @property
    def score(self) -> NDArray[np.float32]:
        """The scores in main memory, (H, W), float32 in [0, 1]."""
        return self.scorer.to_host(self.resident)


#: Called for every pair as it is scored, in order.
OnScore: TypeAlias = Callable[[ScoredPair], None]


def count_scores(
    scorer: Scorer,
    pairs: Iterable[DecodedPair],
    *,
    mode: Mode = "whole",
    tile_px: int | None = None,
    batch_size: int = 8,
    extra_thresholds: Sequence[float] = (),
    on_score: OnScore | None = None,
) -> ScoreHistogram:
    """Count, for every labelled pair, its changed and unchanged pixels by their score.

    Neither images nor score maps are kept, so a set of any length fits in memory. Scores are
    blended and counted where the scorer leaves them: those of a GPU never leave it.

    Args:
        scorer: Gives the scores.
        pairs: Labelled pairs, decoded, read one by one; sizes may differ between pairs.
        mode: How images larger than a tile are cut.
        tile_px: Height and width of a tile, rounded up to a multiple of the scorer's stride; None:
            the card's.
        batch_size: Tiles that are scored at once, and score maps that are counted at once.
        extra_thresholds: Scores at which the counts must be exact, besides the usual ones; the
            card's own threshold always is.
        on_score: Called with each pair and its scores, in order, for example to draw heat maps.

    Raises:
        DataError: If there is no pair, or a label's size is not that of its images.
        ConfigError: If a threshold, tile or batch size makes no sense.
    """
    for threshold in extra_thresholds:
        check_threshold(threshold)
    tile_px = round_up(scorer.card.tile_px if tile_px is None else tile_px, scorer.stride)
    own = () if scorer.card.threshold is None else (scorer.card.threshold,)
    counter: _GroupedCounter | None = None
    numbered = enumerate(pairs)
    scored = score_pairs(
        scorer,
        numbered,
        images=_checked_images,
        tile_px=tile_px,
        overlap_px=overlap_of(mode, tile_px),
        batch_size=batch_size,
    )
    for (number, pair), resident in scored:
        if counter is None:
            thresholds = (*extra_thresholds, *own)
            counter = _GroupedCounter(_counter_for(resident, thresholds), batch_size)
        counter.add(resident, pair.label)
        if on_score is not None:
            on_score(ScoredPair(number, pair, resident, scorer))
    if counter is None:
        raise DataError("there is no labelled pair to evaluate; choose another split or data set")
    return counter.compute()


def _checked_images(numbered: tuple[int, DecodedPair]) -> tuple[Image, Image]:
    number, pair = numbered
    if not pair.before.shape[:2] == pair.after.shape[:2] == pair.label.shape:
        raise DataError(
            f"pair {number}: before, after and label must have the same size, got "
            f"{pair.before.shape[:2]}, {pair.after.shape[:2]} and {pair.label.shape} (height, "
            "width); `changedet data check` lists all such pairs"
        )
    return pair.before, pair.after


class _Counter(Protocol):
    """Counts maps of scores where they lie, those of one size together."""

    def update(self, scores: list[Resident], labels: list[NDArray[np.uint8]]) -> None:
        """Add maps of one size, (H, W) each, with their decoded labels."""

    def compute(self) -> ScoreHistogram:
        """Return all counts so far."""


class _OnHost:
    """Counts in main memory, without PyTorch."""

    def __init__(self, thresholds: Sequence[float]) -> None:
        self._counter = HostScoreCounter(extra_thresholds=thresholds)

    def update(self, scores: list[Resident], labels: list[NDArray[np.uint8]]) -> None:
        self._counter.update(np.stack(scores), np.stack(labels))

    def compute(self) -> ScoreHistogram:
        return self._counter.compute()


class _OnDevice:
    """Counts on the device on which the first map lies."""

    def __init__(self, thresholds: Sequence[float], first: Resident) -> None:
        import torch

        from changedet.metrics.counter import ScoreCounter

        self._torch = torch
        self._counter = ScoreCounter(extra_thresholds=thresholds, device=first.device)

    def update(self, scores: list[Resident], labels: list[NDArray[np.uint8]]) -> None:
        label = self._torch.from_numpy(np.stack(labels)).to(scores[0].device)
        self._counter.update(self._torch.stack(scores), label)

    def compute(self) -> ScoreHistogram:
        return self._counter.compute()


def _counter_for(resident: Resident, thresholds: Sequence[float]) -> _Counter:
    """Count where the scorer leaves its scores."""
    if isinstance(resident, np.ndarray):
        return _OnHost(thresholds)
    return _OnDevice(thresholds, resident)


class _GroupedCounter:
    """Counts score maps of one size together: one pass on the device for many images."""

    def __init__(self, counter: _Counter, at_once: int) -> None:
        self._counter = counter
        self._at_once = at_once
        self._scores: list[Resident] = []
        self._labels: list[NDArray[np.uint8]] = []

    def add(self, score: Resident, label: NDArray[np.uint8]) -> None:
        if self._scores and score.shape != self._scores[0].shape:
            self._flush()
        self._scores.append(score)
        self._labels.append(label)
        pixels = len(self._scores) * label.size
        if len(self._scores) >= self._at_once or pixels >= _COUNTED_AT_ONCE_PX:
            self._flush()

    def compute(self) -> ScoreHistogram:
        self._flush()
        return self._counter.compute()

    def _flush(self) -> None:
        if not self._scores:
            return
        self._counter.update(self._scores, self._labels)
        self._scores, self._labels = [], []
