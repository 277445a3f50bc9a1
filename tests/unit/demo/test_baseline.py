import numpy as np
import pytest

from changedet.data.index import index_pairs
from changedet.data.labels.scan import scan_labels
from changedet.data.reading import PairReader
from changedet.demo.baseline import DifferenceScorer, difference_score
from changedet.inference.counting import count_scores
from changedet.metrics.protocol import best_threshold_metrics


def test_the_difference_score_is_the_mean_over_channels_as_a_share_of_255():
    before = np.zeros((2, 2, 3), np.uint8)
    after = before.copy()
    after[0, 0] = (255, 0, 0)
    after[1, 1] = (255, 255, 255)
    expected = [[1 / 3, 0], [0, 1]]
    assert difference_score(before, after) == pytest.approx(np.array(expected), abs=1e-6)
    assert np.array_equal(difference_score(before, after), difference_score(after, before))


def test_a_plain_difference_solves_pairs_whose_change_is_bright(pairs_folder):
    index = index_pairs(pairs_folder)
    encoding = scan_labels(index.pairs).encoding
    pairs = PairReader(encoding).read_ahead(index.split("test"))
    histogram = count_scores(DifferenceScorer(), pairs)
    assert histogram.images == 2
    assert best_threshold_metrics(histogram).max_f1 > 0.99
