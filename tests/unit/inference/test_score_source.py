from pathlib import Path

import numpy as np
import pytest

from changedet.baselines.names import is_baseline
from changedet.baselines.registry import create_baseline
from changedet.card import ModelCard
from changedet.data.labelled import DecodedPair
from changedet.errors import CheckpointError, ConfigError, DataError
from changedet.inference.counting import count_scores
from changedet.inference.detector import load
from changedet.inference.opening import open_detector
from changedet.inference.score_source import ScoreSource, source_of
from changedet.metrics.confusion import confusion_at
from changedet.models.model_file import save_model
from changedet.selection import Selection
from changedet.types import Normalisation
from stand_ins import untrained_network

THRESHOLD = 0.213
CHOSEN = Selection("split", data="TINY", split="val", images=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    network = untrained_network("dasnet_v2")
    statistics = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    card = ModelCard(
        "dasnet_v2",
        network.options,
        statistics,
        tile_px=30,
        threshold=THRESHOLD,
        threshold_selection=CHOSEN,
        data_name="TINY",
    )
    save_model(path, network, card)
    return path


def open_source(spec, **options) -> ScoreSource:
    return source_of(open_detector(spec, **options))


def make_pair(seed: int = 0, height: int = 48, width: int = 40) -> tuple[np.ndarray, np.ndarray]:
    before, after = np.random.default_rng(seed).integers(
        0, 256, (2, height, width, 3), dtype=np.uint8
    )
    return before, after


def labelled(before: np.ndarray, after: np.ndarray) -> DecodedPair:
    return DecodedPair(before, after, np.zeros(before.shape[:2], np.uint8))


def grid_score(source, before: np.ndarray, after: np.ndarray, tile_px: int) -> np.ndarray:
    seen = []
    source.count(
        [labelled(before, after)],
        mode="grid",
        tile_px=tile_px,
        on_score=lambda scored: seen.append(scored.score),
    )
    return seen[0]


def test_a_model_scores_as_its_detector_does(model):
    source = open_source(str(model), device="cpu")
    detector = load(model, device="cpu")
    pairs = [make_pair(0), make_pair(1, 33, 70)]
    for pair in pairs:
        score = source.score(labelled(*pair))
        assert score == pytest.approx(detector.predict(*pair).score, abs=1e-6)
    assert (source.kind, source.title, source.spec) == ("model", "tiny.safetensors", str(model))
    assert (source.detector.threshold, source.detector.tile_px) == (THRESHOLD, 32)
    assert source.card.threshold_selection == CHOSEN
    assert (source.detector.in_channels, source.pixel_type) == (3, "uint8")
    assert source.fill == source.card.normalisation == detector.card.normalisation
    assert source.metadata["sha256"]


def test_tiles_of_a_grid_are_scored_without_their_surroundings(model):
    before, after = make_pair(height=32, width=64)
    source = open_source(model, device="cpu")
    grid = source.score(labelled(before, after), mode="grid")
    alone = source.score(labelled(before[:, :32], after[:, :32]))
    assert grid[:, :32] == pytest.approx(alone, abs=1e-6)
    large = grid_score(source, before, after, 64)
    assert not np.array_equal(large, grid)


def test_test_time_views_are_averaged_when_asked_for(model):
    pair = make_pair(height=32, width=32)
    plain, turned = (open_source(model, device="cpu", test_time=views) for views in (None, "flips"))
    assert (plain.detector.test_time, turned.detector.test_time) == ("none", "flips")
    first, second = (source.score(labelled(*pair)) for source in (plain, turned))
    assert not np.array_equal(first, second)


def test_a_floor_scores_each_image_for_itself():
    source = open_source("floor:difference", device="cpu")
    pairs = [make_pair(0), make_pair(1, 300, 280)]
    floor = create_baseline("difference")
    for pair in pairs:
        np.testing.assert_array_equal(source.score(labelled(*pair)), floor.score(*pair))
    assert (source.kind, source.spec, source.title) == (
        "baseline",
        "baseline:difference",
        "image difference",
    )
    card = source.detector.card
    assert (card.threshold, card.threshold_selection) == (0.5, Selection("otsu"))
    assert (source.card, source.pixel_type, source.fill) == (None, None, None)
    assert source.detector.in_channels == 3
    assert source.metadata == {
        "baseline": "difference",
        "floor": "difference",
        "title": "image difference",
    }


def test_a_floor_loses_the_context_in_a_grid():
    before, after = make_pair(height=40, width=70)
    source = open_source("floor:cva", device="cpu")
    floor = create_baseline("cva")
    grid = grid_score(source, before, after, 32)
    np.testing.assert_array_equal(grid[:32, :32], floor.score(before[:32, :32], after[:32, :32]))
    # The last tiles are moved inwards, and only what no other tile covers comes from them.
    np.testing.assert_array_equal(
        grid[32:, 64:], floor.score(before[8:, 38:], after[8:, 38:])[24:, 26:]
    )
    assert source.detector.tile_px == 256
    small = source.score(labelled(before, after), mode="grid")
    np.testing.assert_array_equal(small, floor.score(before, after))


def test_a_floor_is_made_for_the_channels_of_the_images():
    before, after = (image[..., :1].repeat(5, axis=2) for image in make_pair())
    source = open_source("floor:deep_difference", device="cpu", channels=5, encoder_weights="none")
    assert source.detector.in_channels == 5
    assert source.score(labelled(before, after)).shape == (48, 40)
    assert source.metadata["encoder_weights"] == "none"


def test_pairs_are_taken_one_by_one():
    taken = []

    def reading():
        for number in range(3):
            taken.append(number)
            yield labelled(*make_pair(number))

    ahead = []
    open_source("floor:cva", device="cpu").count(
        reading(), batch_size=1, on_score=lambda scored: ahead.append(len(taken) - scored.number)
    )
    assert ahead == [1, 1, 1]


def test_counting_a_model_is_evaluating_it(model):
    labels = [
        np.random.default_rng(seed).integers(0, 2, (48, 40)).astype(np.uint8) for seed in (0, 1)
    ]
    samples = [DecodedPair(*make_pair(seed), label) for seed, label in enumerate(labels)]
    source = open_source(model, device="cpu")
    seen = []
    counted = source.count(
        samples,
        extra_thresholds=(0.12345,),
        on_score=lambda scored: seen.append(scored.number),
    )
    expected = count_scores(
        source.detector.scorer, samples, tile_px=32, extra_thresholds=(0.12345, THRESHOLD)
    )
    np.testing.assert_array_equal(counted.changed, expected.changed)
    assert confusion_at(counted, THRESHOLD) == confusion_at(expected, THRESHOLD)
    assert seen == [0, 1]


def test_counting_a_floor_pools_what_otsu_finds():
    before, after = make_pair()
    label = np.random.default_rng(5).choice(np.array([0, 1, 255], np.uint8), (48, 40))
    source = open_source("floor:difference", device="cpu")
    found = confusion_at(source.count([DecodedPair(before, after, label)]), 0.5)
    detected = create_baseline("difference").score(before, after) >= 0.5
    assert found.tp == (detected & (label == 1)).sum()
    assert found.fp == (detected & (label == 0)).sum()
    assert sum(found) == (label != 255).sum()
    with pytest.raises(DataError, match="no labelled pair"):
        source.count([])


def test_only_text_can_name_a_floor():
    assert is_baseline("floor:cva")
    assert not is_baseline("cva.safetensors")
    assert not is_baseline(Path("floor:cva"))


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("floor:diference", {}, "did you mean 'difference'"),
        ("floor:", {}, "there are: difference, cva"),
        (
            "floor:cva",
            {"test_time": "flips"},
            "`test_time` applies to models only; floor:cva is a baseline",
        ),
        ("floor:cva", {"device": "gpu"}, "unknown device 'gpu'"),
        ("m.safetensors", {"channels": 4}, "`channels` applies to baselines only.*Remove it"),
        ("m.safetensors", {"encoder": "test_efficientnet"}, "`encoder` applies to baselines only"),
        (
            "m.safetensors",
            {"encoder_weights": "hub"},
            "`encoder_weights` applies to baselines only",
        ),
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
            source.count([], mode="grid", **options)
