"""How clean heat maps are: counted image by image."""

import numpy as np
import pytest
import torch

from changedet.ablation.heat_maps import FalsePositiveCounter, score_moments
from changedet.data.labelled import DecodedPair
from changedet.inference.counting import ScoredPair
from changedet.inference.scorer import HostScorer
from changedet.metrics.counter import ScoreCounter

LABEL = np.array([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 255]], np.uint8)
IMAGE = np.zeros((3, 5, 3), np.uint8)


def scored(score: np.ndarray, label: np.ndarray = LABEL) -> ScoredPair:
    return ScoredPair(0, DecodedPair(IMAGE, IMAGE, label), score, HostScorer())


def test_false_positive_objects_are_counted_with_the_label_of_each_pair():
    counter = FalsePositiveCounter(0.5)
    score = np.zeros((3, 5), np.float32)
    score[0, 1] = score[2, 0] = score[2, 4] = 0.5
    counter.add(scored(score))
    counter.add(scored(score, np.ones_like(LABEL)))
    assert counter.compute().tolist() == [[1, 1], [0, 1]]


def test_without_a_threshold_nothing_is_counted():
    counter = FalsePositiveCounter(None)
    counter.add(scored(np.ones((3, 5), np.float32)))
    assert counter.compute().shape == (0, 2)


def test_moments_are_those_of_the_scores_but_for_the_width_of_a_bin():
    rng = np.random.default_rng(0)
    score, label = rng.random((2, 40, 50), np.float32), rng.integers(0, 3, (2, 40, 50))
    # The highest score there is has a bin of its own.
    score[score > 0.8] = 1.0
    label = np.where(label == 2, 255, label).astype(np.uint8)
    counter = ScoreCounter()
    counter.update(torch.from_numpy(score), torch.from_numpy(label))
    for row, one, truth in zip(score_moments(counter.compute()), score, label, strict=True):
        for moments, values in ((row[:3], one[truth == 1]), (row[3:], one[truth == 0])):
            assert moments[0] == len(values)
            assert moments[1] / moments[0] == pytest.approx(values.mean(), abs=1e-3)
            assert moments[2] / moments[0] == pytest.approx((values**2).mean(), abs=2e-3)
