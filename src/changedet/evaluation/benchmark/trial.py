"""One method, shown the images in one way: the counts that all of its figures come from."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from changedet.data.labelled import DecodedPair
from changedet.evaluation.benchmark.request import View
from changedet.inference.counting import OnScore
from changedet.inference.score_source import ScoreSource, count_source
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.objects import ObjectCounter, ObjectCounts


@dataclass(frozen=True, eq=False)
class Trial:
    """What was counted.

    Attributes:
        threshold: Score from which on a pixel counts as changed.
        pixels: Pixels by score and label, image by image.
        objects: Objects at the threshold, image by image.
    """

    threshold: float
    pixels: ScoreHistogram
    objects: ObjectCounts


def run_trial(
    source: ScoreSource,
    samples: Iterable[DecodedPair],
    *,
    view: View,
    threshold: float,
    batch_size: int,
    on_score: OnScore,
) -> Trial:
    """Score labelled pairs once and count their pixels and objects.

    Args:
        source: Gives the scores.
        samples: Labelled pairs, read one by one.
        view: How images are cut.
        threshold: Score in [0, 1] from which on a pixel counts as changed.
        batch_size: Tiles that go through a model at once.
        on_score: Called with each pair's number and scores.

    Raises:
        DataError: If a pair cannot be used.
    """
    labels: deque[NDArray[np.uint8]] = deque()
    counter = ObjectCounter()

    def count_objects(number: int, score: Tensor) -> None:
        is_changed = score.cpu().numpy() >= np.float32(threshold)
        counter.add(is_changed, labels.popleft())
        on_score(number, score)

    pixels = count_source(
        source,
        _with_labels(samples, labels),
        mode=view.mode,
        tile_px=view.tile_px,
        batch_size=batch_size,
        extra_thresholds=(threshold,),
        on_score=count_objects,
    )
    return Trial(threshold, pixels, counter.compute())


def _with_labels(
    samples: Iterable[DecodedPair], labels: deque[NDArray[np.uint8]]
) -> Iterator[DecodedPair]:
    """Hand the pairs on and queue their labels, which wait there for the scores."""
    for sample in samples:
        labels.append(sample.label)
        yield sample
