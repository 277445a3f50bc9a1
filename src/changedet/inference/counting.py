"""Score labelled pairs and count, so that every metric can be had afterwards."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from changedet.errors import DataError
from changedet.inference.tiling import score_pairs
from changedet.inference.torch_scorer import Image
from changedet.metrics.histogram import ScoreCounter, ScoreHistogram
from changedet.models.base import ChangeModel
from changedet.raster.grid import default_overlap, round_up
from changedet.types import Mode, Normalisation, TestTime

#: Before and after, (H, W, C), and the label, (H, W), in {0, 1, 255}; all uint8.
LabelledPair: TypeAlias = tuple[Image, Image, NDArray[np.uint8]]
#: Gets the number of the pair, from 0, and its scores, (H, W), float32 in [0, 1], on the device.
OnScore: TypeAlias = Callable[[int, Tensor], None]
#: Turns pairs of images, read one by one, into their scores in the same order, (H, W), float32 in
#: [0, 1]; it may run some pairs behind, to score them together.
PairScorer: TypeAlias = Callable[[Iterable[tuple[Image, Image]]], Iterator[Tensor]]

#: Score maps are counted together up to this many pixels, to bound memory with large images.
_COUNTED_AT_ONCE_PX = 2**22


def evaluate_pairs(
    model: ChangeModel,
    samples: Iterable[LabelledPair],
    *,
    normalisation: Normalisation,
    tile_px: int,
    device: torch.device,
    batch_size: int = 8,
    mode: Mode = "whole",
    test_time: TestTime = "none",
    extra_thresholds: Sequence[float] = (),
    on_score: OnScore | None = None,
) -> ScoreHistogram:
    """Count, for every pair, its changed and unchanged pixels by their score.

    Neither images nor score maps are kept, so a set of any length fits in memory.

    Args:
        model: On ``device``; it is left in the mode in which it was found.
        samples: Labelled pairs, read one by one; sizes may differ between pairs.
        normalisation: Statistics the model was trained with.
        tile_px: Height and width of a tile, rounded up to a multiple of the model's stride.
        device: Where to compute and count.
        batch_size: Tiles that go through the model at once.
        mode: How images larger than a tile are cut.
        test_time: Which views of a tile, turned, mirrored or coarser, are scored and averaged.
        extra_thresholds: Scores at which the counts must be exact, besides the usual ones.
        on_score: Called with each pair's scores, in order, for pictures and the like.

    Raises:
        DataError: If there is no pair, or a label's size is not that of its images.
    """
    tile_px = round_up(tile_px, model.stride)
    return count_scores(
        partial(
            score_pairs,
            model,
            normalisation=normalisation,
            tile_px=tile_px,
            overlap_px=overlap_of(mode, tile_px),
            batch_size=batch_size,
            device=device,
            test_time=test_time,
        ),
        samples,
        device=device,
        at_once=batch_size,
        extra_thresholds=extra_thresholds,
        on_score=on_score,
    )


def count_scores(
    score: PairScorer,
    samples: Iterable[LabelledPair],
    *,
    device: torch.device,
    at_once: int = 8,
    extra_thresholds: Sequence[float] = (),
    on_score: OnScore | None = None,
) -> ScoreHistogram:
    """Count labelled pairs by the scores of anything that scores pairs of images.

    Neither images nor score maps are kept, so a set of any length fits in memory.

    Args:
        score: Scores the pairs.
        samples: Labelled pairs, read one by one; sizes may differ between pairs.
        device: Where to count.
        at_once: Score maps that are counted together at most.
        extra_thresholds: Scores at which the counts must be exact, besides the usual ones.
        on_score: Called with each pair's scores, in order, for pictures and the like.

    Raises:
        DataError: If there is no pair, or a label's size is not that of its images.
    """
    labels: deque[NDArray[np.uint8]] = deque()
    counts = _GroupedCounter(
        ScoreCounter(extra_thresholds=extra_thresholds, device=device), at_once
    )
    number = -1
    for number, scores in enumerate(score(_unlabelled(samples, labels))):
        counts.add(scores, labels.popleft())
        if on_score is not None:
            on_score(number, scores)
    if number < 0:
        raise DataError("there is no labelled pair to evaluate; choose another split or data set")
    return counts.compute()


def overlap_of(mode: Mode, tile_px: int) -> int:
    """Pixels that neighbouring tiles share in a mode."""
    return default_overlap(tile_px) if mode == "whole" else 0


def _unlabelled(
    samples: Iterable[LabelledPair], labels: deque[NDArray[np.uint8]]
) -> Iterator[tuple[Image, Image]]:
    """Hand the images on and queue their labels, which wait there for the scores."""
    for number, (before, after, label) in enumerate(samples):
        if not before.shape[:2] == after.shape[:2] == label.shape:
            raise DataError(
                f"pair {number}: before, after and label must be of one size, got "
                f"{before.shape[:2]}, {after.shape[:2]} and {label.shape} (height, width); "
                "`changedet data check` lists all such pairs"
            )
        labels.append(label)
        yield before, after


class _GroupedCounter:
    """Counts score maps of one size together: one pass on the device for many images."""

    def __init__(self, counter: ScoreCounter, at_once: int) -> None:
        self._counter = counter
        self._at_once = at_once
        self._scores: list[Tensor] = []
        self._labels: list[NDArray[np.uint8]] = []

    def add(self, score: Tensor, label: NDArray[np.uint8]) -> None:
        if self._scores and score.shape != self._scores[0].shape:
            self._flush()
        self._scores.append(score)
        self._labels.append(label)
        pixels = len(self._scores) * score.numel()
        if len(self._scores) >= self._at_once or pixels >= _COUNTED_AT_ONCE_PX:
            self._flush()

    def compute(self) -> ScoreHistogram:
        self._flush()
        return self._counter.compute()

    def _flush(self) -> None:
        if not self._scores:
            return
        label = torch.from_numpy(np.stack(self._labels)).to(self._scores[0].device)
        self._counter.update(torch.stack(self._scores), label)
        self._scores, self._labels = [], []
