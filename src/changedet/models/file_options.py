"""The options of a network as they stand in a model file, checked before anything is built."""

import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin

from annotated_types import Ge, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from changedet.errors import ConfigError
from changedet.models.base import EncoderModel
from changedet.models.ensemble import Ensemble
from changedet.models.registry import model_class, model_options
from changedet.storage.validation import describe

# What stands behind the colon of a parameter: a class, a union, a choice.
_Annotation: TypeAlias = Any
# No network is wider; what one costs is known once it is compared with the tensors of the file.
_WIDEST: Final = 65_536
_MOST_MEMBERS: Final = 64
_MOST_VALUES: Final = 64


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Member(_Strict):
    architecture: Annotated[str, MaxLen(100)]
    options: dict[str, Any]


class _EnsembleOptions(_Strict):
    members: Annotated[list[_Member], Field(min_length=2, max_length=_MOST_MEMBERS)]


def check_options(architecture: str, options: Mapping[str, Any]) -> None:
    """Let options through that a network can have: its own, of their types, of a sensible size.

    Files may be narrower than what can be trained, and lack options that are younger.

    Args:
        architecture: Name of the network, or ``ensemble``.
        options: As read from JSON.

    Raises:
        ConfigError: If there is no such network, or an option is none of its own, of another type
            or out of range.
    """
    if architecture == Ensemble.architecture:
        members = _validated(_EnsembleOptions, options, name=architecture)["members"]
        for member in members:
            # A member that is an ensemble itself is no network that there is.
            check_options_of_one(member["architecture"], member["options"])
    else:
        check_options_of_one(architecture, options)


def check_options_of_one(architecture: str, options: Mapping[str, Any]) -> None:
    """Check the options of a single network, see :func:`check_options`."""
    _validated(_options_of(model_class(architecture)), options, name=architecture)


def _validated(model: type[BaseModel], options: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    try:
        return model.model_validate(dict(options)).model_dump()
    except ValidationError as error:
        raise ConfigError(f"options of {name}: {describe(error, model)}") from error


@cache
def _options_of(network: type[EncoderModel]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        name: (_bounded(parameter.annotation), _as_json(parameter.default))
        for name, parameter in model_options(network).items()
    }
    return create_model(f"{network.__name__}Options", __base__=_Strict, **fields)


def _as_json(default: object) -> object:
    return list(default) if isinstance(default, tuple) else default


def _bounded(annotation: _Annotation) -> _Annotation:
    """Give the type of an option with the bounds that hold for a file."""
    origin: _Annotation = get_origin(annotation)
    if origin is Annotated:
        return _bounded(get_args(annotation)[0])
    if origin is tuple:
        # JSON knows lists alone.
        return Annotated[list[_bounded(get_args(annotation)[0])], MinLen(1), MaxLen(_MOST_VALUES)]  # type: ignore[misc]  # built at run time
    if origin in {Union, types.UnionType}:
        return Union[tuple(_bounded(member) for member in get_args(annotation))]  # noqa: UP007
    if annotation is int:
        return Annotated[int, Ge(1), Le(_WIDEST)]
    if annotation is float:
        return Annotated[float, Ge(0.0), Lt(1.0)]
    if annotation is str:
        return Annotated[str, MaxLen(100)]
    return annotation
