"""Pixels counted by score and label, one row per image: all figures come from this. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from changedet.errors import ConfigError, DataError
from changedet.types import MAX_DISTANCE

FloatArray: TypeAlias = NDArray[np.float64]
CountArray: TypeAlias = NDArray[np.int64]

#: Number of equal score bins between 0 and 1 (spec 5).
SCORE_BINS = 1024
#: The thresholds k/1024, k = 0..1024, among which a threshold is chosen and curves are drawn.
GRID_THRESHOLDS: tuple[float, ...] = tuple(k / SCORE_BINS for k in range(SCORE_BINS + 1))
#: The 96 thresholds of the DASNet papers, as distances in [0, 2.2] (spec 5).
PAPER_DISTANCES: tuple[float, ...] = tuple(np.linspace(0.0, 2.2, 96).tolist())
#: The same as scores in [0, 1.1]; none of the scores reaches the last nine.
PAPER_THRESHOLDS: tuple[float, ...] = tuple(d / MAX_DISTANCE for d in PAPER_DISTANCES)
# Scores of sure networks lie in the first and last bin: 0.001 and 0.000001 are told apart by the
# likelihood of labels only.
_TAIL_LOGITS = np.arange(7.0, 14.25, 0.25)
#: Scores closer to 0 and 1 than the bins reach, in even steps of the logit.
TAIL_THRESHOLDS: tuple[float, ...] = tuple(
    sorted(
        [*(1 / (1 + np.exp(_TAIL_LOGITS))).tolist(), *(1 / (1 + np.exp(-_TAIL_LOGITS))).tolist()]
    )
)


def image_rows(indices: Sequence[int], images: int) -> NDArray[np.intp]:
    """Check indices of images and give them as an array.

    Raises:
        DataError: If there is no such image.
    """
    rows = np.asarray(indices, dtype=np.intp)
    if rows.size and not ((rows >= 0) & (rows < images)).all():
        raise DataError(
            f"image indices must be in [0, {images}), got {int(rows.min())} to {int(rows.max())}"
        )
    return rows


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """Pixel counts by score for the unchanged and the changed pixels of N images.

    Column e counts the scores in [edges[e], edges[e + 1]), the last column those from the last
    edge on. So "changed where score >= t" is exact for every t among the edges. Ignored pixels
    are in neither count.

    Attributes:
        edges: Lower ends of the bins, (E,), float32, strictly increasing from 0.
        unchanged: Pixels labelled unchanged, (N, E).
        changed: Pixels labelled changed, (N, E).
        lowest: Lowest score counted in each bin over all images, (E,), above 1 in an empty bin.
            Together with ``highest`` it tells tied scores from scores that merely share a bin;
            without the two every bin counts as tied.
        highest: Highest score counted in each bin, (E,), below 0 in an empty bin.

    Raises:
        DataError: If the shapes do not fit together.
    """

    edges: NDArray[np.float32]
    unchanged: CountArray
    changed: CountArray
    lowest: NDArray[np.float32] | None = None
    highest: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        expected = (self.unchanged.shape[0], self.edges.shape[0])
        if self.unchanged.shape != expected or self.changed.shape != expected:
            raise DataError(
                f"counts of unchanged {self.unchanged.shape} and changed {self.changed.shape} "
                f"pixels must both be (images, {self.edges.shape[0]}), one column per edge"
            )

    @property
    def images(self) -> int:
        """Number of images counted."""
        return int(self.unchanged.shape[0])

    def columns_of(self, thresholds: Sequence[float]) -> NDArray[np.intp]:
        """Find the first column at or above each threshold, (T,).

        Thresholds are compared as float32, as ``score >= threshold`` does for a float32 score map.

        Raises:
            ConfigError: If a threshold is not an edge, so that its counts would not be exact.
        """
        wanted = np.asarray(thresholds, dtype=np.float32)
        columns = np.searchsorted(self.edges, wanted, side="left")
        found = self.edges[np.minimum(columns, self.edges.shape[0] - 1)] == wanted
        if not found.all():
            missing = float(np.asarray(thresholds, dtype=np.float64)[~found][0])
            raise ConfigError(
                f"threshold {missing} was not counted; count again with "
                f"ScoreCounter(extra_thresholds=[{missing}]) or use a multiple of 1/{SCORE_BINS}"
            )
        return columns

    def subset(self, indices: Sequence[int]) -> ScoreHistogram:
        """Keep the rows of some images, in the order asked for; repeats are allowed.

        Raises:
            DataError: If there is no such row.
        """
        rows = image_rows(indices, self.images)
        return replace(self, unchanged=self.unchanged[rows], changed=self.changed[rows])

    def merge(self, other: ScoreHistogram) -> ScoreHistogram:
        """Put the images of another histogram behind those of this one.

        Raises:
            DataError: If the edges differ.
        """
        if not np.array_equal(self.edges, other.edges):
            raise DataError(
                f"histograms with different edges ({self.edges.shape[0]} and "
                f"{other.edges.shape[0]}) cannot be merged; count both with the same "
                "extra_thresholds"
            )
        return ScoreHistogram(
            self.edges,
            np.concatenate([self.unchanged, other.unchanged]),
            np.concatenate([self.changed, other.changed]),
            _both(np.minimum, self.lowest, other.lowest),
            _both(np.maximum, self.highest, other.highest),
        )


def _both(
    extreme: np.ufunc, first: NDArray[np.float32] | None, second: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    if first is None or second is None:
        return None
    joined: NDArray[np.float32] = extreme(first, second)
    return joined
