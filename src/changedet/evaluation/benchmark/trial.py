"""One method, shown the images in one way: the counts that all of its figures come from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from changedet.data.labelled import DecodedPair
from changedet.evaluation.benchmark.request import View
from changedet.inference.counting import OnScore, ScoredPair
from changedet.inference.score_source import ScoreSource
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
        on_score: Told of each pair with its scores.

    Raises:
        DataError: If a pair cannot be used.
    """
    counter = ObjectCounter()

    def count_objects(scored: ScoredPair) -> None:
        counter.add(scored.score >= np.float32(threshold), scored.pair.label)
        on_score(scored)

    pixels = source.count(
        samples,
        mode=view.mode,
        tile_px=view.tile_px,
        batch_size=batch_size,
        extra_thresholds=(threshold,),
        on_score=count_objects,
    )
    return Trial(threshold, pixels, counter.compute())
