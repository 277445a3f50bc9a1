import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from changedet.errors import ConfigError
from changedet.models.decoder import UpDecoder, decoder_channels


@pytest.mark.parametrize(
    ("width", "stride", "channels"),
    [
        (512, 8, (256, 128, 32)),
        (64, 8, (32, 32, 32)),
        (16, 8, (32, 32, 32)),
        (512, 32, (256, 128, 64, 32, 32)),
        (512, 2, (32,)),
    ],
)
def test_channels_are_halved_down_to_32(width, stride, channels):
    assert decoder_channels(width, stride=stride) == channels


@given(st.integers(1, 4096), st.integers(1, 6))
def test_one_level_a_doubling_and_never_fewer_than_32_channels(width, steps):
    channels = decoder_channels(width, stride=2**steps)
    assert len(channels) == steps
    assert channels[-1] == 32
    assert all(32 <= after <= max(32, width // 2) for after in channels)


@pytest.mark.parametrize("stride", [0, 1, 7, 12])
def test_a_stride_that_is_no_power_of_two_is_refused(stride):
    with pytest.raises(ConfigError, match=f"power of two, got {stride}"):
        decoder_channels(64, stride=stride)


def test_levels_double_in_size_up_to_the_image():
    decoder = UpDecoder(16, stride=8, activation="leaky_relu")
    levels = decoder(torch.randn(2, 16, 3, 5))
    assert [tuple(level.shape) for level in levels] == [
        (2, 32, 6, 10),
        (2, 32, 12, 20),
        (2, 32, 24, 40),
    ]


def test_a_resizing_decoder_draws_no_checkerboard_on_what_is_uniform():
    embedding = torch.randn(1, 16, 1, 1).expand(1, 16, 9, 9)
    spreads = {}
    for upsampling in ("transposed", "resize"):
        decoder = UpDecoder(16, stride=8, activation="leaky_relu", upsampling=upsampling).eval()
        with torch.no_grad():
            inside = decoder(embedding)[-1][..., 24:-24, 24:-24]
        spreads[upsampling] = (inside.amax((2, 3)) - inside.amin((2, 3))).max().item()
    assert spreads["resize"] < 1e-5 < 1e-3 < spreads["transposed"]


def test_a_resizing_decoder_has_the_same_levels():
    decoder = UpDecoder(64, stride=8, activation="relu", upsampling="resize")
    shapes = [tuple(level.shape[1:]) for level in decoder(torch.randn(2, 64, 3, 5))]
    assert shapes == [(32, 6, 10), (32, 12, 20), (32, 24, 40)]
