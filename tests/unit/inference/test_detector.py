from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from changedet.card import ModelCard
from changedet.errors import CheckpointError, ConfigError, DataError
from changedet.inference.detector import Detector, Prediction, load
from changedet.inference.devices import resolve_device
from changedet.inference.torch_scorer import TorchScorer
from changedet.models.model_file import save_model
from changedet.types import Normalisation
from stand_ins import untrained_network


def make_detector(threshold: float | None = None, **options: object) -> Detector:
    model = untrained_network("dasnet_v2", **options)
    channels = model.encoder.in_channels
    card = ModelCard(
        architecture=model.architecture,
        options=model.options,
        normalisation=Normalisation(*((value,) * channels for value in (120.0, 110.0, 60.0, 60.0))),
        tile_px=64,
        threshold=threshold,
    )
    return Detector(TorchScorer(model, card, device="cpu"))


def make_image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return make_detector(threshold=0.25)


def test_an_unchanged_image_scores_nothing_with_equal_statistics():
    # The L2 distance has a floor of sqrt(C) * 1e-6 (spec 2), a score of half of it.
    detector = make_detector(threshold=0.01)
    statistics = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    card = ModelCard("dasnet_v2", detector.model.options, statistics, tile_px=64, threshold=0.01)
    image = make_image(50, 90, 3)
    prediction = Detector(TorchScorer(detector.model, card, device="cpu")).predict(
        image, image.copy()
    )
    assert prediction.score.shape == (50, 90)
    assert prediction.score.max() < 1e-4
    assert not prediction.mask.any()


def test_only_the_changed_place_scores_higher(detector: Detector):
    before = make_image(64, 192, 3)
    after = before.copy()
    after[:, 150:] = 255 - after[:, 150:]
    score = detector.predict(before, after).score
    assert score.dtype == np.float32
    assert score[:, 160:].mean() > 3 * score[:, :40].mean()


def test_the_mask_holds_the_pixels_that_reach_the_threshold():
    score = np.array([[0.1, 0.3], [0.7, 0.9]], dtype=np.float32)
    prediction = Prediction(score, threshold=0.3)
    assert prediction.mask.dtype == np.bool_
    # 0.3 as float64 is a little less than as float32: the stored score must still count.
    np.testing.assert_array_equal(prediction.mask, [[False, True], [True, True]])


def test_a_given_threshold_wins_over_the_stored_one(detector: Detector):
    images = make_image(64, 64, 3), make_image(64, 64, 3, seed=1)
    assert detector.predict(*images).threshold == 0.25
    low = detector.predict(*images, threshold=0.0)
    assert low.threshold == 0.0
    assert low.mask.all()


def test_without_any_threshold_there_are_scores_but_no_mask():
    prediction = make_detector().predict(make_image(64, 64, 3), make_image(64, 64, 3, seed=1))
    assert prediction.score.max() > 0.0
    with pytest.raises(ConfigError, match=r"`threshold`.*changedet calibrate.*validation"):
        _ = prediction.mask


def test_many_pairs_give_the_same_as_one_by_one(detector: Detector):
    pairs = [
        (make_image(*shape, 3, seed=seed), make_image(*shape, 3, seed=seed + 10))
        for seed, shape in enumerate([(64, 64), (80, 64), (30, 100)])
    ]
    together = list(detector.predict_batch(iter(pairs), batch_size=3))
    for pair, prediction in zip(pairs, together, strict=True):
        single = detector.predict(*pair)
        np.testing.assert_allclose(prediction.score, single.score, rtol=0, atol=1e-5)
        assert prediction.threshold == single.threshold


def test_predicting_leaves_the_model_in_the_mode_it_was_in(detector: Detector):
    detector.model.train()
    detector.predict(make_image(64, 64, 3), make_image(64, 64, 3))
    assert detector.model.training
    detector.model.eval()
    detector.predict(make_image(64, 64, 3), make_image(64, 64, 3))
    assert not detector.model.training


def test_a_model_of_one_channel_takes_plain_grey_arrays():
    detector = make_detector(in_channels=1)
    before, after = make_image(40, 64), make_image(40, 64, seed=1)
    flat = detector.predict(before, after).score
    np.testing.assert_array_equal(flat, detector.predict(before[..., None], after[..., None]).score)


