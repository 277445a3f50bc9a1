"""Decoders of segmentation-models-pytorch (MIT, extra ``smp``) for feature maps of any network.

The package's architectures are built whole, each on an encoder of its own. Here one is built on a
stand-in of the wanted channels, and its decoder is taken out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from changedet._optional import SEGMENTATION_MODELS
from changedet.errors import ConfigError
from changedet.types import SegmentationDecoder

#: Depth at which each stride stands in the lists of feature maps that decoders take.
_STRIDES = (2, 4, 8, 16, 32)
#: Group normalisation in the FPN's head has this many groups.
_GROUPS = 32


class DecoderPlan(NamedTuple):
    """What a decoder reads, and how wide it can be.

    Attributes:
        strides: Strides in pixels of the encoder's levels that it reads, fine to coarse, before
            dilation.
        width: Channels inside the decoder where none are asked for, as the package has them.
        options: Gives the package's keyword arguments for a width; None: the width is fixed.
        dilated: Coarsest stride that the encoder is brought to by dilation; None: not dilated.
        least: Pixels that its coarsest map needs along each axis; smaller ones are extended.
    """

    strides: tuple[int, ...]
    width: int
    options: Callable[[int], Mapping[str, object]] | None
    dilated: int | None = None
    least: int = 1

    @property
    def map_strides(self) -> tuple[int, ...]:
        """Strides of the maps that the decoder is given."""
        return tuple(min(stride, self.dilated or stride) for stride in self.strides)


def _halved(width: int) -> tuple[int, ...]:
    """Channels of five steps, each half of the one before, but no fewer than 16 by halving."""
    return tuple(max(width >> step, min(width, 16)) for step in range(len(_STRIDES)))


#: By the package's names; the widths are its own.
_PLANS: Mapping[SegmentationDecoder, DecoderPlan] = {
    "unet": DecoderPlan(_STRIDES, 256, lambda width: {"decoder_channels": _halved(width)}),
    "unetplusplus": DecoderPlan(_STRIDES, 256, lambda width: {"decoder_channels": _halved(width)}),
    "manet": DecoderPlan(
        _STRIDES,
        256,
        lambda width: {"decoder_channels": _halved(width), "decoder_pab_channels": width // 4},
    ),
    "linknet": DecoderPlan(_STRIDES, 32, None),
    "fpn": DecoderPlan(
        _STRIDES[1:],
        256,
        lambda width: {
            "decoder_pyramid_channels": width,
            "decoder_segmentation_channels": max(1, width // 2 // _GROUPS) * _GROUPS,
            "decoder_dropout": 0.0,
        },
    ),
    "pspnet": DecoderPlan((8,), 512, lambda width: {"psp_out_channels": width, "psp_dropout": 0.0}),
    "deeplabv3": DecoderPlan(
        (32,),
        256,
        lambda width: {"decoder_channels": width, "decoder_aspp_dropout": 0.0},
        dilated=8,
    ),
    "deeplabv3plus": DecoderPlan(
        (4, 32),
        256,
        lambda width: {"decoder_channels": width, "decoder_aspp_dropout": 0.0},
        dilated=16,
    ),
    # It halves its coarsest map three times.
    "pan": DecoderPlan(
        _STRIDES[1:], 32, lambda width: {"decoder_channels": width}, dilated=16, least=8
    ),
    "upernet": DecoderPlan(_STRIDES[1:], 256, lambda width: {"decoder_channels": width}),
    # As in its paper; with finer maps, the package would read those, too.
    "segformer": DecoderPlan(
        _STRIDES[1:], 256, lambda width: {"decoder_segmentation_channels": width}
    ),
    "dpt": DecoderPlan(
        _STRIDES[1:],
        256,
        lambda width: {
            "fusion_channels": width,
            "intermediate_channels": (width, 2 * width, 4 * width, 4 * width),
        },
    ),
}


def decoder_plan(kind: SegmentationDecoder) -> DecoderPlan:
    """Return what a decoder reads."""
    return _PLANS[kind]


class BorrowedDecoder(nn.Module):
    """A decoder of segmentation-models-pytorch; its own dropout is switched off.

    Attributes:
        strides: Of the maps that it is given, in pixels.
        out_channels: Channels of the result.
        width: Channels inside the decoder.

    Args:
        kind: Architecture that it belongs to.
        channels: Channels of the encoder's maps, one for each of the plan's strides.
        strides: Their strides in pixels.
        in_channels: Channels of the images.
        width: Channels inside the decoder, where they can be chosen; None: the package's own.

    Raises:
        ConfigError: If the decoder has one width, and another is asked for.
        MissingExtraError: If the package is not installed.
    """

    def __init__(
        self,
        kind: SegmentationDecoder,
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        in_channels: int,
        width: int | None,
    ) -> None:
        super().__init__()
        self.plan = decoder_plan(kind)
        self.width = self.plan.width if width is None else width
        if self.plan.options is None and self.width != self.plan.width:
            raise ConfigError(
                f"decoder {kind!r} has one width, got decoder_width={width}; remove it, or choose "
                "another decoder"
            )
        options = {} if self.plan.options is None else dict(self.plan.options(self.width))
        self.strides = self.plan.map_strides
        self._is_dpt = kind == "dpt"
        if self._is_dpt:
            # It brings maps of one stride to those that it wants by learnt steps of 2.
            if all(stride in _STRIDES for stride in strides):
                self.strides = tuple(strides)
            self.decoder, self.out_channels = _dense_transformer(channels, self.strides, options)
        else:
            at = dict(zip(self.plan.strides, channels, strict=True))
            depths = [at.get(stride, 0) for stride in _STRIDES if stride <= self.plan.strides[-1]]
            self.decoder, self.out_channels = _taken_out(kind, [in_channels, *depths], options)
        _accept_single_values(self.decoder)

    def forward(self, images: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Decode.

        Args:
            images: (B, in_channels, H, W); only their size plays a part.
            maps: (B, channels, H / stride, W / stride), one for each of ``strides``.

        Returns:
            (B, out_channels, h, w), at the resolution at which the decoder ends.
        """
        if self._is_dpt:
            decoded: Tensor = self.decoder(list(maps), [None] * len(maps))
            return decoded
        height, width = maps[0].shape[-2:]
        maps, is_extended = _extended(maps, self.plan)
        found = dict(zip(self.plan.strides, maps, strict=True))
        features = [images]
        for stride in _STRIDES:
            if stride <= self.plan.strides[-1]:
                size = (images.shape[-2] // stride, images.shape[-1] // stride)
                features.append(found.get(stride, images.new_zeros(images.shape[0], 0, *size)))
        decoded = self.decoder(features)
        return decoded[..., :height, :width] if is_extended else decoded


class _StandIn(nn.Module):
    """What the package's architectures ask of an encoder while they are built."""

    def __init__(self, *, out_channels: Sequence[int], depth: int, output_stride: int) -> None:
        super().__init__()
        self.out_channels = list(out_channels)[: depth + 1]
        self.output_stride = output_stride

    def set_in_channels(self, channels: int, *, pretrained: bool) -> None:
        """It has no first convolution to adapt."""

    def make_dilated(self, output_stride: int) -> None:
        """The real encoder has been dilated."""


def _taken_out(
    kind: SegmentationDecoder, channels: Sequence[int], options: Mapping[str, object]
) -> tuple[nn.Module, int]:
    """Build an architecture on an encoder of these channels; give its decoder and what that gives.

    Args:
        kind: The architecture.
        channels: Of the images and of each halving of them; 0 where a map is not read.
        options: The package's keyword arguments.
    """
    smp: Any = SEGMENTATION_MODELS.load()
    # The package's way to use an encoder of one's own.
    name = f"changedet-{'-'.join(map(str, channels))}"
    smp.encoders.encoders[name] = {
        "encoder": _StandIn,
        "pretrained_settings": {},
        "params": {"out_channels": list(channels)},
    }
    depth = {} if len(channels) > len(_STRIDES) else {"encoder_depth": len(channels) - 1}
    try:
        whole: Any = smp.create_model(
            kind, encoder_name=name, encoder_weights=None, classes=1, **depth, **options
        )
    finally:
        smp.encoders.encoders.pop(name, None)
    return whole.decoder, whole.segmentation_head[0].in_channels


def _dense_transformer(
    channels: Sequence[int], strides: Sequence[int], options: Mapping[str, object]
) -> tuple[nn.Module, int]:
    """Build DPT's decoder, whose architecture takes no encoder but timm's transformers.

    The class tokens of two dates have no place in a fused map, so they are ignored.
    """
    module: Any = SEGMENTATION_MODELS.load(".decoders.dpt.decoder")
    initialization: Any = SEGMENTATION_MODELS.load(".base.initialization")
    decoder = module.DPTDecoder(
        encoder_out_channels=tuple(channels),
        encoder_output_strides=tuple(strides),
        encoder_has_prefix_tokens=False,
        readout="ignore",
        **options,
    )
    initialization.initialize_decoder(decoder)
    return decoder, int(decoder.fusion_blocks[-1].project.out_channels)


def _extended(maps: Sequence[Tensor], plan: DecoderPlan) -> tuple[list[Tensor], bool]:
    """Repeat the maps' edges until the coarsest one is large enough for the decoder."""
    height, width = (max(0, plan.least - side) for side in maps[-1].shape[-2:])
    if not height and not width:
        return list(maps), False
    coarsest = plan.map_strides[-1]
    times = [coarsest // stride for stride in plan.map_strides]
    return [
        F.pad(features, (0, width * factor, 0, height * factor), mode="replicate")
        for features, factor in zip(maps, times, strict=True)
    ], True


class _BatchNorm(nn.BatchNorm2d):
    """Batch norm that leaves its statistics alone where a batch has a single value per channel.

    Decoders pool a whole image into one value. Of a batch of one pair PyTorch then refuses to take
    the variance; the running statistics are used instead.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.shape[0] * math.prod(input.shape[2:]) == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


def _accept_single_values(module: nn.Module) -> None:
    """Put :class:`_BatchNorm` in the place of every batch norm; weights and names stay."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            norm = _BatchNorm(child.num_features, eps=child.eps, momentum=child.momentum)
            norm.load_state_dict(child.state_dict())
            setattr(module, name, norm)
        else:
            _accept_single_values(child)
