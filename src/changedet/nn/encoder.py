"""Any timm backbone as an encoder: its last feature map, a pyramid of them, or chosen levels."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from changedet.choices import nearest
from changedet.errors import ConfigError
from changedet.nn.shapes import shapes_only
from changedet.nn.timm_library import load_timm

#: Finer feature maps cost most of the time and know least of what is seen.
_FINEST_STRIDE = 4


class Backbone(nn.Module):
    """A network that turns images into feature maps, fine to coarse.

    Attributes:
        name: Name of the network where it comes from.
        in_channels: Channels of the input image.
        channels: Channels of each feature map, fine to coarse.
        strides: Input pixels per feature-map pixel, along each axis, fine to coarse.
    """

    name: str
    in_channels: int
    channels: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def stride(self) -> int:
        """Input pixels per pixel of the coarsest feature map."""
        return self.strides[-1]


class TimmBackbone(Backbone):
    """A timm backbone that gives some of its feature maps.

    Attributes:
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
        _check_name(name)
        if in_channels < 1:
            raise ConfigError(f"in_channels must be at least 1, got {in_channels}")
        self.name = name
        self.in_channels = in_channels
        self.backbone, self.timm_options = _build(name, in_channels, choices)
        info: Any = self.backbone.feature_info
        self.channels = tuple(info.channels())
        self.strides = tuple(info.reduction())
        self._gives_nhwc = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"

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
        super().__init__(name, in_channels=in_channels, choices=choices)
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


class LevelEncoder(TimmBackbone):
    """Turn images into the feature maps of a timm backbone that lie nearest to wanted strides.

    A level that is nearest to several wanted strides is given once. Where a backbone has several
    levels of one stride, as plain vision transformers do, the picks are spread over them. What lies
    behind the last picked level is cut off.

    Attributes:
        picks: For each wanted stride the position of its feature map among those given.

    Args:
        name: Any timm model that gives feature maps, such as ``"resnet50"``.
        in_channels: Channels of the input image.
        wanted: Strides in input pixels, fine to coarse, before dilation.
        output_stride: Coarsest stride to reach by dilation; a backbone that cannot dilate keeps its
            own. None does not dilate.
        drop_path: As for :class:`PyramidEncoder`.

    Raises:
        ConfigError: If timm does not know the name, or the model gives no feature maps or has no
            stochastic depth.
    """

    def __init__(
        self,
        name: str,
        *,
        in_channels: int = 3,
        wanted: Sequence[int],
        output_stride: int | None = None,
        drop_path: float = 0.0,
    ) -> None:
        levels = _levels(name)
        picked = nearest_levels([level.stride for level in levels], wanted)
        indices = sorted(set(picked))
        common: dict[str, Any] = {"out_indices": tuple(indices)}
        if drop_path > 0.0:
            common["drop_path_rate"] = drop_path
        dilated = [] if output_stride is None else [{**common, "output_stride": output_stride}]
        super().__init__(
            name,
            in_channels=in_channels,
            choices=(*dilated, {**common, "dynamic_img_size": True}, common),
        )
        self.picks = tuple(indices.index(index) for index in picked)
        _cut_behind(self.backbone, levels[indices[-1]].module)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode (B, in_channels, H, W) into maps (B, C, H / stride, W / stride), fine to coarse.

        Raises:
            ConfigError: If the backbone takes only images of one size, or cuts the edges off.
        """
        return self.feature_maps(images)


def nearest_levels(strides: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Choose a level for each wanted stride.

    Args:
        strides: Of the levels that there are, fine to coarse.
        wanted: Strides, fine to coarse.

    Returns:
        Indices into ``strides``, never falling. Of several levels of one stride, as many are taken
        as strides ask for it, at equal intervals up to the last one.
    """

    def closest(stride: int) -> int:
        return min(strides, key=lambda own: abs(math.log2(own / stride)))

    asked = [closest(stride) for stride in wanted]
    chosen = []
    for position, stride in enumerate(asked):
        own = [index for index, value in enumerate(strides) if value == stride]
        rank, count = asked[: position + 1].count(stride), asked.count(stride)
        chosen.append(own[max(0, round(len(own) * rank / count) - 1)])
    return chosen


class _Level(NamedTuple):
    """A feature map that a backbone can give: its stride, and the part that it comes from."""

    stride: int
    module: str


def _levels(name: str) -> list[_Level]:
    """List all feature maps of a backbone, fine to coarse; takes no memory."""
    _check_name(name)
    with shapes_only():
        backbone, _ = _build(name, 3, ({},))
    info: Any = backbone.feature_info
    return [_Level(level["reduction"], level["module"]) for level in info.info]


def _cut_behind(backbone: nn.Module, module: str) -> None:
    """Remove the stages behind the one that a feature map comes from.

    timm does so itself for most families; EfficientNets and MobileNets compute what nobody reads.

    Args:
        backbone: From timm.
        module: Dotted name, such as ``"blocks.2"``.
    """
    stages, _, index = module.partition(".")
    found = getattr(backbone, stages, None)
    if isinstance(found, nn.Sequential) and index.isdigit():
        setattr(backbone, stages, found[: int(index) + 1])


def is_timm_name(name: str) -> bool:
    """Whether timm has a network of this name, with or without the name of its weights."""
    return bool(load_timm().is_model(name))


def _check_name(name: str) -> None:
    if not is_timm_name(name):
        hint = nearest(name, load_timm().list_models(), most=3, otherwise="see timm.list_models()")
        raise ConfigError(f"encoder {name!r} is not a timm model; {hint}")


def _build(
    name: str, in_channels: int, choices: Sequence[Mapping[str, Any]]
) -> tuple[nn.Module, dict[str, Any]]:
    """Build a backbone with the first set of options that it understands."""
    reason: Exception | None = None
    for extra in choices:
        options = {"features_only": True, "in_chans": in_channels, **extra}
        try:
            return load_timm().create_model(name, pretrained=False, **options), options
        except (TypeError, AssertionError, NotImplementedError, RuntimeError) as error:
            # timm refuses what a family has not by any of these.
            reason = error
    if "drop_path_rate" in str(reason):
        raise ConfigError(
            f"encoder {name!r} has no stochastic depth; set model.drop_path=0, or choose "
            "another timm backbone"
        ) from reason
    raise ConfigError(
        f"encoder {name!r} gives no feature maps ({reason}); choose another timm backbone"
    ) from reason
