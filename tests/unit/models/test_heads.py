import pytest
import torch

from changedet.errors import ConfigError
from changedet.models.heads import build_head
from changedet.models.options import ALL_BRANCHES
from changedet.nn.attention import ChannelAttention, PositionAttention


def make(**options):
    torch.manual_seed(0)
    settings = {"kind": "dual", "width": 16, "attention": "dual", "dropout": 0.0, **options}
    return build_head(24, **settings)


@pytest.mark.parametrize(
    ("attention", "position", "channel"),
    [
        ("dual", PositionAttention, ChannelAttention),
        ("position", PositionAttention, torch.nn.Identity),
        ("channel", torch.nn.Identity, ChannelAttention),
        ("none", torch.nn.Identity, torch.nn.Identity),
    ],
)
def test_a_switched_off_attention_leaves_its_convolutions(attention, position, channel):
    head = make(attention=attention)
    assert isinstance(head.position.attention, position)
    assert isinstance(head.channel.attention, channel)
    embeddings = head(torch.randn(2, 24, 4, 4), branches=ALL_BRANCHES)
    assert {name: tuple(e.shape) for name, e in embeddings.items()} == dict.fromkeys(
        ALL_BRANCHES, (2, 16, 4, 4)
    )


def test_the_fused_embedding_is_made_of_both_branches():
    head = make(attention="none").eval()
    features = torch.randn(1, 24, 4, 4)
    fused = head(features, branches=("fused",))["fused"]
    added = head.position(features) + head.channel(features)
    torch.testing.assert_close(fused, head.project_fused.project(added))


@pytest.mark.parametrize("branches", [("fused",), ("position",), ALL_BRANCHES])
def test_only_wanted_branches_are_given(branches):
    assert tuple(make()(torch.randn(1, 24, 4, 4), branches=branches)) == branches


def test_a_plain_head_is_one_convolution_block_without_attention():
    head = make(kind="plain", attention="dual")
    assert head.attention == "none"
    assert head.branches == ("fused",)
    convolutions = [m for m in head.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.kernel_size for c in convolutions] == [(3, 3)]


def test_width_is_a_quarter_of_the_encoder_by_default():
    assert make(width=None).width == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "both"}, "attention must be one of dual, position, channel, none"),
        ({"kind": "deep"}, "head must be one of dual, plain, got 'deep'"),
        ({"width": 0}, "head_width must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)
