"""Any segmentation network for two dates: its decoder on the fused maps of a shared encoder."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, get_args

import torch
from torch import Tensor, nn

from changedet.choices import check_choice
from changedet.kinds import ANY
from changedet.models.base import EncoderModel, Levels
from changedet.models.option_checks import check_options
from changedet.models.option_types import Channels, DropShare, Kinds, Width
from changedet.models.segmentation_decoder import BorrowedDecoder, decoder_plan
from changedet.models.siamese_pyramid import CHANNELS_OF, fuse, resize
from changedet.nn.blocks import PointNormAct
from changedet.nn.classifier import classified, expect_little_change
from changedet.nn.distance import distance_map, unit_vectors
from changedet.nn.segmentation_encoder import segmentation_encoder
from changedet.types import (
    Branch,
    BranchOutput,
    ChangeMap,
    Distance,
    Fusion,
    Output,
    SegmentationDecoder,
)

#: Decoders divide channels by this.
_MULTIPLE = 4


class SiameseSegmentation(EncoderModel):
    """Borrow the decoder of a segmentation network for the comparison of two dates.

    Both dates go through one encoder as one batch. With ``output="logit"`` the two maps of each
    level are fused as in :class:`~changedet.models.siamese_pyramid.SiamesePyramid` and brought back
    to the encoder's channels, the decoder joins the levels, and one convolution classifies each
    pixel. With ``output="distance"`` each date is decoded by itself, and the distance of the two
    embeddings is taken, as in DASNet-V2.

    Decoders want levels of certain strides. Where an encoder has no such level, as transformers
    have none of stride 2, the nearest one is resized.

    Args:
        encoder: Any timm backbone, also written ``tu-NAME`` as in segmentation-models-pytorch, or
            any other encoder of that package.
        in_channels: Channels of the images.
        fusion: How the two maps of a level become one; a distance needs none.
        decoder: Architecture whose decoder is taken.
        decoder_width: Channels inside the decoder, at its widest or everywhere, as the package
            means it; None: the package's own.
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
        MissingExtraError: If segmentation-models-pytorch is not installed.
    """

    architecture: ClassVar[str] = "siamese_segmentation"
    per_kind: ClassVar[tuple[str, ...]] = ("predict.weight", "predict.bias")
    least_strides: ClassVar[int] = 2

    def __init__(
        self,
        *,
        encoder: str = "resnet34",
        in_channels: Channels = 3,
        fusion: Fusion = "difference",
        decoder: SegmentationDecoder = "unet",
        decoder_width: Width | None = None,
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
        check_choice("decoder", decoder, get_args(SegmentationDecoder))
        check_options(options, least_width=8)
        plan = decoder_plan(decoder)
        backbone = segmentation_encoder(
            encoder,
            in_channels=in_channels,
            wanted=plan.strides,
            output_stride=plan.dilated,
            drop_path=drop_path,
        )
        channels = [backbone.channels[pick] for pick in backbone.picks]
        rounded = [-(-count // _MULTIPLE) * _MULTIPLE for count in channels]
        borrowed = BorrowedDecoder(
            decoder,
            channels=rounded,
            strides=[backbone.strides[pick] for pick in backbone.picks],
            in_channels=in_channels,
            width=decoder_width,
        )
        super().__init__(
            backbone,
            # A decoder that halves its maps needs more of them than the encoder does.
            stride=math.lcm(backbone.stride, plan.map_strides[-1]),
            options={**options, "decoder_width": borrowed.width},
        )
        self.picks = backbone.picks
        self.fusion: Fusion = fusion
        self.output: Output = output
        self.distance: Distance = distance
        times = 1 if output == "distance" else CHANNELS_OF[fusion]
        self.lateral = nn.ModuleList(
            nn.Identity() if times * count == wanted else PointNormAct(times * count, wanted)
            for count, wanted in zip(channels, rounded, strict=True)
        )
        self.decoder = borrowed
        self.dropout = nn.Dropout2d(dropout)
        width = borrowed.out_channels
        self.predict = nn.Conv2d(width, len(kinds) if output == "logit" else width, kernel_size=1)
        if output == "logit":
            expect_little_change(self.predict)

    def compare(
        self, before: Tensor, after: Tensor, *, branches: Sequence[Branch], levels: Levels
    ) -> Mapping[str, BranchOutput]:
        """Encode both dates as one batch, then classify or take distances."""
        images = torch.cat([before, after])
        both = self.encoder(images.contiguous(memory_format=torch.channels_last))
        size = (before.shape[-2], before.shape[-1])
        if self.output == "distance":
            decoded = self._decode(images, [both[pick] for pick in self.picks], size)
            first, second = unit_vectors(decoded).chunk(2)
            change = ChangeMap.from_distance(distance_map(first, second, self.distance))
            found = BranchOutput(
                change=change,
                before=first,
                after=second,
                level_changes=(change,) if levels == "all" else (),
            )
            return {"fused": found}
        pairs = (both[pick].chunk(2) for pick in self.picks)
        fused = [fuse(first, second, self.fusion) for first, second in pairs]
        return {"fused": classified(self._decode(before, fused, size), levels=levels)}

    def _decode(self, images: Tensor, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Bring levels to the strides that the decoder wants, decode them, predict at full size."""
        strides = self.decoder.strides
        wanted = [
            resize(lateral(features), (size[0] // stride, size[1] // stride))
            for lateral, features, stride in zip(self.lateral, maps, strides, strict=True)
        ]
        return resize(self.predict(self.dropout(self.decoder(images, wanted))), size)
