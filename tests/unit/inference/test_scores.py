"""Scores that are no numbers: the model is to blame, or the pixels."""

import numpy as np
import pytest
import torch

from changedet.card import ModelCard
from changedet.errors import CheckpointError, DataError
from changedet.inference.scorer import checked_scores
from changedet.inference.torch_scorer import TorchScorer
from changedet.types import Normalisation
from stand_ins import Broken, Difference

STATS = Normalisation((90.0,) * 3, (100.0,) * 3, (50.0,) * 3, (60.0,) * 3)


class Overflowing(Difference):
    """A sound network in which wild values become infinite, as in half precision."""

    def score(self, difference: torch.Tensor) -> torch.Tensor:
        return torch.where(difference > 65504, torch.inf, difference.clamp(0, 1))


def scored(network: Difference, largest: float) -> np.ndarray:
    card = ModelCard("stub", {}, STATS, pixel_type="float32", tile_px=64)
    scorer = TorchScorer(network, card, device="cpu", source="stub.safetensors")
    tile = np.zeros((64, 64, 3), np.float32)
    wild = tile.copy()
    wild[3, 4] = largest
    return checked_scores(scorer.score([tile], [wild]), scorer)


@pytest.mark.parametrize("fixed_tile", [False, True])
def test_a_sound_model_does_not_answer_for_wild_pixels(*, fixed_tile: bool):
    assert np.isfinite(scored(Overflowing(fixed_tile=fixed_tile), 200.0)).all()
    with pytest.raises(DataError, match=r"stub\.safetensors gives scores .* these pixel values"):
        scored(Overflowing(fixed_tile=fixed_tile), 1e30)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_scores_nothing_is_the_models_fault(value: float):
    with pytest.raises(CheckpointError, match=r"stub\.safetensors gives scores .* another model"):
        scored(Broken(value), 200.0)
