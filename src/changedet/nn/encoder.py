"""Any timm backbone as an encoder: its last feature map, or a pyramid of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import timm
from torch import Tensor, nn

from changedet.choices import nearest
from changedet.errors import ConfigError

#: Finer feature maps cost most of the time and know least of what is seen.
_FINEST_STRIDE = 4


class TimmBackbone(nn.Module):
    """A timm backbone that gives some of its feature maps.

    Attributes:
        name: timm's name of the backbone.
        in_channels: Channels of the input image.
        channels: Channels of each feature map, fine to coarse.
        strides: Input pixels per feature-map pixel, along each axis, fine to coarse.
        timm_options: The keyword arguments with which timm built the backbone.

    Args:
        name: Any timm model that gives feature maps, such as ``"resnet50"``.
        in_channels: Channels of the input image.
        choices: Sets of timm options, of which the first one that the backbone understands is
            taken: families differ in what they can do.

    Raises:
        ConfigError: If timm does not know the name, or the model gives no feature maps.
    """

    def __init__(
        self, name: str, *, in_channels: int, choices: Sequence[Mapping[str, Any]]
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            hint = nearest(name, timm.list_models(), most=3, otherwise="see timm.list_models()")
            raise ConfigError(f"encoder {name!r} is not a timm model; {hint}")
        if in_channels < 1:
            raise ConfigError(f"in_channels must be at least 1, got {in_channels}")
        self.name = name
        self.in_channels = in_channels
        self.backbone, self.timm_options = _build(name, in_channels, choices)
        info: Any = self.backbone.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())
        self._gives_nhwc = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"

    @property
    def stride(self) -> int:
        """Input pixels per pixel of the coarsest feature map."""
        return self.strides[-1]

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Encode (B, in_channels, H, W) into maps (B, C, H / stride, W / stride), fine to coarse.

        Raises:
            ConfigError: If the backbone takes only images of one size, or cuts the edges off.
        """
        try:
            maps: list[Tensor] = list(self.backbone(images))
        except AssertionError as error:
            # How timm's fixed-size transformers refuse another size.
            raise ConfigError(
                f"encoder {self.name!r} cannot take images of {tuple(images.shape[-2:])} px "
                f"({error}); choose another encoder or image size"
            ) from error
        if self._gives_nhwc:
            maps = [features.permute(0, 3, 1, 2) for features in maps]
        for features, stride in zip(maps, self.strides, strict=True):
            wanted = (images.shape[-2] // stride, images.shape[-1] // stride)
            if tuple(features.shape[-2:]) != wanted:
                raise ConfigError(
                    f"encoder {self.name!r} turns images of {tuple(images.shape[-2:])} px into "
                    f"maps of {tuple(features.shape[-2:])}, expected {wanted}; choose another "
                    "encoder"
                )
        return maps


class TimmEncoder(TimmBackbone):
    """Turn images into the last feature map of a timm backbone (spec 1.1).

    Attributes:
        out_channels: Channels C of the feature map.

    Args:
        name: Any timm model that gives feature maps, such as ``"resnet50"``.
        in_channels: Channels of the input image.
        output_stride: Stride to reach by dilation; a backbone that cannot dilate keeps its own.

    Raises:
        ConfigError: If timm does not know the name, or the model gives no feature maps.
    """

    def __init__(self, name: str, *, in_channels: int = 3, output_stride: int = 8) -> None:
        last = {"out_indices": (-1,)}
        super().__init__(
            name,
            in_channels=in_channels,
            # Dilation for convolutional networks, any image size for transformers.
            choices=(
                {**last, "output_stride": output_stride},
                {**last, "dynamic_img_size": True},
                last,
            ),
        )
        self.out_channels = self.channels[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Encode (B, in_channels, H, W) into (B, out_channels, H / stride, W / stride).

        Raises:
            ConfigError: If the backbone takes only images of one size, or cuts the edges off.
        """
        return self.feature_maps(images)[-1]


class PyramidEncoder(TimmBackbone):
    """Turn images into a timm backbone's feature maps of stride 4 and more (spec 1.6).

    Args:
        name: Any timm model that gives feature maps; one that has a single level gives that.
        in_channels: Channels of the input image.
        drop_path: Stochastic depth in training: the share of images that skip the last block;
            earlier blocks are skipped less (Huang et al., ECCV 2016).

    Raises:
        ConfigError: If timm does not know the name, or the model gives no feature maps or has no
            stochastic depth.
    """

    def __init__(self, name: str, *, in_channels: int = 3, drop_path: float = 0.0) -> None:
        depth = {"drop_path_rate": drop_path} if drop_path > 0.0 else {}
        choices = ({**depth, "dynamic_img_size": True}, depth)
        try:
            super().__init__(name, in_channels=in_channels, choices=choices)
        except ConfigError as error:
            if "drop_path_rate" not in str(error):
                raise
            raise ConfigError(
                f"encoder {name!r} has no stochastic depth; set model.drop_path=0, or choose "
                "another timm backbone"
            ) from error
        self._first = next(
            (i for i, stride in enumerate(self.strides) if stride >= _FINEST_STRIDE),
            len(self.strides) - 1,
        )
        self.channels = self.channels[self._first :]
        self.level_strides = self.strides[self._first :]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode (B, in_channels, H, W) into maps (B, C, H / stride, W / stride), fine to coarse.

        Raises:
            ConfigError: If the backbone takes only images of one size, or cuts the edges off.
        """
        return self.feature_maps(images)[self._first :]


def _build(
    name: str, in_channels: int, choices: Sequence[Mapping[str, Any]]
) -> tuple[nn.Module, dict[str, Any]]:
    """Build a backbone with the first set of options that it understands."""
    reason: Exception | None = None
    for extra in choices:
        options = {"features_only": True, "in_chans": in_channels, **extra}
        try:
            return timm.create_model(name, pretrained=False, **options), options
        except (TypeError, AssertionError, NotImplementedError, RuntimeError) as error:
            # timm refuses what a family has not by any of these.
            reason = error
    raise ConfigError(
        f"encoder {name!r} gives no feature maps ({reason}); choose another timm backbone"
    ) from reason
