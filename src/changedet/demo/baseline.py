"""What the demo's model has to beat: the difference of the two images as they are."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from changedet.baselines.difference import mean_absolute_difference
from changedet.data.labelled import LabelledPair
from changedet.data.labels.scan import LabelEncoding
from changedet.data.reading import PairReader
from changedet.inference import counting
from changedet.inference.torch_scorer import Image
from changedet.metrics.histogram import ScoreHistogram

#: Before and after, uint8 (H, W, C), to change scores, float32 (H, W), in [0, 1].
Scorer = Callable[[Image, Image], NDArray[np.float32]]


def difference_score(before: Image, after: Image) -> NDArray[np.float32]:
    """Score each pixel by the mean absolute difference of its channels, as a share of 255.

    The floor ``difference`` standardises both dates first and scales every image by its own
    threshold; here the score means the same in all images, for a threshold that other images chose.

    Args:
        before: uint8, (H, W, C).
        after: The same shape.

    Returns:
        Change scores, (H, W), in [0, 1].
    """
    score: NDArray[np.float32] = mean_absolute_difference(before, after) / np.float32(255)
    return score


def count_scores(
    pairs: Sequence[LabelledPair], scorer: Scorer, *, encoding: LabelEncoding, channels: int = 3
) -> ScoreHistogram:
    """Count labelled pairs by the scores of something that is no model of ours.

    Args:
        pairs: Labelled pairs.
        scorer: Gives the scores.
        encoding: What the labels' values mean.
        channels: Channels that the images must have.

    Raises:
        DataError: If there is no pair, or one cannot be used.
    """

    def score_each(images: Iterable[tuple[Image, Image]]) -> Iterator[Tensor]:
        return (torch.from_numpy(scorer(before, after)) for before, after in images)

    samples = PairReader(encoding, channels).read_ahead(pairs)
    return counting.count_scores(score_each, samples, device=torch.device("cpu"))
