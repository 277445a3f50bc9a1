"""DASNet-V2 the way in which the public code computes it, with the weights of a network of ours.

Written from the specification and the papers, not from that code: float32, one pass for each date,
attention with the whole matrix of positions, all three branches decoded also to predict, a loss of
plain operations, and a histogram in NumPy for each image.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from changedet.models.dasnet_v2 import DASNetV2
from changedet.models.heads import DualAttentionHead
from changedet.nn.attention import ChannelAttention, PositionAttention

#: Margins of the L2 distance, and what keeps its root's gradient finite (spec 2).
_UNCHANGED_MARGIN, _CHANGED_MARGIN = 0.3, 2.2
_EPSILON = 1e-6
#: Thresholds of the paper's protocol: 96 in [0, 2.2] (spec 5).
THRESHOLDS = np.linspace(0.0, 2.2, 96)


class Embeddings(NamedTuple):
    """Unit vectors of one date, (B, 32, H, W) each."""

    position: Tensor
    channel: Tensor
    fused: Tensor


class PublishedNetwork(nn.Module):
    """Computes with the layers of a network, which stay its own.

    Args:
        model: DASNet-V2 with dual attention and L2 distance.

    Raises:
        TypeError: If it is another network.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not (isinstance(model, DASNetV2) and isinstance(model.head, DualAttentionHead)):
            raise TypeError("the public code has DASNet-V2 with a dual head only")
        by_position, by_channel = model.head.position.attention, model.head.channel.attention
        if not isinstance(by_position, PositionAttention):
            raise TypeError("the public code attends to positions")
        if not isinstance(by_channel, ChannelAttention):
            raise TypeError("the public code attends to channels")
        self.model = model
        self._head = model.head
        self._by_position, self._by_channel = by_position, by_channel

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, ...]:
        """Give the distance maps of all branches, (B, H, W) each, the fused one last."""
        first, second = self._embed(before), self._embed(after)
        return tuple(_distance(a, b) for a, b in zip(first, second, strict=True))

    def _embed(self, images: Tensor) -> Embeddings:
        features = self.model.encoder(images)
        head = self._head
        position = head.position.reduce(features)
        position = head.position.refine(_attend_positions(self._by_position, position))
        channel = head.channel.reduce(features)
        channel = head.channel.refine(_attend_channels(self._by_channel, channel))
        projected = (
            head.project_position(position),
            head.project_channel(channel),
            head.project_fused(position + channel),
        )
        return Embeddings(*(_unit(self._decode(embedding)) for embedding in projected))

    def _decode(self, embedding: Tensor) -> Tensor:
        for block in self.model.decoder.blocks:
            embedding = block(embedding)
        return embedding


def _attend_positions(layer: PositionAttention, features: Tensor) -> Tensor:
    """Position attention with the whole matrix of N x N positions."""
    batch, channels, height, width = features.shape
    query = layer.query(features).view(batch, -1, height * width).permute(0, 2, 1)
    key = layer.key(features).view(batch, -1, height * width)
    value = layer.value(features).view(batch, channels, height * width)
    attention = torch.softmax(torch.bmm(query, key), dim=-1)
    context = torch.bmm(value, attention.permute(0, 2, 1))
    attended: Tensor = layer.gamma * context.view(batch, channels, height, width) + features
    return attended


def _attend_channels(layer: ChannelAttention, features: Tensor) -> Tensor:
    flat = features.flatten(2)
    energy = torch.bmm(flat, flat.permute(0, 2, 1))
    highest = torch.max(energy, -1, keepdim=True)[0].expand_as(energy)
    attention = torch.softmax(highest - energy, dim=-1)
    attended: Tensor = layer.gamma * torch.bmm(attention, flat).view(features.shape) + features
    return attended


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features, dim=1)


def _distance(before: Tensor, after: Tensor) -> Tensor:
    return torch.sqrt((((before - after).abs() + _EPSILON) ** 2).sum(dim=1))


def published_loss(distances: Sequence[Tensor], label: Tensor, *, changed_share: float) -> Tensor:
    """Add up the weighted double-margin loss of all branches (spec 2).

    Args:
        distances: (B, H, W) each.
        label: (B, H, W), 0 or 1.
        changed_share: Share of changed pixels in the training.
    """
    changed = label.float()
    total = distances[0].new_zeros(())
    for distance in distances:
        pull = torch.pow(torch.clamp(distance - _UNCHANGED_MARGIN, min=0.0), 2)
        push = torch.pow(torch.clamp(_CHANGED_MARGIN - distance, min=0.0), 2)
        weighted = (1 - changed) * pull / (1 - changed_share) + changed * push / changed_share
        total = total + weighted.mean()
    return total


def published_counts(distance: Tensor, label: Tensor) -> list[NDArray[np.int64]]:
    """Count each image's pixels at or above the thresholds, in NumPy on the host.

    Args:
        distance: Of the fused branch, (B, H, W).
        label: (B, H, W), 0 or 1.

    Returns:
        For each image changed and unchanged pixels at or above each of :data:`THRESHOLDS`, (2, 96).
    """
    edges = np.append(THRESHOLDS, np.inf).astype(np.float32)
    counts = []
    for values, truth in zip(distance.cpu().numpy(), label.cpu().numpy(), strict=True):
        found = [np.histogram(values[truth == kind], edges)[0] for kind in (1, 0)]
        counts.append(np.stack([np.cumsum(one[::-1])[::-1] for one in found]))
    return counts
