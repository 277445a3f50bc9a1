from pathlib import Path

import numpy as np
import pytest
import torch

from changedet.baselines.registry import create_baseline
from changedet.card import ModelCard
from changedet.errors import CheckpointError, ConfigError, DataError
from changedet.inference.counting import evaluate_pairs
from changedet.inference.detector import load
from changedet.inference.score_source import count_source, is_baseline, open_source
from changedet.metrics.confusion import confusion_at
from changedet.models.model_file import save_model
from changedet.models.registry import create_model
from changedet.types import Normalisation

THRESHOLD = 0.00213


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    torch.manual_seed(0)
    network = create_model("dasnet_v2", encoder="resnet18", head_width=16, attention="none")
    statistics = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    card = ModelCard(
        "dasnet_v2",
        network.options,
        statistics,
        tile_px=30,
        threshold=THRESHOLD,
        threshold_source="max-F1 on split 'val' of TINY (2 images)",
        data_name="TINY",
    )
    save_model(path, network, card)
    return path


def make_pair(seed: int = 0, height: int = 48, width: int = 40) -> tuple[np.ndarray, np.ndarray]:
    before, after = np.random.default_rng(seed).integers(
        0, 256, (2, height, width, 3), dtype=np.uint8
    )
    return before, after


def test_a_model_scores_as_its_detector_does(model):
    source = open_source(str(model), device="cpu")
    detector = load(model, device="cpu")
    pairs = [make_pair(0), make_pair(1, 33, 70)]
    for pair, score in zip(pairs, source.scores(pairs, mode="whole"), strict=True):
        assert score.numpy() == pytest.approx(detector.predict(*pair).score, abs=1e-6)
    assert (source.kind, source.title, source.spec) == ("model", "tiny.safetensors", str(model))
    assert (source.threshold, source.tile_px) == (THRESHOLD, 32)
    assert source.threshold_source.startswith("max-F1 on split 'val'")
    assert (source.in_channels, source.pixel_type) == (3, "uint8")
    assert source.fill == source.card.normalisation == detector.card.normalisation
    assert source.facts()["sha256"]


def test_tiles_of_a_grid_are_scored_without_their_surroundings(model):
    before, after = make_pair(height=32, width=64)
    source = open_source(model, device="cpu")
    grid = next(source.scores([(before, after)], mode="grid"))
    alone = next(source.scores([(before[:, :32], after[:, :32])], mode="whole"))
    assert grid[:, :32].numpy() == pytest.approx(alone.numpy(), abs=1e-6)
    large = next(source.scores([(before, after)], mode="grid", tile_px=64))
    assert not torch.equal(large, grid)


def test_test_time_views_are_averaged_when_asked_for(model):
    pair = make_pair(height=32, width=32)
    plain, turned = (open_source(model, device="cpu", test_time=views) for views in (None, "flips"))
    assert (plain.test_time, turned.test_time) == ("none", "flips")
    first, second = (next(source.scores([pair], mode="whole")) for source in (plain, turned))
    assert not torch.equal(first, second)


def test_a_floor_scores_each_image_for_itself():
    source = open_source("floor:difference", device="cpu")
    pairs = [make_pair(0), make_pair(1, 300, 280)]
    floor = create_baseline("difference")
    for pair, score in zip(pairs, source.scores(pairs, mode="whole"), strict=True):
        np.testing.assert_array_equal(score.numpy(), floor.score(*pair))
    assert (source.kind, source.spec, source.title) == (
        "floor",
        "floor:difference",
        "image difference",
    )
    assert (source.threshold, source.threshold_source) == (0.5, "Otsu of each image")
    assert (source.card, source.pixel_type, source.fill) == (None, None, None)
    assert source.in_channels == 3
    assert source.facts() == {"floor": "difference", "title": "image difference"}


