"""Any timm backbone as an encoder that gives its last feature map."""

import difflib
from typing import Any

import timm
from torch import Tensor, nn

from changedet.errors import ConfigError


class TimmEncoder(nn.Module):
    """Turn images into the last feature map of a timm backbone (spec 1.1).

    Attributes:
        name: timm's name of the backbone.
        in_channels: Channels of the input image.
        out_channels: Channels C of the feature map.
        stride: Input pixels per feature-map pixel, along each axis.
        timm_options: The keyword arguments with which timm built the backbone.

    Args:
        name: Any timm model that gives feature maps, such as ``"resnet50"``.
        in_channels: Channels of the input image.
        output_stride: Stride to reach by dilation; a backbone that cannot dilate keeps its own.

    Raises:
        ConfigError: If timm does not know the name, or the model gives no feature maps.
    """

    def __init__(self, name: str, *, in_channels: int = 3, output_stride: int = 8) -> None:
        super().__init__()
        _check_name(name)
        if in_channels < 1:
            raise ConfigError(f"in_channels must be at least 1, got {in_channels}")
        self.name = name
        self.in_channels = in_channels
        self.backbone, self.timm_options = _build(name, in_channels, output_stride)
        info: Any = self.backbone.feature_info
        self.out_channels: int = info.channels()[-1]
        self.stride: int = info.reduction()[-1]
        self._gives_nhwc = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"

    def forward(self, images: Tensor) -> Tensor:
        """Encode (B, in_channels, H, W) into (B, out_channels, H / stride, W / stride).

        Raises:
            ConfigError: If the backbone takes only images of one size, or cuts the edges off.
        """
        try:
            features: Tensor = self.backbone(images)[-1]
        except AssertionError as error:
            # How timm's fixed-size transformers refuse another size.
            raise ConfigError(
                f"encoder {self.name!r} cannot take images of {tuple(images.shape[-2:])} px "
                f"({error}); choose another encoder or image size"
            ) from error
        if self._gives_nhwc:
            features = features.permute(0, 3, 1, 2)
        wanted = (images.shape[-2] // self.stride, images.shape[-1] // self.stride)
        if tuple(features.shape[-2:]) != wanted:
            raise ConfigError(
                f"encoder {self.name!r} turns images of {tuple(images.shape[-2:])} px into maps of "
                f"{tuple(features.shape[-2:])}, expected {wanted}; choose another encoder"
            )
        return features


def _build(name: str, in_channels: int, output_stride: int) -> tuple[nn.Module, dict[str, Any]]:
    """Build a backbone with the first of three sets of options that it understands."""
    shared = {"features_only": True, "out_indices": (-1,), "in_chans": in_channels}
    # Dilation for convolutional nets, any image size for transformers, else as it is.
    special: tuple[dict[str, Any], ...] = (
        {"output_stride": output_stride},
        {"dynamic_img_size": True},
        {},
    )
    reason: Exception | None = None
    for extra in special:
        options = {**shared, **extra}
        try:
            return timm.create_model(name, pretrained=False, **options), options
        except (TypeError, AssertionError, NotImplementedError, RuntimeError) as error:
            # timm refuses what a family has not by any of these.
            reason = error
    raise ConfigError(
        f"encoder {name!r} gives no feature maps ({reason}); choose another timm backbone"
    ) from reason


def _check_name(name: str) -> None:
    if timm.is_model(name):
        return
    near = difflib.get_close_matches(name, timm.list_models(), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see timm.list_models()"
    raise ConfigError(f"encoder {name!r} is not a timm model; {hint}")
