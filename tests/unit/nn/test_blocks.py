import pytest
import torch

from changedet.errors import ConfigError
from changedet.nn.blocks import ConvNormAct, UpBlock


def test_conv_block_keeps_the_size_and_gives_no_negative_values():
    features = ConvNormAct(3, 5)(torch.randn(2, 3, 7, 9))
    assert features.shape == (2, 5, 7, 9)
    assert features.min() == 0


@pytest.mark.parametrize(("activation", "slope"), [("leaky_relu", 0.01), ("relu", 0.0)])
def test_up_block_doubles_the_size_and_damps_negative_values(activation, slope):
    torch.manual_seed(0)
    block = UpBlock(4, 6, activation=activation)
    images = torch.randn(2, 4, 5, 3)
    before_activation = block[1](block[0](images))
    expected = before_activation.clamp(min=0) + slope * before_activation.clamp(max=0)
    assert expected.shape == (2, 6, 10, 6)
    torch.testing.assert_close(block(images), expected)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ConfigError, match="activation must be one of leaky_relu, relu, got 'gelu'"):
        UpBlock(4, 6, activation="gelu")