def test_a_floor_loses_the_context_in_a_grid():
    before, after = make_pair(height=40, width=70)
    source = open_source("floor:cva", device="cpu")
    floor = create_baseline("cva")
    grid = next(source.scores([(before, after)], mode="grid", tile_px=32)).numpy()
    np.testing.assert_array_equal(grid[:32, :32], floor.score(before[:32, :32], after[:32, :32]))
    # The last tiles are moved inwards, and only what no other tile covers comes from them.
    np.testing.assert_array_equal(
        grid[32:, 64:], floor.score(before[8:, 38:], after[8:, 38:])[24:, 26:]
    )
    assert source.tile_px == 256
    small = next(source.scores([(before, after)], mode="grid")).numpy()
    np.testing.assert_array_equal(small, floor.score(before, after))


def test_a_floor_is_made_for_the_channels_of_the_images():
    before, after = (image[..., :1].repeat(5, axis=2) for image in make_pair())
    source = open_source("floor:deep_difference", device="cpu", channels=5, encoder_weights="none")
    assert source.in_channels == 5
    assert next(source.scores([(before, after)], mode="whole")).shape == (48, 40)
    assert source.facts()["encoder_weights"] == "none"


def test_pairs_are_taken_one_by_one():
    taken = []

    def reading():
        for number in range(3):
            taken.append(number)
            yield make_pair(number)

    scores = open_source("floor:cva", device="cpu").scores(reading(), mode="whole")
    next(scores)
    assert taken == [0]


def test_counting_a_model_is_evaluating_it(model):
    labels = [
        np.random.default_rng(seed).integers(0, 2, (48, 40)).astype(np.uint8) for seed in (0, 1)
    ]
    samples = [(*make_pair(seed), label) for seed, label in enumerate(labels)]
    source = open_source(model, device="cpu")
    seen = []
    counted = count_source(
        source, samples, extra_thresholds=(0.12345,), on_score=lambda n, score: seen.append(n)
    )
    expected = evaluate_pairs(
        source.detector.model,
        samples,
        normalisation=source.fill,
        tile_px=32,
        device=torch.device("cpu"),
        extra_thresholds=(0.12345, THRESHOLD),
    )
    np.testing.assert_array_equal(counted.changed, expected.changed)
    assert confusion_at(counted, THRESHOLD) == confusion_at(expected, THRESHOLD)
    assert seen == [0, 1]


def test_counting_a_floor_pools_what_otsu_finds():
    before, after = make_pair()
    label = np.random.default_rng(5).choice(np.array([0, 1, 255], np.uint8), (48, 40))
    source = open_source("floor:difference", device="cpu")
    found = confusion_at(count_source(source, [(before, after, label)]), 0.5)
    detected = create_baseline("difference").score(before, after) >= 0.5
    assert found.tp == (detected & (label == 1)).sum()
    assert found.fp == (detected & (label == 0)).sum()
    assert sum(found) == (label != 255).sum()
    with pytest.raises(DataError, match="no labelled pair"):
        count_source(source, [])


def test_only_text_can_name_a_floor():
    assert is_baseline("floor:cva")
    assert not is_baseline("cva.safetensors")
    assert not is_baseline(Path("floor:cva"))


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("floor:diference", {}, "did you mean 'difference'"),
        ("floor:", {}, "there are: difference, cva"),
        ("floor:cva", {"test_time": "flips"}, "--test-time is for models, floor:cva is none"),
        ("floor:cva", {"device": "gpu"}, "unknown device 'gpu'"),
        ("m.safetensors", {"channels": 4}, "--channels is for floors.*leave it out"),
        ("m.safetensors", {"encoder": "resnet18"}, "--encoder is for floors"),
        ("m.safetensors", {"encoder_weights": "hub"}, "--encoder-weights is for floors"),
    ],
)
def test_what_does_not_fit_is_refused(spec, options, message):
    with pytest.raises(ConfigError, match=message):
        open_source(spec, **options)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        open_source(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"tile_px": 0}, "tile size must be at least 1"), ({"batch_size": 0}, "batch size must be")],
)
def test_sizes_that_make_no_sense_are_refused_at_once(model, options, message):
    for source in (open_source("floor:cva", device="cpu"), open_source(model, device="cpu")):
        with pytest.raises(ConfigError, match=message):
            source.scores([], mode="grid", **options)
