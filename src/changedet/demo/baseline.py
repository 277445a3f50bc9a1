"""What the demo's model has to beat: the plain difference of the two images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from changedet.baselines.difference import mean_absolute_difference
from changedet.card import ModelCard
from changedet.inference.scorer import HostScorer, Image
from changedet.types import Normalisation, TestTime


def difference_score(before: Image, after: Image) -> NDArray[np.float32]:
    """Score each pixel by the mean absolute difference of its channels, as a share of 255.

    The baseline ``difference`` standardises both dates first and scales every image by its own
    threshold; here the score means the same in all images, for a threshold that other images chose.

    Args:
        before: uint8, (H, W, C).
        after: The same shape.

    Returns:
        Change scores, (H, W), in [0, 1].
    """
    score: NDArray[np.float32] = mean_absolute_difference(before, after) / np.float32(255)
    return score


class DifferenceScorer(HostScorer):
    """Scores tiles by :func:`difference_score`."""

    in_channels = 3
    stride = 1
    fixed_tile = False
    test_time: TestTime = "none"
    card = ModelCard(
        "image_difference",
        {},
        Normalisation((0.0,) * 3, (0.0,) * 3, (1.0,) * 3, (1.0,) * 3),
    )

    def score(self, before: Sequence[Image], after: Sequence[Image]) -> NDArray[np.float32]:
        """Score a batch of tiles, (B, h, w)."""
        return np.stack([difference_score(*pair) for pair in zip(before, after, strict=True)])
