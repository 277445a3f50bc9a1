from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from changedet.card import ModelCard
from changedet.data.labelled import DecodedPair
from changedet.errors import CheckpointError, ConfigError, DataError
from changedet.inference.counting import count_scores
from changedet.inference.scorer import HostScorer
from changedet.inference.tiling import overlap_of
from changedet.inference.torch_scorer import TorchScorer
from changedet.metrics.confusion import confusion_at, per_image
from changedet.metrics.histogram import ScoreHistogram
from changedet.types import ChangeOutput, Normalisation
from stand_ins import Broken, Difference, output_of

PLAIN = Normalisation((0.0,), (0.0,), (255.0,), (255.0,))


def make_sample(height: int, width: int, seed: int = 0) -> DecodedPair:
    rng = np.random.default_rng(seed)
    before, after = rng.integers(0, 256, (2, height, width, 1), dtype=np.uint8)
    label = rng.choice(np.array([0, 1, 255], dtype=np.uint8), (height, width), p=[0.6, 0.3, 0.1])
    return DecodedPair(before, after, label)


def count(samples: list[DecodedPair] | Iterator[DecodedPair], **options) -> ScoreHistogram:
    model = options.pop("model", None) or Difference(in_channels=1)
    views = options.pop("test_time", "none")
    scorer = TorchScorer(model, ModelCard("stand-in", {}, PLAIN), device="cpu", test_time=views)
    return count_scores(scorer, samples, **{"tile_px": 32, **options})


def test_counts_are_those_of_comparing_every_pixel_with_the_threshold():
    samples = [make_sample(32, 32, seed) for seed in range(5)]
    found = per_image(count(samples, batch_size=2, extra_thresholds=(0.3217,)), 0.3217)
    for confusion, (before, after, label) in zip(found, samples, strict=True):
        score = np.abs(after[..., 0] / np.float32(255) - before[..., 0] / np.float32(255))
        detected = score >= np.float32(0.3217)
        assert confusion.tp == (detected & (label == 1)).sum()
        assert confusion.fp == (detected & (label == 0)).sum()
        assert confusion.fn == (~detected & (label == 1)).sum()
        assert confusion.tn == (~detected & (label == 0)).sum()


def test_pairs_of_many_sizes_keep_their_rows():
    shapes = [(32, 32), (32, 32), (20, 50), (70, 33), (32, 32)]
    samples = [make_sample(*shape, seed) for seed, shape in enumerate(shapes)]
    together = count(samples, batch_size=3)
    for row, sample in enumerate(samples):
        alone = count([sample])
        np.testing.assert_array_equal(together.changed[row], alone.changed[0])
        np.testing.assert_array_equal(together.unchanged[row], alone.unchanged[0])


@pytest.mark.parametrize("mode", ["whole", "grid"])
def test_every_pixel_is_counted_once_in_both_modes(mode: str):
    sample = make_sample(70, 100)
    histogram = count([sample], mode=mode)
    assert histogram.changed.sum() == (sample[2] == 1).sum()
    assert histogram.unchanged.sum() == (sample[2] == 0).sum()
    # This network looks at single pixels, so tiling must not change what is counted.
    assert confusion_at(histogram, 0.5) == confusion_at(count([sample], tile_px=128), 0.5)


def test_a_grid_has_no_tiles_to_spare():
    whole, grid = Difference(in_channels=1), Difference(in_channels=1)
    count([make_sample(64, 64)], model=whole, mode="whole")
    count([make_sample(64, 64)], model=grid, mode="grid")
    assert (whole.tiles, grid.tiles) == (9, 4)
    assert (overlap_of("whole", 32), overlap_of("grid", 32)) == (8, 0)


def test_every_score_map_is_told_with_its_pair_in_order():
    samples = [make_sample(32, 32, 0), make_sample(40, 24, 1), make_sample(32, 32, 2)]
    seen: list[tuple[int, tuple[int, ...]]] = []
    count(samples, on_score=lambda scored: seen.append((scored.number, scored.score.shape)))
    assert seen == [(0, (32, 32)), (1, (40, 24)), (2, (32, 32))]


