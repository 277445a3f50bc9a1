"""A segmentation network for two dates: pyramids fused level by level, then decoded (spec 1.6)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changedet.kinds import ANY
from changedet.models.base import EncoderModel, Levels
from changedet.models.option_checks import check_options
from changedet.models.option_types import Channels, DropShare, Kinds, Width
from changedet.models.pyramid_decoder import build_pyramid_decoder
from changedet.nn.blocks import PointNormAct
from changedet.nn.classifier import expect_little_change
from changedet.nn.distance import distance_map, unit_vectors
from changedet.nn.encoder import PyramidEncoder
from changedet.types import (
    Branch,
    BranchOutput,
    ChangeMap,
    Decoder,
    Distance,
    Fusion,
    Output,
)


class SiamesePyramid(EncoderModel):
    """Compare the feature maps of two dates at every level of a timm encoder.

    Both dates go through the same encoder as one batch. With ``output="logit"`` each level's two
    maps are fused into one of ``decoder_width`` channels, the decoder joins the levels at the
    finest one (stride 4 for most encoders), and one convolution classifies each of its pixels; the
    logit is resized to the image. With ``output="distance"`` each date's maps are decoded by
    themselves, and the distance of the two embeddings is taken, as in DASNet-V2.

    The levels that can be supervised (spec 1.5) are those of the decoder, coarse to fine, and then
    the result itself.

    Args:
        encoder: Any timm backbone; one that has a single level is used at that level.
        in_channels: Channels of the images.
        fusion: How the two maps of a level become one; a distance needs none.
        decoder: ``"fpn"`` adds the levels from coarse to fine and combines all of them at once,
            ``"unet"`` refines from coarse to fine.
        decoder_width: Channels inside the decoder.
        output: What a pixel's change is read from.
        distance: How embeddings are compared; plays no part with logits.
        dropout: Share of channels dropped before the last convolution in training.
        drop_path: Stochastic depth of the encoder in training, see
            :class:`changedet.nn.encoder.PyramidEncoder`.
        kinds: Kinds of change that are told apart, each by an output of its own of the last
            convolution; a distance is of one kind.

    Raises:
        ConfigError: If an option has a value that does not exist, or a distance is to tell kinds
            apart.
    """

    architecture: ClassVar[str] = "siamese_pyramid"
    least_strides: ClassVar[int] = 2
    per_kind: ClassVar[tuple[str, ...]] = ("predict.weight", "predict.bias")
    encoder: PyramidEncoder

    def __init__(
        self,
        *,
        encoder: str = "resnet50",
        in_channels: Channels = 3,
        fusion: Fusion = "difference",
        decoder: Decoder = "fpn",
        decoder_width: Width = 128,
        output: Output = "logit",
        distance: Distance = "l2",
        dropout: DropShare = 0.1,
        drop_path: DropShare = 0.0,
        kinds: Kinds = (ANY,),
    ) -> None:
        options = {
            "encoder": encoder,
            "in_channels": in_channels,
            "fusion": fusion,
            "decoder": decoder,
            "decoder_width": decoder_width,
            "output": output,
            "distance": distance,
            "dropout": dropout,
            "drop_path": drop_path,
            "kinds": list(kinds),
        }
        check_options(options)
        super().__init__(
            PyramidEncoder(encoder, in_channels=in_channels, drop_path=drop_path), options=options
        )
        self.fusion: Fusion = fusion
        self.output: Output = output
        self.distance: Distance = distance
        times = 1 if output == "distance" else CHANNELS_OF[fusion]
        self.lateral = nn.ModuleList(
            PointNormAct(times * channels, decoder_width) for channels in self.encoder.channels
        )
        self.decoder = build_pyramid_decoder(
            decoder, width=decoder_width, levels=len(self.encoder.channels)
        )
        self.dropout = nn.Dropout2d(dropout)
        out_channels = len(kinds) if output == "logit" else decoder_width
        self.predict = nn.Conv2d(decoder_width, out_channels, kernel_size=1)
        if output == "logit":
            expect_little_change(self.predict)

    def compare(
        self, before: Tensor, after: Tensor, *, branches: Sequence[Branch], levels: Levels
    ) -> Mapping[str, BranchOutput]:
        """Encode both dates as one batch, then classify or take distances."""
        # One batch, also for batch norm: the maps of the two dates are compared as they come, so
        # what is equal must look equal in training, too.
        both = self.encoder(
            torch.cat([before, after]).contiguous(memory_format=torch.channels_last)
        )
        size = (before.shape[-2], before.shape[-1])
        if self.output == "logit":
            return {"fused": self._classify([maps.chunk(2) for maps in both], size, levels)}
        return {"fused": self._measure(both, size, levels)}

    def _classify(
        self, maps: Sequence[Sequence[Tensor]], size: tuple[int, int], levels: Levels
    ) -> BranchOutput:
        fused = [
            lateral(fuse(first, second, self.fusion))
            for lateral, (first, second) in zip(self.lateral, maps, strict=True)
        ]
        decoded, result = self.decoder(fused)
        logit = resize(self.predict(self.dropout(result)), size).flatten(0, 1).float()
        change = ChangeMap.from_logit(logit)
        if levels == "last":
            return BranchOutput(change=change)
        coarse = (self.predict(level).flatten(0, 1).float() for level in decoded)
        return BranchOutput(
            change=change, level_changes=(*map(ChangeMap.from_logit, coarse), change)
        )

    def _measure(
        self, both: Sequence[Tensor], size: tuple[int, int], levels: Levels
    ) -> BranchOutput:
        decoded, result = self.decoder(
            [lateral(maps) for lateral, maps in zip(self.lateral, both, strict=True)]
        )
        first, second = unit_vectors(resize(self.predict(self.dropout(result)), size)).chunk(2)
        change = ChangeMap.from_distance(distance_map(first, second, self.distance))
        if levels == "last":
            return BranchOutput(change=change, before=first, after=second)
        coarse = (unit_vectors(self.predict(level)).chunk(2) for level in decoded)
        maps = (distance_map(before, after, self.distance) for before, after in coarse)
        return BranchOutput(
            change=change,
            before=first,
            after=second,
            level_changes=(*map(ChangeMap.from_distance, maps), change),
        )


#: How many channels a fused map has for each channel of one date.
CHANNELS_OF: Mapping[Fusion, int] = {"difference": 1, "concatenation": 2, "both": 3}


def fuse(before: Tensor, after: Tensor, kind: Fusion) -> Tensor:
    """Make one map of the two dates' maps.

    Args:
        before: (B, C, h, w).
        after: Likewise.
        kind: ``"difference"`` is ``|before - after|`` and does not know which date comes first;
            ``"concatenation"`` keeps what is seen on either date; ``"both"`` has all three.

    Returns:
        (B, C, h, w), (B, 2 C, h, w) or (B, 3 C, h, w).
    """
    if kind == "difference":
        return (before - after).abs()
    if kind == "concatenation":
        return torch.cat([before, after], dim=1)
    return torch.cat([before, after, (before - after).abs()], dim=1)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring maps (B, C, h, w) to a size, (B, C, *size)."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
