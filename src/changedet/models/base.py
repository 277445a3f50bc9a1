"""What every change-detection network is: two images in, a change score per pixel out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changedet.choices import check_choice
from changedet.errors import ConfigError
from changedet.kinds import ANY, check_kinds
from changedet.models.options import ModelTraits, network_options
from changedet.nn.distance import distance_map, unit_vectors
from changedet.nn.encoder import Backbone, TimmEncoder
from changedet.types import (
    Branch,
    Branches,
    BranchOutput,
    ChangeMap,
    ChangeOutput,
    Distance,
    score_of,
)

Levels = Literal["last", "all"]
#: Feature maps of one date by branch, coarse to fine, not yet of unit length.
Features = Mapping[Branch, tuple[Tensor, ...]]


class ChangeModel(nn.Module, ABC):
    """A network that compares two dates pixel by pixel.

    A subclass says how the two dates are compared; what goes in and what comes out is the same
    for all of them.

    Attributes:
        architecture: Name in model files.
        options: JSON-able values that rebuild this very network.
        in_channels: Channels of the images.
        stride: Height and width of the images must be multiples of this, in pixels.
        branch_names: The branches it can compute.
        fixed_tile: Whether it holds any attention or mean over a whole tile, so that results depend
            on the tile's size.
        kinds: Names of the kinds of change that it tells apart, in the order of its maps.

    Args:
        in_channels: See above.
        stride: See above.
        branch_names: The branches that the subclass computes.
        fixed_tile: See above.
        options: See above.
        kinds: See above.
    """

    architecture: ClassVar[str]
    #: Names of the weights whose first dimension is that of the kinds of change.
    per_kind: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        in_channels: int,
        stride: int,
        branch_names: Sequence[Branch],
        fixed_tile: bool,
        options: Mapping[str, Any],
        kinds: Sequence[str] = (ANY,),
    ) -> None:
        super().__init__()
        self.kinds = check_kinds(kinds)
        self.in_channels = in_channels
        self.stride = stride
        self.branch_names = tuple(branch_names)
        self.fixed_tile = fixed_tile
        self.options = dict(options)

    @property
    def parameter_count(self) -> int:
        """Number of trained values; what batch norm measures is not counted."""
        return sum(parameter.numel() for parameter in self.parameters())

    @abstractmethod
    def compare(
        self, before: Tensor, after: Tensor, *, branches: Sequence[Branch], levels: Levels
    ) -> Mapping[str, BranchOutput]:
        """Compare two batches that were found to fit.

        Args:
            before: (B, C, H, W), normalised.
            after: Likewise.
            branches: Which branches are wanted.
            levels: ``"all"`` gives the output of every decoder level, too.

        Returns:
            Per branch its maps, (B * K, h, w) for K kinds of change: those of the first pair in
            the order of ``kinds``, then those of the next pair.
        """

    def compare_kinds(
        self,
        before: Tensor,
        after: Tensor,
        *,
        branches: Sequence[Branch],
        levels: Levels,
        kinds: Sequence[int] | None,
    ) -> Mapping[str, BranchOutput]:
        """Compare two batches that were found to fit, for some kinds of change alone.

        Args:
            before: See :meth:`compare`, as the next three.
            after: See above.
            branches: See above.
            levels: See above.
            kinds: Places in :attr:`kinds`; None: all.
        """
        outputs = self.compare(before, after, branches=branches, levels=levels)
        if kinds is None or len(self.kinds) == 1:
            return outputs
        return {name: output.select(kinds, of=len(self.kinds)) for name, output in outputs.items()}

    def forward(
        self,
        before: Tensor,
        after: Tensor,
        *,
        branches: Branches | None = None,
        levels: Levels = "last",
        kinds: Sequence[int] | None = None,
    ) -> ChangeOutput:
        """Score each pixel by how much it changed.

        Args:
            before: Image batch, (B, C, H, W), float, normalised.
            after: The same place at the second date.
            branches: ``"fused"`` or ``"all"``; None is all in training and fused otherwise.
            levels: ``"all"`` gives the output of every decoder level, too (spec 1.5).
            kinds: Places in :attr:`kinds` of the kinds of change that are wanted; None: all.

        Returns:
            The fused score at full resolution and the branches' outputs at their own. Where K kinds
            are given, B in the shapes is B * K: pair by pair, the kinds of each one after the
            other.

        Raises:
            ConfigError: If the images differ in size, have the wrong number of channels, or are
                no multiple of ``stride`` high and wide, or there is no such kind of change.
        """
        self._check_images(before, after)
        check_choice("levels", levels, get_args(Levels))
        for place in kinds or ():
            if not 0 <= place < len(self.kinds):
                raise ConfigError(
                    f"the model finds {len(self.kinds)} kinds of change "
                    f"({', '.join(self.kinds)}); kinds must be places from 0 to "
                    f"{len(self.kinds) - 1}, got {place}"
                )
        outputs = self.compare_kinds(
            before, after, branches=self._wanted(branches), levels=levels, kinds=kinds
        )
        size = (before.shape[-2], before.shape[-1])
        fused = outputs["fused"].change
        if fused.embedding_distance is None:
            return ChangeOutput(score=_resize(fused.score, size), branches=outputs)
        distance = _resize(fused.embedding_distance, size)
        return ChangeOutput(score=score_of(distance), branches=outputs, embedding_distance=distance)

    def _wanted(self, branches: Branches | None) -> tuple[Branch, ...]:
        if branches is None:
            branches = "all" if self.training else "fused"
        check_choice("branches", branches, get_args(Branches))
        return self.branch_names if branches == "all" else ("fused",)

    def _check_images(self, before: Tensor, after: Tensor) -> None:
        if before.shape != after.shape or before.dim() != 4:
            raise ConfigError(
                f"before and after must be two (B, C, H, W) batches of equal shape, got "
                f"{tuple(before.shape)} and {tuple(after.shape)}"
            )
        channels, height, width = before.shape[1:]
        if channels != self.in_channels:
            raise ConfigError(
                f"the model takes images of {self.in_channels} channels, got {channels}"
            )
        if height % self.stride or width % self.stride:
            raise ConfigError(
                f"image height and width must be multiples of {self.stride}, got {height} x "
                f"{width}; crop or pad the images, or use changedet.load(...).predict, which tiles"
            )


class EncoderModel(ChangeModel):
    """A network on one encoder, which both dates share; such a one can be trained.

    Its options are the keyword arguments of the subclass, JSON-able and each with a default, among
    them ``encoder`` (a timm name) and ``in_channels``. Settings files offer the same options, from
    the network's row in :mod:`changedet.models.options`, which needs no PyTorch.

    Attributes:
        encoder: Shared by both dates.
        least_strides: Strides along the side of the smallest crop that it can be trained on; a crop
            of one leaves a single pixel at the coarsest level.

    Args:
        encoder: Gives the feature maps of one date.
        options: Keyword arguments of the subclass.
        stride: Height and width of the images must be multiples of this, in pixels; None: the
            encoder's stride.
    """

    least_strides: ClassVar[int] = 1

    def __init__(
        self, encoder: Backbone, *, options: Mapping[str, Any], stride: int | None = None
    ) -> None:
        traits = self.traits_of(options)
        super().__init__(
            in_channels=encoder.in_channels,
            stride=encoder.stride if stride is None else stride,
            branch_names=traits.branch_names,
            fixed_tile=traits.fixed_tile,
            options=options,
            kinds=options.get("kinds", (ANY,)),
        )
        self.encoder = encoder

    @classmethod
    def traits_of(cls, options: Mapping[str, Any]) -> ModelTraits:
        """Say what networks of these options are like, without building one.

        Args:
            options: All options of the subclass.
        """
        return network_options(cls.architecture).traits_of(options)

    @property
    def least_crop_px(self) -> int:
        """Side of the smallest crop that it can be trained on, in pixels."""
        return self.least_strides * self.stride


class EmbeddingModel(EncoderModel):
    """Embed each date with the same weights, then take the distance of the embeddings (spec 1).

    A subclass says how one date is embedded.

    Attributes:
        distance: How embeddings are compared.

    Args:
        encoder: Gives the feature map of one date.
        options: As for :class:`EncoderModel`; must hold ``distance``.
    """

    encoder: TimmEncoder

    def __init__(self, encoder: TimmEncoder, *, options: Mapping[str, Any]) -> None:
        super().__init__(encoder, options=options)
        self.distance: Distance = self.options["distance"]
        check_choice("distance", self.distance, get_args(Distance))

    @abstractmethod
    def embed(self, images: Tensor, *, branches: Sequence[Branch]) -> Features:
        """Embed one date.

        Args:
            images: (B, C, H, W), normalised.
            branches: Which branches are wanted.

        Returns:
            Per wanted branch the feature maps (B, D, h, w), coarse to fine; the last one is the
            branch's embedding.
        """

    def compare(
        self, before: Tensor, after: Tensor, *, branches: Sequence[Branch], levels: Levels
    ) -> Mapping[str, BranchOutput]:
        """Take the distances of the two dates' embeddings."""
        features_before, features_after = self._embed_dates(before, after, branches)
        return {
            name: self._compare(features_before[name], features_after[name], levels)
            for name in branches
        }

    def _embed_dates(
        self, before: Tensor, after: Tensor, wanted: Sequence[Branch]
    ) -> tuple[Features, Features]:
        if self.training:
            # Spec 1.1: per-date batch statistics absorb the season's and the sensor's shift.
            return self.embed(before, branches=wanted), self.embed(after, branches=wanted)
        both = self.embed(torch.cat([before, after]), branches=wanted)
        halves = {
            name: [level.chunk(2) for level in feature_maps] for name, feature_maps in both.items()
        }
        return (
            {name: tuple(first for first, _ in pairs) for name, pairs in halves.items()},
            {name: tuple(second for _, second in pairs) for name, pairs in halves.items()},
        )

    def _compare(
        self, before: tuple[Tensor, ...], after: tuple[Tensor, ...], levels: Levels
    ) -> BranchOutput:
        unit_before, unit_after = unit_vectors(before[-1]), unit_vectors(after[-1])
        change = ChangeMap.from_distance(distance_map(unit_before, unit_after, self.distance))
        coarse: list[ChangeMap] = []
        if levels == "all":
            coarse = [
                ChangeMap.from_distance(
                    distance_map(unit_vectors(first), unit_vectors(second), self.distance)
                )
                for first, second in zip(before[:-1], after[:-1], strict=True)
            ]
        return BranchOutput(
            change=change,
            before=unit_before,
            after=unit_after,
            level_changes=(*coarse, change) if levels == "all" else (),
        )


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring maps (B, h, w) to the image's size (spec 1.3)."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps.unsqueeze(1), size=size, mode="bilinear", align_corners=True).squeeze(
        1
    )


def for_kinds(
    weights: Mapping[str, Tensor], *, had: Sequence[str], model: ChangeModel
) -> dict[str, Tensor]:
    """Arrange the weights of a network for one like it that finds other kinds of change.

    Each output of the last layer moves to the place of its kind. A kind that was not known starts
    with the weights of ``any``, or else of the first one, which is nearer than random weights.

    Args:
        weights: Of the network, by name.
        had: Its kinds of change.
        model: The other network.
    """
    fallback = had.index(ANY) if ANY in had else 0
    places = [had.index(kind) if kind in had else fallback for kind in model.kinds]
    # Of a network that compares embeddings, the last layer gives those, whatever their kind.
    return {
        name: value[places] if name in model.per_kind and len(value) == len(had) else value
        for name, value in weights.items()
    }
