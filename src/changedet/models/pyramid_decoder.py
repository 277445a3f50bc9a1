"""Decoders of segmentation networks: many levels in, one map at the finest level out (spec 1.6)."""

from collections.abc import Sequence
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changedet.choices import check_choice
from changedet.nn.blocks import ConvNormAct, PointNormAct
from changedet.types import Decoder


class FeaturePyramid(nn.Module):
    """Add the levels from coarse to fine, then combine all of them at the finest one.

    Lin et al., Feature pyramid networks for object detection, CVPR 2017; joined by concatenation
    as in Xiao et al., Unified perceptual parsing, ECCV 2018, without its pooling.

    Args:
        width: Channels of every level and of the result.
        levels: Number of levels.
    """

    def __init__(self, *, width: int, levels: int) -> None:
        super().__init__()
        self.smooth = nn.ModuleList(ConvNormAct(width, width) for _ in range(levels))
        self.join = PointNormAct(levels * width, width)
        self.refine = ConvNormAct(width, width)

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Decode.

        Args:
            levels: (B, width, h, w), fine to coarse.

        Returns:
            Every level, coarse to fine, and the result of the size of the finest.
        """
        merged = [levels[-1]]
        for level in reversed(levels[:-1]):
            merged.append(level + _enlarge(merged[-1], level, mode="nearest"))
        merged.reverse()
        smooth = [block(level) for block, level in zip(self.smooth, merged, strict=True)]
        spread = [smooth[0], *(_enlarge(level, smooth[0]) for level in smooth[1:])]
        return smooth[::-1], self.refine(self.join(torch.cat(spread, dim=1)))


class UNetDecoder(nn.Module):
    """Refine from coarse to fine, joining each level with the coarser one above it.

    Ronneberger et al., U-Net, MICCAI 2015, with bilinear enlargement and one width.

    Args:
        width: Channels of every level and of the result.
        levels: Number of levels.
    """

    def __init__(self, *, width: int, levels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(ConvNormAct(2 * width, width), ConvNormAct(width, width))
            for _ in range(levels - 1)
        )

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Decode, as :meth:`FeaturePyramid.forward`."""
        decoded = [levels[-1]]
        for block, level in zip(self.blocks, reversed(levels[:-1]), strict=True):
            above = _enlarge(decoded[-1], level)
            decoded.append(block(torch.cat([level, above], dim=1)))
        return decoded, decoded[-1]


def build_pyramid_decoder(
    kind: Decoder, *, width: int, levels: int
) -> FeaturePyramid | UNetDecoder:
    """Build a decoder by name.

    Args:
        kind: Its name.
        width: Channels of every level and of the result.
        levels: Number of levels.

    Raises:
        ConfigError: If there is none of that name.
    """
    check_choice("decoder", kind, get_args(Decoder))
    decoder = FeaturePyramid if kind == "fpn" else UNetDecoder
    return decoder(width=width, levels=levels)


def _enlarge(maps: Tensor, like: Tensor, *, mode: str = "bilinear") -> Tensor:
    """Bring maps to the size of others; encoders may have several levels of one size."""
    if maps.shape[-2:] == like.shape[-2:]:
        return maps
    corners = None if mode == "nearest" else False
    return F.interpolate(maps, size=like.shape[-2:], mode=mode, align_corners=corners)
