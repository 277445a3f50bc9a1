"""TinyCD: the first stages of an encoder, mixed date by date and decoded by attention masks.

Codegoni, Lombardi and Ferrari, TinyCD: a (not so) deep learning model for change detection, Neural
Computing and Applications 2023 (arXiv:2207.13159). Own code after the paper.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changedet.errors import ConfigError
from changedet.kinds import ANY
from changedet.models.base import EncoderModel, Levels
from changedet.models.option_checks import check_options
from changedet.models.option_types import Channels, DropShare, Kinds, Width
from changedet.nn.classifier import classified, expect_little_change
from changedet.nn.encoder import LevelEncoder
from changedet.types import Branch, BranchOutput

#: Strides of the stages that are used, in pixels: low-level features suffice (section 3.1).
_STRIDES = (2, 4, 8)
#: Channels inside the mask of the images themselves.
_IMAGE_MASK = (10, 5, 1)


class TinyCD(EncoderModel):
    """Mix the feature maps of both dates channel by channel, then refine them by attention masks.

    Both dates go through the first stages of one encoder (strides 2, 4 and 8), and the images
    themselves are a level, too. The coarsest level is mixed into one map of both dates; every finer
    one becomes a mask of one channel, with which the map is multiplied after each doubling of its
    size. A perceptron classifies each pixel.

    Its instance normalisation takes means over the whole tile, so results depend on the tile.

    Args:
        encoder: Any timm backbone; stages coarser than stride 8 are cut off, and one that has none
            as fine as that is used at its finest.
        in_channels: Channels of the images.
        decoder_width: Channels of the map while it is enlarged; half of them are classified.
        dropout: Share of channels dropped before the classifier in training; the paper has none.
        kinds: Kinds of change that are told apart, each by an output of its own of the last
            convolution.

    Raises:
        ConfigError: If an option has a value that does not exist.
    """

    architecture: ClassVar[str] = "tinycd"
    per_kind: ClassVar[tuple[str, ...]] = ("classify.4.weight", "classify.4.bias")
    least_strides: ClassVar[int] = 2
    encoder: LevelEncoder

    def __init__(
        self,
        *,
        encoder: str = "efficientnet_b4",
        in_channels: Channels = 3,
        decoder_width: Width = 64,
        dropout: DropShare = 0.0,
        kinds: Kinds = (ANY,),
    ) -> None:
        options = {
            "encoder": encoder,
            "in_channels": in_channels,
            "decoder_width": decoder_width,
            "dropout": dropout,
            "kinds": list(kinds),
        }
        check_options(options, least_width=8)
        super().__init__(
            LevelEncoder(encoder, in_channels=in_channels, wanted=_STRIDES), options=options
        )
        *fine, last = self.encoder.channels
        self.image_mask = _MixingMask(in_channels, _IMAGE_MASK)
        self.masks = nn.ModuleList(
            _MixingMask(channels, (channels // 2, channels // 4, 1)) for channels in fine
        )
        self.mix = _Mixing(last)
        half = decoder_width // 2
        # A step for each mask, and the last one gives what is classified.
        widths = (last, *(decoder_width for _ in fine), half)
        self.up = nn.ModuleList(_Up(first, second) for first, second in pairwise(widths))
        self.dropout = nn.Dropout2d(dropout)
        self.classify = _perceptron((half, half // 2, half // 4, len(kinds)), ends_linear=True)
        expect_little_change(self.classify[-1])

    def compare(
        self, before: Tensor, after: Tensor, *, branches: Sequence[Branch], levels: Levels
    ) -> Mapping[str, BranchOutput]:
        """Encode both dates as one batch, mix them level by level and classify each pixel."""
        if max(before.shape[-2:]) < self.least_crop_px:
            raise ConfigError(
                f"tinycd needs images of at least {self.least_crop_px} pixels along one side, got "
                f"{before.shape[-2]} x {before.shape[-1]}; pad the images"
            )
        both = self.encoder(
            torch.cat([before, after]).contiguous(memory_format=torch.channels_last)
        )
        *fine, last = [maps.chunk(2) for maps in both]
        masks = [
            self.image_mask(before, after),
            *(mask(*maps) for mask, maps in zip(self.masks, fine, strict=True)),
        ]
        mixed = self.mix(*last)
        for up, mask in zip(self.up, reversed(masks), strict=True):
            mixed = up(mixed, mask)
        logits = self.classify(self.dropout(mixed))
        return {"fused": classified(logits, levels=levels)}


class _Mixing(nn.Module):
    """Mix two maps (B, C, h, w) into one: a 3x3 convolution for each pair of like channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, channels, kernel_size=3, padding=1, groups=channels),
            nn.PReLU(),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Mix; the channels of the two dates take turns, so that a group holds one of each."""
        mixed: Tensor = self.mix(torch.stack([before, after], dim=2).flatten(1, 2))
        return mixed


class _MixingMask(nn.Module):
    """Make one map (B, 1, h, w) to multiply with, of two maps (B, C, h, w)."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.mixing = _Mixing(channels)
        # Encoders may be so narrow that a quarter of the channels is none.
        self.perceptron = _perceptron((channels, *(max(1, width) for width in widths)))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        mask: Tensor = self.perceptron(self.mixing(before, after))
        return mask


class _Up(nn.Module):
    """Enlarge a map (B, C, h, w) to a mask's size, multiply, convolve: (B, D, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.refine = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, kernel_size=3, padding=1, groups=in_channels),
            nn.PReLU(),
            nn.InstanceNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, kernel_size=1),
            nn.PReLU(),
            nn.InstanceNorm2d(out_channels),
        )

    def forward(self, maps: Tensor, mask: Tensor) -> Tensor:
        large = F.interpolate(maps, size=mask.shape[-2:], mode="bilinear", align_corners=False)
        refined: Tensor = self.refine(large * mask)
        return refined


def _perceptron(widths: Sequence[int], *, ends_linear: bool = False) -> nn.Sequential:
    """Layers that see one pixel each, with an activation behind every one, or all but the last."""
    layers: list[nn.Module] = []
    for first, second in pairwise(widths):
        layers += [nn.Conv2d(first, second, kernel_size=1), nn.PReLU()]
    return nn.Sequential(*(layers[:-1] if ends_linear else layers))
