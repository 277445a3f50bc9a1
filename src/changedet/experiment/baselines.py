"""What a model has to beat: change scores that nobody trained."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from changedet.data.labelled import LabelledPair
from changedet.data.labels import LabelEncoding
from changedet.data.pairs import read_pair
from changedet.inference.loading import load_ahead
from changedet.inference.scorer import Image
from changedet.metrics.histogram import ScoreCounter, ScoreHistogram

#: Before and after, uint8 (H, W, C), to change scores, float32 (H, W), in [0, 1].
Scorer = Callable[[Image, Image], NDArray[np.float32]]


def difference_score(before: Image, after: Image) -> NDArray[np.float32]:
    """Score each pixel by the mean absolute difference of its channels, as a share of 255.

    Args:
        before: uint8, (H, W, C).
        after: The same shape.

    Returns:
        Change scores, (H, W), in [0, 1].
    """
    difference = np.abs(before.astype(np.float32) - after.astype(np.float32))
    score: NDArray[np.float32] = difference.mean(axis=2) / np.float32(255)
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
        DataError: If a pair cannot be used.
    """
    counter = ScoreCounter()
    for pair in load_ahead(
        lambda paths: read_pair(paths, encoding=encoding, channels=channels), pairs
    ):
        score = torch.from_numpy(scorer(pair.before, pair.after))
        counter.update(score[None], torch.from_numpy(pair.label)[None])
    return counter.compute()
