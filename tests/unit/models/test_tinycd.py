"""TinyCD: its size, its masks, its levels, what it does not take."""

import pytest
import torch

from changedet.errors import ConfigError
from changedet.evaluation.cost import measure_cost
from changedet.models.registry import create_model
from changedet.models.tinycd import _Mixing


def build(**options):
    torch.manual_seed(0)
    return create_model("tinycd", **{"encoder": "test_efficientnet", **options}).eval()


@pytest.fixture
def pair():
    torch.manual_seed(1)
    before, after = torch.randn(2, 1, 3, 64, 96)
    return before, after


def test_it_is_as_large_as_in_the_paper():
    with torch.device("meta"):
        model = create_model("tinycd")
    # Published: 0.28 M parameters.
    assert 0.28e6 < model.parameter_count < 0.29e6
    assert model.encoder.strides == (2, 4, 8)
    assert measure_cost(model, side_px=256).gflop < 3.0


def test_an_untrained_classifier_expects_a_tenth_to_have_changed(pair):
    assert 0.03 < build()(*pair).score.mean() < 0.3


def test_mixing_sees_like_channels_of_both_dates_alone():
    mixing = _Mixing(4)
    torch.nn.init.constant_(mixing.mix[0].weight, 1.0)
    before, after = torch.zeros(2, 1, 4, 8, 8)
    before[:, 1, 2, 2], after[:, 3, 5, 5] = 1.0, 1.0
    plain = mixing(torch.zeros_like(before), torch.zeros_like(after))
    moved = (mixing(before, after) - plain).abs().amax(dim=(0, 2, 3)) > 1e-6
    assert moved.tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("encoder", "strides"),
    [
        ("test_resnet", (2, 4, 8)),
        # It has no level as fine as stride 2.
        ("test_convnext", (4, 8)),
        ("vit_tiny_patch16_224", (16, 16, 16)),
    ],
)
def test_it_uses_the_fine_levels_that_an_encoder_has(encoder, strides, pair):
    model = build(encoder=encoder)
    assert model.encoder.strides == strides
    assert len(model.masks) == len(strides) - 1
    assert model(*pair).score.shape == (1, 64, 96)


def test_a_single_pixel_cannot_be_normalised():
    model = build()
    assert model.least_crop_px == 16
    images = torch.randn(2, 1, 3, 8, 8)
    with pytest.raises(ConfigError, match=r"tinycd needs images of at least 16 pixels .* 8 x 8"):
        model(*images)
    assert model(*torch.randn(2, 1, 3, 8, 16)).score.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder_width": 4}, "decoder_width must be at least 8, got 4"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1"),
        ({"encoder": "efficientnet_b44"}, "did you mean 'efficientnet_b4'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)
