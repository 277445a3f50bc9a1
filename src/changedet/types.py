"""Names shared by every layer: choices, results, statistics. No torch at run time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

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
#: Decoders of segmentation-models-pytorch, by the names that the package gives its architectures.
SegmentationDecoder = Literal[
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "fpn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "pan",
    "upernet",
    "segformer",
    "dpt",
]
#: What a pixel's change is read from: a classifier's logit, or the distance of two embeddings.
Output = Literal["logit", "distance"]
#: Of a decoder: leaky as in the public code of DASNet-V2, or ReLU as its document states.
Activation = Literal["leaky_relu", "relu"]
#: How a decoder doubles the resolution.
Upsampling = Literal["transposed", "resize"]
Branch = Literal["position", "channel", "fused"]
Branches = Literal["fused", "all"]
Bands = Literal["rgb", "bgr"]
#: Kinds of stored values: what is neither uint8 nor uint16 is handled as float32.
PixelType = Literal["uint8", "uint16", "float32"]
#: How an image larger than a tile is scored: ``whole``, by overlapping tiles that fade into each
#: other, or by a ``grid`` of tiles side by side, each without its surroundings.
Mode = Literal["whole", "grid"]
#: Which views of a tile are scored and averaged: rotated, mirrored or coarser ones.
TestTime = Literal["none", "mirror", "flips", "turns", "scales", "coarse", "coarse_few"]
#: Type of stored weights.
Precision = Literal["float32", "float16", "int8"]

#: What computes a network: PyTorch, or a runtime that reads an exported graph; ``auto`` is the
#: fastest one that is installed and can read the file.
Runtime = Literal["auto", "torch", "onnx", "openvino"]
#: In what a runtime computes; anything but float32 only where it is asked for.
Arithmetic = Literal["float32", "bf16", "int8"]

#: Told after every item: how many are done, and how many there are.
Progress: TypeAlias = Callable[[int, int], None]

#: Largest distance of two unit vectors (both distances): score = distance / MAX_DISTANCE (spec 5).
MAX_DISTANCE = 2.0
#: In a *decoded* label (0, 1, IGNORED): the pixel is ignored.
IGNORED = 255


@dataclass(frozen=True, kw_only=True)
class ChangeMap:
    """One map of change at its own resolution (h, w), and what it was read from.

    A network that compares embeddings makes it with :meth:`from_distance`, one that classifies with
    :meth:`from_logit`.

    Attributes:
        score: (B, h, w), in [0, 1]; for a classifier, the estimated probability of change. A
            network of K kinds of change gives (B * K, h, w), pair by pair.
        logit: What a classifier's score is the sigmoid of, (B, h, w), any real number.
        embedding_distance: Distance of the embeddings, of which the score is half, (B, h, w), in
            [0, 2].
    """

    score: torch.Tensor
    logit: torch.Tensor | None = None
    embedding_distance: torch.Tensor | None = None

    @classmethod
    def from_distance(cls, distance: torch.Tensor) -> ChangeMap:
        """Read a map from distances of embeddings, (B, h, w), in [0, 2] (spec 5)."""
        return cls(score=score_of(distance), embedding_distance=distance)

    @classmethod
    def from_logit(cls, logit: torch.Tensor) -> ChangeMap:
        """Read a map from logits of change, (B, h, w), any real number."""
        return cls(score=logit.sigmoid(), logit=logit)

    @property
    def distance(self) -> torch.Tensor:
        """(B, h, w), in [0, 2]: of the embeddings, or twice the score without embeddings."""
        return _distance(self.embedding_distance, self.score)

    def select(self, kinds: Sequence[int], *, of: int) -> ChangeMap:
        """Give the maps of some kinds of change.

        Args:
            kinds: Places of the kinds, each in [0, of).
            of: Number of the kinds that the maps are of.

        Returns:
            (B * len(kinds), h, w).
        """

        def pick(maps: torch.Tensor) -> torch.Tensor:
            return maps.reshape(-1, of, *maps.shape[1:])[:, list(kinds)].flatten(0, 1)

        distance = self.embedding_distance
        return ChangeMap(
            score=pick(self.score),
            logit=None if self.logit is None else pick(self.logit),
            embedding_distance=None if distance is None else pick(distance),
        )


@dataclass(frozen=True, kw_only=True)
class BranchOutput:
    """Output of one branch at its own resolution (h, w), and what it was read from.

    Attributes:
        change: The branch's map.
        before: Embeddings of the first date, unit vectors along C, (B, C, h, w); None for a branch
            that classifies.
        after: The same for the second date.
        level_changes: The maps of the decoder levels, coarse to fine, the last of them ``change``
            itself; empty unless the levels were asked for (spec 1.5).
    """

    change: ChangeMap
    before: torch.Tensor | None = None
    after: torch.Tensor | None = None
    level_changes: tuple[ChangeMap, ...] = ()

    def select(self, kinds: Sequence[int], *, of: int) -> BranchOutput:
        """Give the maps of some kinds of change, see :meth:`ChangeMap.select`."""
        return replace(
            self,
            change=self.change.select(kinds, of=of),
            level_changes=tuple(level.select(kinds, of=of) for level in self.level_changes),
        )

    @property
    def score(self) -> torch.Tensor:
        """Score of the branch, (B, h, w), in [0, 1]."""
        return self.change.score

    @property
    def distance(self) -> torch.Tensor:
        """Distance of the branch, (B, h, w), in [0, 2], see :attr:`ChangeMap.distance`."""
        return self.change.distance

    @property
    def logit(self) -> torch.Tensor | None:
        """Logit of change, (B, h, w); None for a branch that compares embeddings."""
        return self.change.logit

    @property
    def levels(self) -> tuple[torch.Tensor, ...]:
        """Distances of ``level_changes``."""
        return tuple(level.distance for level in self.level_changes)

    @property
    def level_logits(self) -> tuple[torch.Tensor, ...]:
        """Logits of ``level_changes``; empty for a branch that compares embeddings."""
        return tuple(level.logit for level in self.level_changes if level.logit is not None)


@dataclass(frozen=True, kw_only=True)
class ChangeOutput:
    """What a network returns for a batch of pairs.

    Attributes:
        score: Change score at full resolution, (B, H, W), in [0, 1]; (B * K, H, W) for K kinds of
            change, see :class:`ChangeMap`.
        branches: The computed branches by name.
        embedding_distance: Distance of the embeddings, of which the score is half, (B, H, W), in
            [0, 2] (spec 5); None for a model that does not compare embeddings.
    """

    score: torch.Tensor
    branches: Mapping[str, BranchOutput]
    embedding_distance: torch.Tensor | None = None

    @property
    def distance(self) -> torch.Tensor:
        """(B, H, W), in [0, 2]: of the embeddings, or twice the score without embeddings."""
        return _distance(self.embedding_distance, self.score)


def score_of(distance: torch.Tensor) -> torch.Tensor:
    """Half of a distance, clipped to [0, 1] (spec 5)."""
    return (distance / MAX_DISTANCE).clamp(0.0, 1.0)


def _distance(embedding_distance: torch.Tensor | None, score: torch.Tensor) -> torch.Tensor:
    return MAX_DISTANCE * score if embedding_distance is None else embedding_distance


@dataclass(frozen=True)
class Normalisation:
    """Per-date statistics that turn stored values into network input.

    Network input is ``(value - mean) / std`` per channel, after the channels were put into
    ``bands`` order. Means and standard deviations are in the units of the stored values (0..255
    for 8 bit) and listed in ``bands`` order.

    Raises:
        ConfigError: If a mean is not finite, a standard deviation is not finite and above 0, or the
            four differ in their number of channels.
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
                "the means and standard deviations of both dates must have the same number of "
                f"channels, got {self}"
            )
        if not all(math.isfinite(value) for values in means for value in values):
            raise ConfigError(f"the means of both dates must be finite, got {means}")
        if not all(math.isfinite(value) and value > 0 for values in stds for value in values):
            raise ConfigError(
                f"the standard deviations of both dates must be finite and above 0, got {stds}"
            )


#: Spec 3: the public code's input is BGR, 0..255, minus the per-date means of CDD, not divided.
CDD_NORMALISATION = Normalisation(
    mean_before=(87.72, 100.20, 90.43),
    mean_after=(120.24, 127.93, 121.18),
    std_before=(1.0, 1.0, 1.0),
    std_after=(1.0, 1.0, 1.0),
    bands="bgr",
)
