"""How clean the heat maps of a split are: false-positive objects, and contrast.

The DASNet-V2 document claims that the cosine distance gives cleaner heat maps (spec 6) and shows
images. Here cleanness is measured by two numbers per image, so that it can be estimated and
compared like F1.
"""

import numpy as np

from changedet.ablation.estimates import Counts, FloatArray
from changedet.inference.counting import ScoredPair
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.objects import count_false_positive_objects

#: Columns of what :class:`FalsePositiveCounter` gives: their number, and 1 for the image.
FALSE_POSITIVE_COLUMNS = 2
#: Columns of what :func:`score_moments` gives.
MOMENT_COLUMNS = 6


class FalsePositiveCounter:
    """Counts the found objects of image after image that hold no pixel labelled changed.

    Args:
        threshold: Score from which on a pixel is found changed; None: nothing is.
    """

    def __init__(self, threshold: float | None) -> None:
        self._threshold = threshold
        self._counts: list[int] = []

    def add(self, scored: ScoredPair) -> None:
        """Count in a pair with its scores."""
        if self._threshold is None:
            return
        is_changed = scored.score >= np.float32(self._threshold)
        self._counts.append(count_false_positive_objects(is_changed, scored.pair.label))

    def compute(self) -> Counts:
        """Return their number and 1 of each image, (N, 2); no row without a threshold."""
        return np.array([(number, 1) for number in self._counts], np.int64).reshape(
            -1, FALSE_POSITIVE_COLUMNS
        )


def score_moments(histogram: ScoreHistogram) -> FloatArray:
    """Sum up the scores of both classes, for :data:`.estimates.CONTRAST`.

    Each score counts as the middle of its bin, which is off by half a bin of 1/1024 at most; none
    counts as more than 1.

    Args:
        histogram: Scores of N images.

    Returns:
        (N, 6): number, sum and sum of squares of the scores of the changed, then of the unchanged
        pixels.
    """
    edges = np.minimum(histogram.edges.astype(np.float64), 1.0)
    middles = (edges + np.append(edges[1:], 1.0)) / 2.0
    powers = np.stack([np.ones_like(middles), middles, middles**2], axis=1)
    moments: FloatArray = np.concatenate(
        [histogram.changed @ powers, histogram.unchanged @ powers], axis=1
    )
    return moments
