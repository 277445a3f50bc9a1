"""Small score maps, counted."""

import numpy as np
import pytest
import torch

from changedet.metrics.counter import ScoreCounter
from changedet.metrics.host_counter import HostScoreCounter


@pytest.fixture
def count():
    """Count score maps against labels, (N, H, W) or (H, W), in one batch, in both ways."""

    def counted(score, label, **options):
        score, label = np.asarray(score, dtype=np.float32), np.asarray(label, dtype=np.uint8)
        score = score.reshape(-1, *score.shape[-2:])
        label = label.reshape(-1, *label.shape[-2:])
        counter = ScoreCounter(**options)
        counter.update(torch.as_tensor(score), torch.as_tensor(label))
        host = HostScoreCounter(**options)
        host.update(score, label)
        counts = counter.compute()
        for name, value in vars(host.compute()).items():
            np.testing.assert_array_equal(value, getattr(counts, name))
        return counts

    return counted


@pytest.fixture
def noisy():
    """Make labels with a share of change, and scores that follow them with noise."""

    def made(shape=(6, 16, 16), *, share=0.2, seed=0):
        rng = np.random.default_rng(seed)
        label = (rng.random(shape) < share).astype(np.uint8)
        score = rng.normal(np.where(label, 0.6, 0.35), 0.15).clip(0.0, 1.0).astype(np.float32)
        return score, label

    return made
