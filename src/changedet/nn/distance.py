"""Per-pixel distance of two embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor

from changedet.types import MAX_DISTANCE, Distance

#: Added to every component's difference (spec 2): keeps the root's gradient finite at distance 0.
L2_EPSILON = 1e-6


def unit_vectors(features: Tensor) -> Tensor:
    """Scale each pixel's feature vector to length 1, in float32 also under autocast.

    Args:
        features: (B, C, H, W), any float type.

    Returns:
        (B, C, H, W), float32, unit length along C.
    """
    return F.normalize(features.float(), dim=1)


def distance_map(before: Tensor, after: Tensor, kind: Distance) -> Tensor:
    """Score each pixel by how far its two embeddings lie apart (spec 2).

    Args:
        before: Unit vectors along C, (B, C, H, W), float32.
        after: The same for the second date.
        kind: ``"l2"`` is ``sqrt(sum_c (|a_c - b_c| + 1e-6)^2)``, ``"cosine"`` is ``1 - cos(a, b)``.

    Returns:
        Distances, (B, H, W), in [0, 2] (l2: up to rounding), float32.
    """
    if kind == "l2":
        apart: Tensor = torch.linalg.vector_norm((before - after).abs() + L2_EPSILON, dim=1)
        return apart
    # Rounding may leave the cosine of equal vectors a hair above 1.
    return (1.0 - (before * after).sum(dim=1)).clamp(0.0, MAX_DISTANCE)
