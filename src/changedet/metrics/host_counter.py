"""Count pixels by score and label in main memory, one row per image; needs no PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from changedet.card import check_threshold
from changedet.errors import DataError
from changedet.metrics.histogram import (
    GRID_THRESHOLDS,
    PAPER_THRESHOLDS,
    TAIL_THRESHOLDS,
    ScoreHistogram,
)
from changedet.types import IGNORED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

#: Averaging overlapping tiles may leave [0, 1] by rounding; anything farther out is a distance or a
#: logit that somebody took for a score.
ROUNDING: Final = 1e-4
#: Pixels that are counted in one pass.
_COUNTED_AT_ONCE_PX = 2**20


def counting_edges(extra_thresholds: Sequence[float]) -> NDArray[np.float32]:
    """List the scores at which counts are exact.

    The edges are the union of the 1024 equal bins, the 96 of the DASNet papers and those asked
    for, so each of these is exact later on (spec 5), and finer ones near 0 and 1, which tell how
    sure a network was.

    Args:
        extra_thresholds: Further scores in [0, 1] that will be asked for, such as a model's own.

    Returns:
        Rising scores, from 0.

    Raises:
        ConfigError: If an extra threshold is not a score in [0, 1].
    """
    for threshold in extra_thresholds:
        check_threshold(threshold)
    usual = (*GRID_THRESHOLDS, *PAPER_THRESHOLDS, *TAIL_THRESHOLDS)
    return np.unique(np.array([*usual, *extra_thresholds], dtype=np.float32))


def check_shapes(score: tuple[int, ...], label: tuple[int, ...]) -> None:
    """Refuse scores and labels of different shapes, or of other than (B, H, W).

    Raises:
        DataError: Naming both.
    """
    if len(score) != 3 or score != label:
        raise DataError(
            f"score and label must both be (B, H, W), got score {score} and label {label}"
        )


def refuse_wrong_values(
    wrong_scores: int, wrong_labels: int, label_values: Callable[[], list[int]]
) -> None:
    """Refuse a batch in which pixels were found that cannot be counted.

    Args:
        wrong_scores: Pixels whose score is NaN or outside [0, 1].
        wrong_labels: Pixels whose label is none.
        label_values: Gives the values of the batch's labels.

    Raises:
        DataError: If there are any.
    """
    if wrong_labels:
        values = [value for value in label_values() if value not in (0, 1, IGNORED)]
        raise DataError(
            f"a decoded label has only 0, 1 and {IGNORED}, got also {values[:5]} in "
            f"{wrong_labels} pixels; decode it first"
        )
    if wrong_scores:
        raise DataError(
            f"{wrong_scores} scores are NaN or outside [0, 1]; a score is half the distance, "
            "and NaN means that the model or its normalisation is broken"
        )


class HostScoreCounter:
    """Count the pixels of batch after batch.

    It gives the same counts as :class:`changedet.metrics.counter.ScoreCounter`.

    Args:
        extra_thresholds: Further scores in [0, 1] that will be asked for, such as a model's own.

    Raises:
        ConfigError: If an extra threshold is not a score in [0, 1].
    """

    def __init__(self, *, extra_thresholds: Sequence[float] = ()) -> None:
        self._edges = counting_edges(extra_thresholds)
        bins = self._edges.shape[0]
        self._lowest = np.full(bins, 2.0, np.float32)
        self._highest = np.full(bins, -1.0, np.float32)
        self._images: list[NDArray[np.int64]] = []

    def update(self, score: NDArray[np.float32], label: NDArray[np.uint8]) -> None:
        """Add one row of counts for each image of a batch.

        Args:
            score: Change scores, (B, H, W), in [0, 1].
            label: Decoded labels, (B, H, W), 0 unchanged, 1 changed, 255 ignored.

        Raises:
            DataError: If the shapes differ, a score is NaN or outside [0, 1], or a label has
                another value.
        """
        check_shapes(score.shape, label.shape)
        is_score = (score >= -ROUNDING) & (score <= 1.0 + ROUNDING)
        is_label = (label == 0) | (label == 1) | (label == IGNORED)
        wrong_labels = int(np.count_nonzero(~is_label))
        # A pixel counts as one fault, that of its label.
        wrong_scores = int(np.count_nonzero(~is_score & is_label))
        refuse_wrong_values(wrong_scores, wrong_labels, lambda: np.unique(label).tolist())
        self._images += [self._count(*pair) for pair in zip(score, label, strict=True)]

    def compute(self) -> ScoreHistogram:
        """Return all counts so far, rows in the order of the images; counting may go on."""
        bins = self._edges.shape[0]
        counts = np.array(self._images, dtype=np.int64).reshape(-1, 2, bins)
        return ScoreHistogram(
            edges=self._edges.copy(),
            unchanged=counts[:, 0].copy(),
            changed=counts[:, 1].copy(),
            lowest=self._lowest.copy(),
            highest=self._highest.copy(),
        )

    def _count(self, score: NDArray[Any], label: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Count one image, (2, bins), and note the extreme scores of each bin."""
        bins = self._edges.shape[0]
        counts = np.zeros(2 * bins, np.int64)
        counted = label != IGNORED
        scores = np.clip(score[counted].astype(np.float32), 0.0, 1.0)
        changed = label[counted] == 1
        for start in range(0, scores.size, _COUNTED_AT_ONCE_PX):
            part = slice(start, start + _COUNTED_AT_ONCE_PX)
            column = np.searchsorted(self._edges, scores[part], side="right") - 1
            counts += np.bincount(column + bins * changed[part], minlength=2 * bins)
            np.minimum.at(self._lowest, column, scores[part])
            np.maximum.at(self._highest, column, scores[part])
        return counts.reshape(2, bins)
