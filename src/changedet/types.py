"""Names shared by every layer: choices, results, statistics. No torch at run time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from changedet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

Distance = Literal["l2", "cosine"]
Attention = Literal["dual", "position", "channel", "none"]
Head = Literal["dual", "plain"]
#: How two dates become one at each level: |a - b|, both side by side, or all three.
Fusion = Literal["difference", "concatenation", "both"]
Decoder = Literal["fpn", "unet"]
#: What a pixel's change is read from: a classifier's logit, or the distance of two embeddings.
Output = Literal["logit", "distance"]
Branch = Literal["position", "channel", "fused"]
Branches = Literal["fused", "all"]
Bands = Literal["rgb", "bgr"]
#: Kinds of stored values: what is neither uint8 nor uint16 is handled as float32.
PixelType = Literal["uint8", "uint16", "float32"]
#: How an image larger than a tile is scored: ``whole``, by overlapping tiles that fade into each
#: other, or by a ``grid`` of tiles side by side, each without its surroundings.
Mode = Literal["whole", "grid"]
#: Which views of a tile are scored and averaged: turned, mirrored, or coarser ones.
TestTime = Literal["none", "mirror", "flips", "turns", "scales", "coarse", "coarse_few"]
#: Type of stored weights.
Precision = Literal["float32", "float16", "int8"]

#: Told after every item: how many are done, and how many there are.
Progress: TypeAlias = Callable[[int, int], None]

#: Largest distance of two unit vectors (both distances): score = distance / MAX_DISTANCE (spec 5).
MAX_DISTANCE = 2.0
#: In a *decoded* label (0, 1, IGNORED): the pixel counts neither as changed nor as unchanged.
IGNORED = 255


class BranchOutput(NamedTuple):
    """Distance of one branch at the branch's own resolution (h, w), and what it was made of.

    ``distance`` is (B, h, w) in [0, 2]. A branch that compares embeddings has them in ``before``
    and ``after``, unit vectors along C, (B, C, h, w). A branch that classifies has instead the
    ``logit`` of change, (B, h, w), any real number; its distance is twice the logit's sigmoid, so
    that the score (half the distance) is the estimated probability of change.

    ``levels`` holds the distances of the decoder levels, coarse to fine, the last of them
    ``distance`` itself, and ``level_logits`` likewise the logits; both are empty unless the levels
    were asked for (spec 1.5).
    """

    distance: torch.Tensor
    before: torch.Tensor | None = None
    after: torch.Tensor | None = None
    levels: tuple[torch.Tensor, ...] = ()
    logit: torch.Tensor | None = None
    level_logits: tuple[torch.Tensor, ...] = ()


@dataclass(frozen=True)
class ChangeOutput:
    """What a model says of a batch of pairs.

    Attributes:
        distance: Fused branch at full resolution, (B, H, W), in [0, 2].
        branches: The computed branches by name.
    """

    distance: torch.Tensor
    branches: Mapping[str, BranchOutput]

    @property
    def score(self) -> torch.Tensor:
        """Change score, (B, H, W), in [0, 1]: half the distance, clipped (spec 5)."""
        return (self.distance / MAX_DISTANCE).clamp(0.0, 1.0)


@dataclass(frozen=True)
class Normalisation:
    """Per-date statistics that turn stored values into network input.

    Network input is ``(value - mean) / std`` per channel, after the channels were put into
    ``bands`` order. Means and deviations are in the units of the stored values (0..255 for 8 bit)
    and listed in ``bands`` order.

    Raises:
        ConfigError: If a mean is not finite, a deviation not finite and above 0, or the four differ
            in their number of channels.
    """

    mean_before: tuple[float, ...]
    mean_after: tuple[float, ...]
    std_before: tuple[float, ...]
    std_after: tuple[float, ...]
    bands: Bands = "rgb"

    def __post_init__(self) -> None:
        means, stds = (self.mean_before, self.mean_after), (self.std_before, self.std_after)
        if len({len(values) for values in (*means, *stds)}) > 1:
            raise ConfigError(
                "the means and standard deviations of both dates must have as many channels each, "
                f"got {self}"
            )
        if not all(math.isfinite(value) for values in means for value in values):
            raise ConfigError(f"the means of both dates must be finite, got {means}")
        if not all(math.isfinite(value) and value > 0 for values in stds for value in values):
            raise ConfigError(
                f"the standard deviations of both dates must be finite and above 0, got {stds}"
            )


#: Spec 3: the seed's input is BGR, 0..255, minus the per-date means of CDD, not divided.
CDD_NORMALISATION = Normalisation(
    mean_before=(87.72, 100.20, 90.43),
    mean_after=(120.24, 127.93, 121.18),
    std_before=(1.0, 1.0, 1.0),
    std_after=(1.0, 1.0, 1.0),
    bands="bgr",
)
