"""Files that people write, checked by pydantic; all faults in one line, typos with a hint."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import ErrorDetails, PydanticCustomError, core_schema

from changedet.choices import nearest

# What stands behind the colon of a field: a class, a union, a list of something.
_Annotation: TypeAlias = Any
# Faults of pydantic's own; the message of any other says all of it.
_BUILT_IN = frozenset(get_args(core_schema.ErrorType))
# Of a faulty value, so that a message stays readable.
_SHOWN_CHARACTERS = 160


class Section(BaseModel):
    """Base of what a person writes in YAML: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def must(text: str, *, remedy: str = "") -> WrapValidator:
    """Word every fault of a value, or inside of it, as "NAME must TEXT, got VALUE; REMEDY".

    Args:
        text: What the value must do or be, such as "be a path or URL".
        remedy: What to write instead, where that is not obvious.
    """

    def check(value: object, validate: ValidatorFunctionWrapHandler) -> object:
        try:
            return validate(value)
        except ValidationError as error:
            said = {"text": text, "remedy": remedy}
            raise PydanticCustomError("must", "must {text}", said) from error

    return WrapValidator(check)


def describe(
    error: ValidationError,
    model: type[BaseModel],
    *,
    explain: Callable[[ErrorDetails], str | None] | None = None,
) -> str:
    """Say in one line what is wrong in a file: the place of each fault, and what to write.

    Args:
        error: What validation by ``model`` raised.
        model: Of the whole file.
        explain: Asked first about each fault; None from it leaves the wording to this function.
    """
    return "; ".join(
        (explain and explain(fault)) or _describe(fault, model) for fault in error.errors()
    )


def _describe(fault: ErrorDetails, model: type[BaseModel]) -> str:
    kind, loc = fault["type"], fault["loc"]
    is_key = kind in {"invalid_key", "extra_forbidden"} or loc[-1:] == ("[key]",)
    # pydantic marks a key of a mapping by one step more.
    loc = loc[:-1] if loc[-1:] == ("[key]",) else loc
    found, section = _locate(model, loc), _locate(model, loc[:-1])
    if is_key and section.keys:
        hint = nearest(str(loc[-1]), section.keys)
        return f"{section.prefix}unknown key {loc[-1]!r}; {hint}"
    if kind == "missing":
        return f"{found.prefix}is missing; add it"
    if kind == "value_error":
        return f"{found.prefix}{fault['ctx']['error']}"
    shown = repr(fault["input"])
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[:_SHOWN_CHARACTERS]}…"
    if kind == "must":
        remedy = fault["ctx"]["remedy"]
        return f"{found.name} {fault['msg']}, got {shown}" + (f"; {remedy}" if remedy else "")
    if is_key or kind not in _BUILT_IN:
        return f"{found.prefix}{fault['msg']}"
    if kind in {"model_type", "dict_type"} and found.keys:
        return f"{found.prefix}must contain keys ({', '.join(found.keys)}), got {shown}"
    return f"{found.prefix}{fault['msg']}, got {shown}"


class _Place(NamedTuple):
    """A place in a file, ``name`` as a person would write it, and the keys that it may hold."""

    name: str
    keys: Sequence[str]

    @property
    def prefix(self) -> str:
        return f"{self.name}: " if self.name else ""


def _locate(model: type[BaseModel], loc: Iterable[int | str]) -> _Place:
    """Follow pydantic's path of a fault, which names members of unions as well as keys."""
    name = ""
    here: _Annotation = model
    for part in loc:
        options = _options(here)
        member = next((option for option in options if _is_named(option, part)), None)
        if len(options) > 1 and member is not None:
            here = member
            continue
        here = next((inner for option in options if (inner := _inside(option, part))), None)
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    keys = [key for option in _options(here) for key in _keys(option)]
    return _Place(name, list(dict.fromkeys(keys)))


def _options(annotation: _Annotation) -> list[_Annotation]:
    """Types that a value may have, None left out."""
    origin: _Annotation = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return [option for member in get_args(annotation) for option in _options(member)]
    return [] if annotation is None or annotation is type(None) else [annotation]


def _is_model(annotation: _Annotation) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_named(option: _Annotation, part: int | str) -> bool:
    """Whether a path calls a member of a union ``part``: by its tag or its class."""
    if not _is_model(option):
        return False
    tags = [
        field.annotation
        for field in option.model_fields.values()
        if get_origin(field.annotation) is Literal
    ]
    return part == option.__name__ or any(part in get_args(tag) for tag in tags)


def _inside(option: _Annotation, part: int | str) -> _Annotation:
    """Type of what an annotation holds under a key or an index, None if that is not known."""
    if _is_model(option):
        for name, field in option.model_fields.items():
            if part in {name, field.alias}:
                return field.annotation
        return None
    inner = get_args(option)
    container: _Annotation = get_origin(option)
    if not inner:
        return None
    is_mapping = isinstance(container, type) and issubclass(container, Mapping)
    return inner[-1] if is_mapping else inner[0]


def _keys(option: _Annotation) -> Sequence[str]:
    if _is_model(option):
        return [field.alias or name for name, field in option.model_fields.items()]
    inner = get_args(option)
    return get_args(inner[0]) if inner and get_origin(inner[0]) is Literal else ()
