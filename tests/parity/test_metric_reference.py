"""Counts and max-F of the public code on one mask and distance map.

``metric_reference.npz`` holds the mask ``gt`` (64, 96), the ``distance`` map in [0, 2], the 96
``thresholds``, and what the public code made of them: ``FN``, ``FP`` (96,), ``max_f`` and
``best_threshold``.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from changedet.metrics.confusion import confusion_at
from changedet.metrics.counter import ScoreCounter
from changedet.metrics.histogram import PAPER_DISTANCES, PAPER_THRESHOLDS
from changedet.metrics.protocol import best_threshold_metrics
from changedet.types import MAX_DISTANCE


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).with_name("metric_reference.npz")) as file:
        return {name.removeprefix("metric/"): file[name] for name in file.files}


@pytest.fixture(scope="module")
def hist(reference):
    counter = ScoreCounter()
    counter.update(
        torch.from_numpy(reference["distance"])[None] / MAX_DISTANCE,
        torch.from_numpy(reference["gt"].astype(np.uint8))[None],
    )
    return counter.compute()


def test_the_thresholds_are_those_of_the_public_code(reference):
    assert list(PAPER_DISTANCES) == reference["thresholds"].tolist()


def test_misses_and_false_alarms_at_every_threshold_are_exactly_those_of_the_public_code(
    reference, hist
):
    confusions = [confusion_at(hist, threshold) for threshold in PAPER_THRESHOLDS]

    assert [c.fn for c in confusions] == reference["FN"].tolist()
    assert [c.fp for c in confusions] == reference["FP"].tolist()


def test_max_f_and_its_threshold_are_those_of_the_public_code(reference, hist):
    result = best_threshold_metrics(hist)

    # 1e-9: the public code adds a tiny constant to the denominator.
    assert result.max_f1 == pytest.approx(float(reference["max_f"]), abs=1e-9)
    assert result.distance == float(reference["best_threshold"])
