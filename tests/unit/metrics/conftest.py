"""Small score maps, counted."""

import numpy as np
import pytest
import torch

from changedet.metrics.counter import ScoreCounter


@pytest.fixture
def count():
    """Count score maps against labels, (N, H, W) or (H, W), in one batch."""

    def counted(score, label, **options):
        score = torch.as_tensor(np.asarray(score, dtype=np.float32))
        label = torch.as_tensor(np.asarray(label, dtype=np.uint8))
        counter = ScoreCounter(**options)
        counter.update(score.reshape(-1, *score.shape[-2:]), label.reshape(-1, *label.shape[-2:]))
        return counter.compute()

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
