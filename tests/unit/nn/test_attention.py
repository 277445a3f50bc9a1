import sys

import pytest
import torch

from changedet.nn.attention import ChannelAttention, PositionAttention
from processes import run_code


def plain_position_attention(module, features):
    """The formula of spec 1.2 with the whole N x N matrix."""
    query, key, value = (
        convolution(features).flatten(2) for convolution in (module.query, module.key, module.value)
    )
    attention = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
    return module.gamma * (value @ attention.transpose(1, 2)).view_as(features) + features


def plain_channel_attention(module, features):
    flat = features.flatten(2)
    energy = flat @ flat.transpose(1, 2)
    attention = torch.softmax(energy.max(dim=-1, keepdim=True).values - energy, dim=-1)
    return module.gamma * (attention @ flat).view_as(features) + features


def switched_on(module):
    torch.nn.init.constant_(module.gamma, 0.5)
    return module


@pytest.mark.parametrize("channels", [1, 4, 8, 20, 64, 136, 300])
def test_position_attention_follows_its_formula_at_any_width(channels):
    torch.manual_seed(0)
    module = switched_on(PositionAttention(channels))
    features = torch.randn(2, channels, 5, 7)
    torch.testing.assert_close(
        module(features), plain_position_attention(module, features), rtol=1e-4, atol=1e-5
    )


def test_position_attention_has_the_gradients_of_its_formula():
    torch.manual_seed(0)
    module = switched_on(PositionAttention(20)).double()
    features = torch.randn(1, 20, 4, 3, dtype=torch.float64)
    parameters = list(module.parameters())
    ours = torch.autograd.grad(module(features).square().sum(), parameters)
    expected = plain_position_attention(module, features).square().sum()
    for gradient, plain in zip(ours, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(gradient, plain)


def test_channel_attention_follows_its_formula():
    torch.manual_seed(0)
    module = switched_on(ChannelAttention())
    features = torch.randn(2, 6, 5, 7)
    torch.testing.assert_close(module(features), plain_channel_attention(module, features))


@pytest.mark.parametrize("module", [PositionAttention(16), ChannelAttention()])
def test_a_new_attention_changes_nothing(module):
    features = torch.randn(1, 16, 4, 4)
    assert torch.equal(module(features), features)


@pytest.mark.parametrize("module", [PositionAttention(16), ChannelAttention()])
def test_channels_last_gives_the_same_values_in_the_same_format(module):
    torch.manual_seed(0)
    switched_on(module)
    features = torch.randn(2, 16, 4, 6)
    ours = module(features.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(ours, module(features))
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_channel_attention_is_exact_under_autocast():
    torch.manual_seed(0)
    module = switched_on(ChannelAttention())
    # Energies of thousands: one bfloat16 step is then 16, which would decide the softmax.
    features = (10 * torch.randn(1, 8, 16, 16)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        ours = module(features)
    torch.testing.assert_close(
        ours.float(), plain_channel_attention(module, features.float()), rtol=0.05, atol=0.2
    )


MEMORY_SCRIPT = """
import resource, sys, torch
from changedet.nn.attention import PositionAttention
torch.set_num_threads(1)
side, training = int(sys.argv[1]), sys.argv[2] == "train"
module = PositionAttention(int(sys.argv[3]))
def run(side):
    features = torch.randn(1, int(sys.argv[3]), side, side, requires_grad=training)
    with torch.set_grad_enabled(training):
        attended = module(features)
    if training:
        attended.sum().backward()
run(4)
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(side)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
"""


def peak_bytes(side, *, mode, channels, folder):
    """Memory that the attention of side x side positions adds to a process of its own."""
    added = run_code(MEMORY_SCRIPT, side, mode, channels, folder=folder / "printed")
    # Linux counts in KiB, macOS in bytes.
    return int(added) * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
@pytest.mark.parametrize(("mode", "channels"), [("eval", 16), ("train", 20)])
def test_memory_stays_far_below_one_matrix_of_all_position_pairs(mode, channels, tmp_path):
    side = 88
    matrix = 4 * (side * side) ** 2
    assert peak_bytes(side, mode=mode, channels=channels, folder=tmp_path) < matrix / 4