def test_a_saved_model_predicts_the_same_after_loading(tmp_path: Path, detector: Detector):
    path = tmp_path / "model.safetensors"
    save_model(path, detector.model, detector.card)
    loaded = load(path, device="cpu")
    images = make_image(70, 64, 3), make_image(70, 64, 3, seed=1)
    np.testing.assert_allclose(
        loaded.predict(*images).score, detector.predict(*images).score, rtol=0, atol=1e-6
    )
    assert loaded.threshold == 0.25
    assert loaded.device_name == "cpu"
    assert loaded.device == torch.device("cpu")


def test_loading_what_is_no_model_says_so(tmp_path: Path):
    with pytest.raises(CheckpointError, match="nothing"):
        load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (make_image(64, 64, 3), make_image(64, 60, 3), r"same size, got 64x64 before and 60x64"),
        (make_image(64, 64, 3), make_image(64, 64, 4), r"\(height, width, 3\), got \(64, 64, 4\)"),
        (make_image(64, 64), make_image(64, 64), r"\(height, width, 3\), got \(64, 64\)"),
        (make_image(0, 64, 3), make_image(0, 64, 3), r"got \(0, 64, 3\)"),
        (make_image(64, 64, 3) / 255.0, make_image(64, 64, 3), r"before image .*uint8.* float64"),
        (
            make_image(8, 8, 3),
            make_image(8, 8, 3).astype(np.uint16),
            r"after image .*uint8.*uint16",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(detector: Detector, before, after, message: str):
    with pytest.raises(DataError, match=message):
        detector.predict(before, after)


@pytest.mark.parametrize("threshold", [-0.1, 1.2, float("nan")])
def test_a_threshold_that_is_no_score_is_refused(detector: Detector, threshold: float):
    with pytest.raises(ConfigError, match=r"score in \[0, 1\], got .* half the distance"):
        detector.predict(make_image(8, 8, 3), make_image(8, 8, 3), threshold=threshold)


def test_auto_finds_a_device_that_is_there():
    expected = "cuda" if torch.cuda.is_available() else None
    found = resolve_device("auto").type
    assert found == (expected or found)
    assert found in {"cuda", "mps", "cpu"}
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_an_unknown_device_is_named_with_the_known_ones(name: str):
    with pytest.raises(ConfigError, match=rf"unknown device '{name}'; use auto, cuda, mps, cpu"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(name: str):
    with pytest.raises(ConfigError, match=f"no device '{name}'; use auto or cpu"):
        resolve_device(name)


def test_a_model_of_16_bit_takes_its_own_values_and_refuses_8_bit():
    plain = make_detector()
    scale = 40.0
    stats = Normalisation(
        (120.0 * scale,) * 3, (110.0 * scale,) * 3, (60.0 * scale,) * 3, (60.0 * scale,) * 3
    )
    card = ModelCard(
        "dasnet_v2", plain.model.options, stats, tile_px=64, threshold=0.5, pixel_type="uint16"
    )
    deep = Detector(TorchScorer(plain.model, card, device="cpu"))
    before, after = make_image(64, 64, 3), make_image(64, 64, 3, seed=1)
    wide = [image.astype(np.uint16) * 40 for image in (before, after)]
    score = deep.predict(*wide).score
    np.testing.assert_array_equal(deep.predict(*(w.astype(np.float32) for w in wide)).score, score)
    with pytest.raises(DataError, match=r"before image .*trained on \(uint16.*got uint8"):
        deep.predict(before, after)


def test_the_cards_augmentation_is_used_unless_another_is_asked_for(tmp_path: Path):
    plain = make_detector(threshold=0.5)
    turning = replace(plain.card, test_time="turns")
    path = tmp_path / "turns.safetensors"
    save_model(path, plain.model, turning)
    before, after = make_image(64, 64, 3), make_image(64, 64, 3, seed=1)
    stored = load(path, device="cpu")
    assert stored.test_time == "turns"
    turned = [np.rot90(image).copy() for image in (before, after)]
    score = stored.predict(before, after).score
    np.testing.assert_allclose(stored.predict(*turned).score, np.rot90(score), rtol=0, atol=1e-5)
    asked = load(path, device="cpu", test_time="none").predict(before, after).score
    np.testing.assert_array_equal(asked, plain.predict(before, after).score)
    assert np.abs(asked - score).max() > 1e-5


def test_an_unknown_augmentation_is_refused():
    plain = make_detector()
    with pytest.raises(ConfigError, match="test_time must be one of none, mirror, flips, turns"):
        Detector(TorchScorer(plain.model, plain.card, device="cpu", test_time="rotate"))
