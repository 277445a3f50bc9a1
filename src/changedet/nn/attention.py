"""The two attention modules of the dual-attention head (spec 1.2)."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Fused kernels want one width for query, key and value, and that a multiple of 8.
_WIDTH_MULTIPLE = 8
#: Widest value group: the widest that all fused kernels run fast.
_GROUP_WIDTH = 128
#: Positions that look at all others at once in an exported graph.
_PIECE = 256


class PositionAttention(nn.Module):
    """Let every position look at every other one (PAM).

    ``gamma * V softmax(Q^T K)^T + x`` over the H * W positions, logits not scaled, gamma starting
    at 0. Query and key have an eighth of the channels. Memory grows linearly with H * W.

    Args:
        channels: C of the (B, C, H, W) input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        key_channels = max(1, channels // 8)
        self.query = nn.Conv2d(channels, key_channels, kernel_size=1)
        self.key = nn.Conv2d(channels, key_channels, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """Add each position's attended context to it, (B, C, H, W)."""
        context = _attend(
            _positions(self.query(features)),
            _positions(self.key(features)),
            _positions(self.value(features)),
        )
        return features + self.gamma * context.transpose(1, 2).reshape(features.shape)


class ChannelAttention(nn.Module):
    """Let every channel look at every other one (CAM).

    ``energy = X X^T``, ``attention = softmax(rowmax(energy) - energy)``, then
    ``gamma * attention X + x``, gamma starting at 0; X is (C, H * W).
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """Add each channel's attended context to it, (B, C, H, W)."""
        flat = features.flatten(2)
        # Energies are sums over all positions, hence far beyond what bfloat16 resolves.
        with _without_autocast(features.device.type):
            exact = flat.float()
            energy = exact @ exact.transpose(1, 2)
            attention = (energy.amax(dim=-1, keepdim=True) - energy).softmax(dim=-1)
        context = attention.to(flat.dtype) @ flat
        return features + self.gamma * context.reshape(features.shape)


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    # Devices without autocast, "meta" among them, do not even let it be switched off.
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)


def _positions(features: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H * W, C), the last axis dense as the fused kernels want it."""
    return features.flatten(2).transpose(1, 2).contiguous()


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``softmax(Q K^T) V`` without ever holding an N x N matrix.

    Fused attention falls back to the N x N path where query and value differ in width. So the
    value is split into groups of one width, as if they were heads, and query and key are filled
    up with zeros to that width, which leaves their products as they are.

    Args:
        query: (B, N, K).
        key: (B, N, K).
        value: (B, N, C).

    Returns:
        (B, N, C).
    """
    if torch.onnx.is_in_onnx_export():
        return _attend_in_pieces(query, key, value)
    batch, positions, channels = value.shape
    width = max(_round_up(query.shape[-1]), min(_round_up(channels), _GROUP_WIDTH))
    groups = -(-channels // width)
    values = F.pad(value, (0, groups * width - channels)).reshape(batch, positions, groups, width)
    shared = (batch, groups, positions, width)
    context = F.scaled_dot_product_attention(
        F.pad(query, (0, width - query.shape[-1])).unsqueeze(1).expand(shared),
        F.pad(key, (0, width - key.shape[-1])).unsqueeze(1).expand(shared),
        values.transpose(1, 2),
        scale=1.0,
    )
    return context.transpose(1, 2).flatten(2)[..., :channels]


def _attend_in_pieces(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """:func:`_attend` for an exported graph, whose runtime would hold the N x N matrix.

    N, the size of the tile, is fixed there; the graph holds (_PIECE, N) at a time.
    """
    keys = key.transpose(1, 2)
    starts = range(0, int(query.shape[1]), _PIECE)
    pieces = [(query[:, start : start + _PIECE] @ keys).softmax(dim=-1) @ value for start in starts]
    return torch.cat(pieces, dim=1)


def _round_up(width: int) -> int:
    return -(-width // _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE
