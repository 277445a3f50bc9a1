import numpy as np
import pytest
import torch

from changedet.baselines import deep_features
from changedet.baselines.deep_features import DeepFeatures
from changedet.errors import CheckpointError, ConfigError


def make_pair(height: int = 64, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Smooth noise and the same with a checkered square."""
    rng = np.random.default_rng(0)
    before = rng.normal(0, 1, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    after = before + rng.normal(0, 0.05, before.shape)
    checks = np.indices((32, 32)).sum(axis=0) // 4 % 2
    after[16:48, 32:64] = 4.0 * checks[..., None] - 2.0
    return before.astype(np.float32), after.astype(np.float32)


@pytest.fixture(scope="module")
def deep() -> DeepFeatures:
    return DeepFeatures()


def test_another_texture_lies_farther_than_noise(deep):
    magnitude = deep.magnitude(*make_pair())
    assert magnitude.shape == (64, 96)
    assert magnitude.dtype == np.float32
    assert ((magnitude >= 0) & (magnitude <= 2)).all()
    assert magnitude[24:40, 40:56].min() > 1.5 * magnitude[:, :8].max()


def test_all_levels_count(deep, monkeypatch):
    pair = make_pair()
    found = deep.magnitude(*pair)
    monkeypatch.setattr(deep.encoder, "forward", lambda x: deep.encoder.feature_maps(x)[-1:])
    coarse = deep.magnitude(*pair)
    assert np.abs(found - coarse).max() > 0.1
    assert np.abs(np.diff(found)).max() > 2 * np.abs(np.diff(coarse)).max()


def test_large_images_are_compared_in_tiles_without_seams(deep, monkeypatch):
    before, after = make_pair(256, 64)
    after[16:48, 32:64] = before[16:48, 32:64]
    after[:] = 0.8 * before
    whole = deep.magnitude(before, after)
    monkeypatch.setattr(deep_features, "_TILE_PX", 128)
    tiled = deep.magnitude(before, after)
    assert tiled.shape == whole.shape
    assert np.corrcoef(tiled.ravel(), whole.ravel())[0, 1] > 0.8
    rows = np.abs(np.diff(tiled.mean(axis=1)))
    assert rows.max() < 3 * np.abs(np.diff(whole.mean(axis=1))).max()


@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (33, 31)])
def test_images_of_any_size_are_compared(deep, shape):
    rng = np.random.default_rng(0)
    before, after = rng.normal(0, 1, (2, *shape, 3)).astype(np.float32)
    magnitude = deep.magnitude(before, after)
    assert magnitude.shape == shape
    assert (magnitude > 0).all()


def test_other_numbers_of_channels_are_understood():
    before, after = (np.repeat(date[..., :1], 5, axis=2) for date in make_pair())
    magnitude = DeepFeatures(channels=5).magnitude(before, after)
    assert magnitude[24:40, 40:56].min() > magnitude[:, :8].max()


def test_random_weights_are_the_same_every_time_and_leave_the_callers_random_state():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = (DeepFeatures(weights="none").magnitude(*make_pair()) for _ in range(2))
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(first, second)


def test_weights_come_from_a_file_too(deep, tmp_path):
    path = tmp_path / "encoder.pth"
    torch.save(deep.encoder.backbone.state_dict(), path)
    found = DeepFeatures(weights=str(path)).magnitude(*make_pair())
    np.testing.assert_array_equal(found, deep.magnitude(*make_pair()))


def test_weights_that_cannot_be_had_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'package' exist for tf_efficientnet_lite0.*'resnet18'"):
        DeepFeatures(encoder="resnet18")
    with pytest.raises(ConfigError, match="not a timm model"):
        DeepFeatures(encoder="resnet_18", weights="none")
    with pytest.raises(CheckpointError, match="gone"):
        DeepFeatures(weights=str(tmp_path / "gone.pth"))
