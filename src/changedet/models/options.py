"""The options of every network that can be trained, and what follows from them; no PyTorch.

Settings are read, checked and written from here, so that a misspelt one is told before PyTorch is
loaded. The networks' classes take the same options as keyword arguments.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, NamedTuple

from changedet._optional import SEGMENTATION_MODELS, TORCH, Requirement, check_all
from changedet.choices import nearest
from changedet.errors import ConfigError
from changedet.kinds import ANY
from changedet.models.option_types import (
    Channels,
    DropShare,
    Kinds,
    LayerCount,
    TokenCount,
    Width,
)
from changedet.types import (
    Activation,
    Attention,
    Branch,
    Decoder,
    Distance,
    Fusion,
    Head,
    Output,
    SegmentationDecoder,
    Upsampling,
)

#: Architecture of a model file that holds several networks.
ENSEMBLE: Final = "ensemble"
ALL_BRANCHES: tuple[Branch, ...] = ("position", "channel", "fused")
FUSED_ONLY: tuple[Branch, ...] = ("fused",)


class ModelTraits(NamedTuple):
    """What follows from a network's options and must be known before it is built.

    Attributes:
        branch_names: The branches it computes.
        fixed_tile: Whether its results depend on the size of the tile, as with attention, whose
            sums grow with it (spec 1.2), and with means over the whole tile; it is then used at the
            size it was trained on.
    """

    branch_names: tuple[Branch, ...]
    fixed_tile: bool


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(ABC):
    """Options of a network: each field is a keyword argument of its class, with its default.

    Attributes:
        needs: Optional package without which it cannot be built; None needs none.
    """

    needs: ClassVar[Requirement | None] = None

    @staticmethod
    @abstractmethod
    def traits_of(options: Mapping[str, Any]) -> ModelTraits:
        """Say what networks of these options are like, without building one.

        Args:
            options: All options of the network.
        """


@dataclass(frozen=True, kw_only=True)
class DASNetOptions(NetworkOptions):
    """Options of :class:`changedet.models.dasnet.DASNet`."""

    distance: Distance = "l2"
    attention: Attention = "dual"
    head: Head = "dual"
    head_width: Width | None = None
    encoder: str = "resnet50"
    in_channels: Channels = 3
    dropout: DropShare = 0.1

    @staticmethod
    def traits_of(options: Mapping[str, Any]) -> ModelTraits:
        """A plain head has one branch and no attention; attention's sums grow with the tile."""
        if options["head"] == "plain":
            return ModelTraits(branch_names=FUSED_ONLY, fixed_tile=False)
        return ModelTraits(branch_names=ALL_BRANCHES, fixed_tile=options["attention"] != "none")


@dataclass(frozen=True, kw_only=True)
class DASNetV2Options(DASNetOptions):
    """Options of :class:`changedet.models.dasnet_v2.DASNetV2`."""

    activation: Activation = "leaky_relu"
    upsampling: Upsampling = "transposed"


@dataclass(frozen=True, kw_only=True)
class SiamesePyramidOptions(NetworkOptions):
    """Options of :class:`changedet.models.siamese_pyramid.SiamesePyramid`."""

    encoder: str = "resnet50"
    in_channels: Channels = 3
    fusion: Fusion = "difference"
    decoder: Decoder = "fpn"
    decoder_width: Width = 128
    output: Output = "logit"
    distance: Distance = "l2"
    dropout: DropShare = 0.1
    drop_path: DropShare = 0.0
    kinds: Kinds = (ANY,)

    @staticmethod
    def traits_of(options: Mapping[str, Any]) -> ModelTraits:
        """One branch, and no attention over a whole tile, whatever the options."""
        return ModelTraits(branch_names=FUSED_ONLY, fixed_tile=False)


#: Decoders that see each pixel's surroundings alone. The others pool, attend or normalise over the
#: whole tile: attention in MAnet, pyramids of pooled maps in PSPNet and UPerNet, pooled maps in
#: DeepLab and PAN, group normalisation in the FPN.
LOCAL_DECODERS: Final[frozenset[SegmentationDecoder]] = frozenset(
    {"unet", "unetplusplus", "linknet", "segformer", "dpt"}
)


@dataclass(frozen=True, kw_only=True)
class SiameseSegmentationOptions(NetworkOptions):
    """Options of :class:`changedet.models.siamese_segmentation.SiameseSegmentation`."""

    needs: ClassVar[Requirement | None] = SEGMENTATION_MODELS

    encoder: str = "resnet34"
    in_channels: Channels = 3
    fusion: Fusion = "difference"
    decoder: SegmentationDecoder = "unet"
    decoder_width: Width | None = None
    output: Output = "logit"
    distance: Distance = "l2"
    dropout: DropShare = 0.1
    drop_path: DropShare = 0.0
    kinds: Kinds = (ANY,)

    @staticmethod
    def traits_of(options: Mapping[str, Any]) -> ModelTraits:
        """One branch; some decoders pool over the whole tile."""
        return ModelTraits(
            branch_names=FUSED_ONLY, fixed_tile=options["decoder"] not in LOCAL_DECODERS
        )


