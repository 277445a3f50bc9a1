"""BIT: its size, its tokens, what it does not take."""

import pytest
import torch

from changedet.errors import ConfigError
from changedet.evaluation.cost import measure_cost
from changedet.models.registry import create_model

SMALL = {"encoder": "test_efficientnet", "decoder_width": 16, "decoder_layers": 1}


def build(**options):
    torch.manual_seed(0)
    return create_model("bit", **{**SMALL, **options}).eval()


@pytest.fixture
def pair():
    torch.manual_seed(1)
    before, after = torch.randn(2, 1, 3, 64, 96)
    return before, after


def test_it_is_as_large_as_its_public_code():
    with torch.device("meta"):
        model = create_model("bit")
    # 3.04 M parameters and 8.75 G multiplications, as published for ResNet-18 with four stages.
    assert model.parameter_count == pytest.approx(3.04e6, rel=0.002)
    assert model.encoder.strides == (8,)
    assert measure_cost(model, side_px=256).gflop == pytest.approx(2 * 8.75, rel=0.01)


def test_an_untrained_classifier_expects_a_tenth_to_have_changed(pair):
    assert 0.03 < build()(*pair).score.mean() < 0.3


def test_tokens_bring_what_is_far_away_to_every_pixel(pair):
    # Nothing but the tokens reaches from one corner of this image to the other.
    model = build(encoder="test_resnet")
    before, after = (torch.randn(1, 3, 512, 512) for _ in range(2))
    there = model(before, after).score[0, -8:, -8:]
    before[:, :, :256, :256] += 3.0
    moved = model(before, after).score[0, -8:, -8:]
    assert not torch.allclose(there, moved, atol=1e-6)


@pytest.mark.parametrize(("encoder", "stride"), [("test_resnet", 8), ("vit_tiny_patch16_224", 16)])
def test_the_stage_of_stride_16_is_dilated_where_the_encoder_can(encoder, stride, pair):
    model = build(encoder=encoder)
    assert model.encoder.strides == (stride,)
    assert model(*pair).score.shape == (1, 64, 96)


def test_each_date_has_as_many_tokens_as_asked_for():
    model = build(tokens=7)
    assert model.token_places.shape == (1, 14, 16)
    assert model.attend.out_channels == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder_width": 0}, "decoder_width must be at least 1, got 0"),
        ({"tokens": 0}, "tokens must be at least 1, got 0"),
        ({"decoder_layers": 0}, "decoder_layers must be at least 1, got 0"),
        ({"dropout": -0.5}, r"dropout must be in \[0, 1\), got -0.5"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)
