"""The model file of the repository keeps what its card promises."""

from pathlib import Path

import numpy as np
import pytest

import changedet
from changedet.evaluation.cost import measure_cost

FILE = Path(__file__).parents[2] / "models" / "pyramid_small_clcd.safetensors"


@pytest.fixture(scope="module")
def detector():
    return changedet.load(FILE, device="cpu")


def test_it_is_small_and_says_what_it_is(detector):
    assert FILE.stat().st_size <= 16e6
    card = detector.card
    assert card.metrics["calibration"]["f1"] == pytest.approx(0.8250, abs=1e-4)
    assert "optimistic" in card.metrics["calibration"]["note"]
    assert detector.test_time == "coarse_few"
    assert detector.threshold == pytest.approx(0.3350, abs=1e-4)
    text = (FILE.parent / "README.md").read_text()
    assert f"{FILE.stat().st_size / 1e6:.1f} MB" in text
    cost = measure_cost(detector.model, test_time=detector.test_time)
    assert cost.gflop < 10.0
    assert f"| {cost.gflop:.1f} (two views) |" in text


def test_it_doubts_a_block_in_a_field_and_finds_nothing_where_nothing_changed(detector):
    # Rows of a field, and a block of bright roofs in it.
    rng = np.random.default_rng(0)
    ground = np.array([90, 120, 60]) + 12 * (np.arange(256) // 8 % 2)[:, None, None]
    before = np.clip(ground + rng.normal(0, 6, (256, 256, 3)), 0, 255)
    after = before.copy()
    after[64:192, 64:192] = np.clip(rng.normal(190, 12, (128, 128, 3)), 0, 255)
    before, after = before.astype(np.uint8), after.astype(np.uint8)
    score = detector.predict(before, after).score
    # Roofs made of noise are none that it has seen, but neither are they field.
    assert score[80:176, 80:176].mean() > 0.2
    assert score[:40].mean() < 0.01
    assert not (detector.predict(before, before).score >= detector.threshold).any()