@dataclass(frozen=True, kw_only=True)
class TinyCDOptions(NetworkOptions):
    """Options of :class:`changedet.models.tinycd.TinyCD`."""

    encoder: str = "efficientnet_b4"
    in_channels: Channels = 3
    decoder_width: Width = 64
    dropout: DropShare = 0.0
    kinds: Kinds = (ANY,)

    @staticmethod
    def traits_of(options: Mapping[str, Any]) -> ModelTraits:
        """One branch; instance normalisation takes means over the whole tile."""
        return ModelTraits(branch_names=FUSED_ONLY, fixed_tile=True)


@dataclass(frozen=True, kw_only=True)
class BITOptions(NetworkOptions):
    """Options of :class:`changedet.models.bit.BIT`."""

    encoder: str = "resnet18"
    in_channels: Channels = 3
    decoder_width: Width = 32
    tokens: TokenCount = 4
    decoder_layers: LayerCount = 8
    dropout: DropShare = 0.0
    kinds: Kinds = (ANY,)

    @staticmethod
    def traits_of(options: Mapping[str, Any]) -> ModelTraits:
        """One branch; tokens are means over the whole tile."""
        return ModelTraits(branch_names=FUSED_ONLY, fixed_tile=True)


#: Options by the network's name; :data:`changedet.models.registry.MODELS` has the classes.
OPTIONS: dict[str, type[NetworkOptions]] = {
    "bit": BITOptions,
    "dasnet": DASNetOptions,
    "dasnet_v2": DASNetV2Options,
    "siamese_pyramid": SiamesePyramidOptions,
    "siamese_segmentation": SiameseSegmentationOptions,
    "tinycd": TinyCDOptions,
}


def list_models() -> list[str]:
    """Return the names of the networks that :func:`changedet.create_model` builds."""
    return sorted(OPTIONS)


def network_options(name: str) -> type[NetworkOptions]:
    """Return the options of a network.

    Raises:
        ConfigError: If there is no network of that name.
    """
    if name not in OPTIONS:
        raise ConfigError(f"model {name!r} does not exist; {nearest(name, sorted(OPTIONS))}")
    return OPTIONS[name]


def packages_of(
    architecture: str, options: Mapping[str, Any] | None = None
) -> tuple[Requirement, ...]:
    """List the packages without which PyTorch cannot compute a network.

    Args:
        architecture: Name of the network, or ``ensemble``; one that does not exist needs PyTorch.
        options: Of an ensemble, as its card has them.
    """
    networks = networks_of(architecture, options or {})
    rows = [OPTIONS[name] for name, _ in networks if name in OPTIONS]
    return (TORCH, *dict.fromkeys(row.needs for row in rows if row.needs is not None))


def check_installed(architecture: str, options: Mapping[str, Any] | None = None) -> None:
    """Refuse a network whose packages are not installed, which are not imported.

    Args:
        architecture: See :func:`packages_of`.
        options: Likewise.

    Raises:
        MissingExtraError: Naming the extra that installs the package.
    """
    check_all(packages_of(architecture, options))


def networks_of(
    architecture: str, options: Mapping[str, Any]
) -> list[tuple[str, Mapping[str, Any]]]:
    """List the networks of a model file, those of an ensemble one by one.

    Args:
        architecture: Name of the network, or ``ensemble``.
        options: As a card has them; what is no network is left out, and no options are none.

    Returns:
        Architecture and options of each.
    """
    if architecture != ENSEMBLE:
        return [(architecture, options)]
    members = options.get("members")
    # A card is what its file says: it may say anything.
    listed = [
        (str(member.get("architecture")), member.get("options"))
        for member in (members if isinstance(members, list) else [])
        if isinstance(member, Mapping)
    ]
    return [(name, own if isinstance(own, Mapping) else {}) for name, own in listed]


def kinds_of(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the kinds of change that a single network of these options tells apart."""
    kinds = options.get("kinds", (ANY,))
    return tuple(map(str, kinds)) if isinstance(kinds, list | tuple) else (ANY,)


def option_names(options: type[NetworkOptions]) -> tuple[str, ...]:
    """Names of a network's options, in their order."""
    return tuple(field.name for field in fields(options))


def gives_probabilities(architecture: str, options: Mapping[str, Any]) -> bool:
    """Tell whether the scores of a network estimate the probability of change.

    A network that classifies each pixel gives such scores; half the distance of two embeddings is
    none.

    Args:
        architecture: Name of the network, or ``ensemble``.
        options: Its options; those that are missing have their defaults.
    """
    if architecture == ENSEMBLE:
        members = options.get("members", ())
        return all(gives_probabilities(one["architecture"], one["options"]) for one in members)
    if architecture not in OPTIONS:
        return False
    defaults = {field.name: field.default for field in fields(OPTIONS[architecture])}
    output = {**defaults, **options}.get(
        "output", "distance" if "distance" in defaults else "logit"
    )
    return bool(output == "logit")
