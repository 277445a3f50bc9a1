"""Heads that turn encoder features into one embedding a branch (spec 1.2)."""

from collections.abc import Sequence
from typing import get_args

from torch import Tensor, nn

from changedet.choices import check_choice
from changedet.errors import ConfigError
from changedet.models.options import ALL_BRANCHES, FUSED_ONLY
from changedet.nn.attention import ChannelAttention, PositionAttention
from changedet.nn.blocks import ConvNormAct
from changedet.types import Attention, Branch, Head


class AttentionBranch(nn.Sequential):
    """3x3 convolution, an attention or nothing, 3x3 convolution: (B, C, h, w) to (B, D, h, w)."""

    def __init__(self, in_channels: int, width: int, *, attention: nn.Module) -> None:
        super().__init__()
        self.reduce = ConvNormAct(in_channels, width)
        self.attention = attention
        self.refine = ConvNormAct(width, width)


class Projection(nn.Sequential):
    """Dropout of whole channels, then a 1x1 convolution of the same width."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.project = nn.Conv2d(width, width, kernel_size=1)


class DualAttentionHead(nn.Module):
    """The dual-attention head: a position, a channel and a fused embedding (spec 1.2).

    A switched-off attention leaves its branch's convolutions in place, so all three stay.

    Attributes:
        branches: The embeddings it can give.
        width: Channels of every embedding.
        attention: Which attentions are on.

    Args:
        in_channels: Channels of the encoder's feature map.
        width: Channels of every embedding.
        attention: Which attentions are on.
        dropout: Share of channels dropped before each 1x1 convolution in training.
    """

    branches: tuple[Branch, ...] = ALL_BRANCHES

    def __init__(
        self, in_channels: int, width: int, *, attention: Attention, dropout: float
    ) -> None:
        super().__init__()
        self.width = width
        self.attention: Attention = attention
        by_position = attention in ("dual", "position")
        by_channel = attention in ("dual", "channel")
        self.position = AttentionBranch(
            in_channels,
            width,
            attention=PositionAttention(width) if by_position else nn.Identity(),
        )
        self.channel = AttentionBranch(
            in_channels, width, attention=ChannelAttention() if by_channel else nn.Identity()
        )
        self.project_position = Projection(width, dropout=dropout)
        self.project_channel = Projection(width, dropout=dropout)
        self.project_fused = Projection(width, dropout=dropout)

    def forward(self, features: Tensor, *, branches: Sequence[Branch]) -> dict[Branch, Tensor]:
        """Embed (B, C, h, w) features into (B, width, h, w), once for each wanted branch."""
        position = self.position(features)
        channel = self.channel(features)
        embeddings: dict[Branch, Tensor] = {}
        if "position" in branches:
            embeddings["position"] = self.project_position(position)
        if "channel" in branches:
            embeddings["channel"] = self.project_channel(channel)
        if "fused" in branches:
            embeddings["fused"] = self.project_fused(position + channel)
        return embeddings


class PlainHead(nn.Module):
    """One 3x3 convolution and nothing else: the fused branch alone (spec 1.2, EXP3).

    Attributes:
        branches: ``("fused",)``.
        width: Channels of the embedding.
        attention: ``"none"``.

    Args:
        in_channels: Channels of the encoder's feature map.
        width: Channels of the embedding.
    """

    branches: tuple[Branch, ...] = FUSED_ONLY
    attention: Attention = "none"

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.reduce = ConvNormAct(in_channels, width)

    def forward(self, features: Tensor, *, branches: Sequence[Branch]) -> dict[Branch, Tensor]:
        """Embed (B, C, h, w) features into (B, width, h, w); ``branches`` is always fused."""
        return dict.fromkeys(branches, self.reduce(features))


def build_head(
    in_channels: int,
    *,
    kind: Head,
    width: int | None,
    attention: Attention,
    dropout: float,
) -> DualAttentionHead | PlainHead:
    """Build the head that the options of a model name.

    Args:
        in_channels: Channels of the encoder's feature map.
        kind: ``"plain"`` has no attention, whatever ``attention`` says.
        width: Channels of the embeddings; None is a quarter of ``in_channels``.
        attention: Which attentions a dual head uses.
        dropout: Share of channels dropped before each last convolution of a dual head.

    Raises:
        ConfigError: If an option has a value that does not exist.
    """
    check_choice("head", kind, get_args(Head))
    check_choice("attention", attention, get_args(Attention))
    if width is None:
        width = max(1, in_channels // 4)
    if width < 1:
        raise ConfigError(f"head_width must be at least 1, got {width}")
    if not 0.0 <= dropout < 1.0:
        raise ConfigError(f"dropout must be in [0, 1), got {dropout:g}")
    if kind == "plain":
        return PlainHead(in_channels, width)
    return DualAttentionHead(in_channels, width, attention=attention, dropout=dropout)
