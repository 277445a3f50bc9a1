"""Convolution blocks that heads and decoders are made of."""

from typing import get_args

from torch import nn

from changedet.choices import check_choice
from changedet.errors import ConfigError
from changedet.types import Activation, Upsampling


class ConvNormAct(nn.Sequential):
    """3x3 convolution without bias, batch norm, ReLU; size kept: (B, C, H, W) to (B, D, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class PointNormAct(nn.Sequential):
    """1x1 convolution without bias, batch norm, ReLU: (B, C, H, W) to (B, D, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class UpBlock(nn.Sequential):
    """Double the resolution: (B, C, H, W) to (B, D, 2H, 2W) (spec 1.4), batch norm, activation.

    Args:
        in_channels: C.
        out_channels: D.
        activation: After the batch norm.
        upsampling: ``"transposed"``, a transposed convolution (kernel 4, stride 2, padding 1), as
            in the public code; or ``"resize"``, bilinear enlargement and a 3x3 convolution, which
            leaves no checkerboard (Odena et al., Deconvolution and checkerboard artifacts,
            Distill 2016).

    Raises:
        ConfigError: If there is no such activation or upsampling.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        activation: Activation,
        upsampling: Upsampling = "transposed",
    ) -> None:
        check_choice("upsampling", upsampling, get_args(Upsampling))
        enlarge: list[nn.Module] = (
            [nn.ConvTranspose2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1)]
            if upsampling == "transposed"
            else [
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
            ]
        )
        super().__init__(*enlarge, nn.BatchNorm2d(out_channels), make_activation(activation))


def make_activation(name: Activation) -> nn.Module:
    """Return the activation layer called ``name``.

    Raises:
        ConfigError: If there is none.
    """
    if name == "leaky_relu":
        return nn.LeakyReLU(0.01, inplace=True)
    if name == "relu":
        return nn.ReLU(inplace=True)
    raise ConfigError(f"activation must be one of {', '.join(get_args(Activation))}, got {name!r}")