def test_samples_are_taken_as_they_are_needed():
    taken = []

    def reading() -> Iterator[DecodedPair]:
        for number in range(12):
            taken.append(number)
            yield make_sample(32, 32, number)

    ahead = []
    count(reading(), batch_size=3, on_score=lambda scored: ahead.append(len(taken) - scored.number))
    assert max(ahead) <= 4


def test_an_observer_that_stops_leaves_the_model_as_it_was():
    def stop(scored: object) -> None:
        raise KeyboardInterrupt

    model = Difference(in_channels=1).train()
    with pytest.raises(KeyboardInterrupt):
        count([make_sample(32, 32)], model=model, on_score=stop)
    assert model.training


def test_an_empty_list_is_refused():
    with pytest.raises(DataError, match="no labelled pair to evaluate; choose another split"):
        count([])


def test_a_label_of_another_size_is_refused():
    before, after, _ = make_sample(32, 32)
    label = np.zeros((32, 30), dtype=np.uint8)
    with pytest.raises(DataError, match=r"pair 1: .*same size.*\(32, 32\) and \(32, 30\)"):
        count([make_sample(32, 32), DecodedPair(before, after, label)])


def test_a_threshold_that_is_no_score_is_refused():
    with pytest.raises(ConfigError, match="half the distance"):
        count([make_sample(32, 32)], extra_thresholds=(1.4,))


def test_anything_that_scores_pairs_can_be_counted():
    samples = [make_sample(32, 32, 0), make_sample(20, 24, 1)]

    class PlainNumPy(HostScorer):
        """Knows nothing of networks."""

        card = ModelCard("stand-in", {}, PLAIN)
        in_channels, stride, fixed_tile, test_time = 1, 1, False, "none"

        def score(self, before, after):
            first, second = (np.stack(dates)[..., 0] / np.float32(255) for dates in (before, after))
            return np.abs(second - first)

    counted = count_scores(PlainNumPy(), samples, tile_px=16)
    expected = count(samples)
    np.testing.assert_array_equal(counted.changed, expected.changed)
    np.testing.assert_array_equal(counted.unchanged, expected.unchanged)


def test_views_are_averaged_when_asked_for():
    class Row(Difference):
        """Sees the row of a pixel, so that turned tiles are told apart."""

        def forward(self, before: Tensor, after: Tensor, *, branches: str) -> ChangeOutput:
            output = super().forward(before, after, branches=branches)
            weights = torch.linspace(0, 1, before.shape[-2])[:, None]
            return output_of(output.score * weights)

    samples = [make_sample(32, 32)]
    plain, turned = count(samples, model=Row()), count(samples, model=Row(), test_time="flips")
    assert not np.array_equal(plain.changed, turned.changed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_an_error_of_the_model(value: float):
    scorer = TorchScorer(
        Broken(value, in_channels=1),
        ModelCard("stand-in", {}, PLAIN),
        device="cpu",
        source="run/best.safetensors",
    )
    with pytest.raises(CheckpointError, match=r"^run/best\.safetensors gives scores .*NaN"):
        count_scores(scorer, [make_sample(32, 32)], tile_px=32)


def test_scores_of_a_baseline_that_are_no_numbers_are_an_error():
    class Undefined(HostScorer):
        """A method that divides by zero."""

        card = ModelCard("baseline:ir_mad", {}, PLAIN)
        in_channels, stride, fixed_tile, test_time = 1, 1, False, "none"

        def score(self, before, after):
            return np.full((len(before), *before[0].shape[:2]), np.nan, np.float32)

    with pytest.raises(DataError, match=r"^baseline:ir_mad gives scores .* choose other bands"):
        count_scores(Undefined(), [make_sample(32, 32)], tile_px=32)
