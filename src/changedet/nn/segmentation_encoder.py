"""Encoders for borrowed decoders: timm's, or those of segmentation-models-pytorch (extra smp)."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from changedet._optional import SEGMENTATION_MODELS
from changedet.choices import nearest
from changedet.errors import ConfigError
from changedet.nn.encoder import Backbone, LevelEncoder, is_timm_name, nearest_levels

#: How segmentation-models-pytorch writes the names of timm's networks.
_TIMM_PREFIX = "tu-"
_COARSEST = 32


class PackageEncoder(Backbone):
    """An encoder that segmentation-models-pytorch has and timm has not, such as ``mit_b0``.

    Attributes:
        backbone: The package's encoder.
        picks: For each wanted stride the position of its feature map among those given.

    Args:
        name: The package's name of the encoder.
        in_channels: Channels of the images.
        wanted: Strides in pixels, fine to coarse, before dilation.
        output_stride: Coarsest stride to reach by dilation; an encoder that cannot dilate keeps its
            own. None does not dilate.

    Raises:
        ConfigError: If the package does not know the name, or the encoder does not take such
            images.
        MissingExtraError: If the package is not installed.
    """

    def __init__(
        self, name: str, *, in_channels: int, wanted: Sequence[int], output_stride: int | None
    ) -> None:
        super().__init__()
        known = package_encoders()
        if name not in known:
            hint = nearest(name, known, most=3, otherwise="see timm.list_models()")
            raise ConfigError(
                f"encoder {name!r} is neither a timm model nor one of "
                f"segmentation-models-pytorch; {hint}"
            )
        self.name = name
        self.in_channels = in_channels
        self.depth = round(math.log2(wanted[-1]))
        self.output_stride = output_stride or _COARSEST
        self.backbone: Any = self.build(weights=None)
        # Some have no map of stride 2, and give one without channels.
        self._given = [index for index, count in enumerate(self.backbone.out_channels) if count]
        del self._given[0]  # the image itself
        plain = [2**index for index in self._given]
        self._taken = sorted(set(nearest_levels(plain, wanted)))
        self.picks = tuple(self._taken.index(index) for index in nearest_levels(plain, wanted))
        self.channels = tuple(self.backbone.out_channels[self._given[i]] for i in self._taken)
        self.strides = tuple(min(plain[index], self.output_stride) for index in self._taken)

    def build(self, *, weights: str | None) -> Any:  # noqa: ANN401  # a class of the package
        """Build the package's encoder, with random weights or some that the package downloads.

        An encoder that cannot dilate is one of its own stride from then on.

        Raises:
            ConfigError: If it does not take such images.
        """
        smp: Any = SEGMENTATION_MODELS.load()
        place = torch.get_default_device()
        with warnings.catch_warnings(), torch.device("cpu"):
            # Names that the package is to drop still work in model files.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                built = smp.encoders.get_encoder(
                    self.name,
                    in_channels=self.in_channels,
                    depth=self.depth,
                    weights=weights,
                    output_stride=self.output_stride,
                )
            except (ValueError, NotImplementedError, KeyError, TypeError, RuntimeError) as error:
                if self.output_stride == _COARSEST:
                    raise ConfigError(
                        f"encoder {self.name!r} cannot be built for images of {self.in_channels} "
                        f"channels ({error}); choose another encoder"
                    ) from error
                self.output_stride = _COARSEST
                return self.build(weights=weights)
        # Some of them compute with numbers while they are built, which "meta" has not.
        return built.to(place)

    def offers(self) -> dict[str, str]:
        """Give the weights that can be downloaded: the hub's repository and revision, by name."""
        smp: Any = SEGMENTATION_MODELS.load()
        settings = smp.encoders.encoders[self.name]["pretrained_settings"]
        return {name: f"{row['repo_id']}@{row['revision']}" for name, row in settings.items()}

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode (B, in_channels, H, W) into maps (B, C, h, w), fine to coarse."""
        maps = self.backbone(images)
        return [maps[self._given[index]] for index in self._taken]


def segmentation_encoder(
    name: str,
    *,
    in_channels: int,
    wanted: Sequence[int],
    output_stride: int | None,
    drop_path: float,
) -> LevelEncoder | PackageEncoder:
    """Build the encoder of a name, see :class:`LevelEncoder` and :class:`PackageEncoder`.

    What timm has is taken from timm, so that it is the same network, with the same weights, as
    elsewhere.

    Args:
        name: A timm name, also with ``tu-`` before it, or a name of segmentation-models-pytorch.
        in_channels: Channels of the images.
        wanted: Strides in pixels, fine to coarse, before dilation.
        output_stride: Coarsest stride to reach by dilation; None does not dilate.
        drop_path: Stochastic depth in training, which the package's own encoders do not have.

    Raises:
        ConfigError: If there is no such encoder, or it has no stochastic depth.
        MissingExtraError: If the package is not installed.
    """
    plain = timm_name(name)
    if is_timm_name(plain):
        return LevelEncoder(
            plain,
            in_channels=in_channels,
            wanted=wanted,
            output_stride=output_stride,
            drop_path=drop_path,
        )
    if drop_path > 0.0:
        raise ConfigError(
            f"encoder {name!r} has no stochastic depth; set model.drop_path=0, or choose a timm "
            "backbone"
        )
    return PackageEncoder(name, in_channels=in_channels, wanted=wanted, output_stride=output_stride)


def timm_name(name: str) -> str:
    """Give a name as timm writes it."""
    return name.removeprefix(_TIMM_PREFIX)


def package_encoders() -> list[str]:
    """Names of the encoders that segmentation-models-pytorch brings along.

    Raises:
        MissingExtraError: If it is not installed.
    """
    smp: Any = SEGMENTATION_MODELS.load()
    return list(smp.encoders.get_encoder_names())
