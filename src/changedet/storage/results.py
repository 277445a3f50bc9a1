"""Result files as typed data: one base for what is written as JSON, published and read back.

Everything that a JSON file of results needs is here once: undefined figures, the version of the
layout, the JSON Schema, and one line for a file that cannot be read.
"""

import inspect
import json
import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeAlias, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    computed_field,
)
from pydantic_core import PydanticSerializationError, core_schema

from changedet.errors import ResultsError
from changedet.storage.atomic import write_text

if TYPE_CHECKING:
    import numpy as np

_ENTRY = re.compile(r"^(\w+): (.*)$")


def _or_nan(value: object) -> object:
    is_undefined = value is None or (isinstance(value, float) and not math.isfinite(value))
    return math.nan if is_undefined else value


def _or_none(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


#: A figure that may be undefined: NaN in memory, null in a file.
Figure: TypeAlias = Annotated[
    float,
    BeforeValidator(_or_nan),
    PlainSerializer(_or_none, return_type=float | None, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]}),
]
#: A number that need not be there: NaN counts as not there.
NumberOrNone: TypeAlias = Annotated[float | None, BeforeValidator(_or_none)]
#: Values that have no fields of their own, as plain JSON types; NaN becomes null.
PlainJson: TypeAlias = Annotated[dict[str, Any], BeforeValidator(lambda value: to_plain(value))]


class ByName:
    """Annotation of a named tuple whose fields stand in a file by name, not as a list."""

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401
        handler: GetCoreSchemaHandler,
    ) -> core_schema.CoreSchema:
        """Validate a mapping or a tuple of that type; write an object."""
        fields = core_schema.typed_dict_schema(
            {
                name: core_schema.typed_dict_field(handler.generate_schema(kind))
                for name, kind in get_type_hints(source).items()
            }
        )
        return core_schema.no_info_before_validator_function(
            lambda value: value._asdict() if isinstance(value, source) else value,
            core_schema.no_info_after_validator_function(lambda value: source(**value), fields),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: value._asdict(), return_schema=fields
            ),
        )


class Rows:
    """Annotation of an array, (N, columns), that stands in a file as a list of rows.

    Args:
        columns: Numbers of a row.
        dtype: Type of the array.
    """

    def __init__(self, columns: int, dtype: "type[np.generic]") -> None:
        self.columns = columns
        self.dtype = dtype

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401
        handler: GetCoreSchemaHandler,
    ) -> core_schema.CoreSchema:
        """Validate whatever numbers an array can be made of."""
        rows = core_schema.list_schema(core_schema.list_schema(core_schema.float_schema()))

        def to_array(value: object) -> "np.ndarray[Any, Any]":
            # Most who read or write results have no arrays.
            import numpy as np

            try:
                return np.array(value, dtype=self.dtype).reshape(-1, self.columns)
            except (TypeError, OverflowError) as error:
                # What pydantic takes for a fault of the value.
                raise ValueError(str(error)) from error

        return core_schema.no_info_plain_validator_function(
            to_array,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: value.tolist(), return_schema=rows
            ),
        )


def to_plain(value: object) -> Any:  # noqa: ANN401
    """Turn anything that a result file may hold into plain JSON types, as it stands in the file."""
    kind: Any = type(value) if is_dataclass(value) else Any
    return json.loads(TypeAdapter(kind).dump_json(value))


def _describe_model(schema: dict[str, Any], model: type[BaseModel]) -> None:
    docs = [inspect.getdoc(base) or "" for base in model.__mro__ if base is not object]
    _describe(schema, docs)


class Record(BaseModel):
    """A part of a result file.

    Unknown keys are skipped when a file is read: a later version may add some.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        ser_json_inf_nan="null",
        json_schema_extra=_describe_model,
        json_schema_serialization_defaults_required=True,
    )


class Results(Record):
    """A result file.

    One class for each kind, with ``kind: Literal["NAME"] = "NAME"``. ``schema_version``
    counts up when a key changes its meaning, its name or its place; new keys do not count.

    Attributes:
        kind: Tells the kinds of result files from each other.
        schema_version: Version of the layout of this kind of file.
    """

    #: Spaces of a level in the file; None: all in one line, for files of many numbers.
    INDENT: ClassVar[int | None] = 2

    kind: str
    schema_version: int = 1

    def to_json(self) -> str:
        """Return the content of the file."""
        try:
            return self.model_dump_json(indent=self.INDENT) + "\n"
        except PydanticSerializationError:
            # It holds the name of a file that is no UTF-8.
            content = _encodable(self.model_dump(mode="json"))
            return json.dumps(content, indent=self.INDENT, ensure_ascii=False) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file as plain JSON types."""
        content: dict[str, Any] = json.loads(self.to_json())
        return content

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            StorageError: If it cannot be written.
        """
        write_text(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that :meth:`write` made, in this version or an earlier one.

        Raises:
            ResultsError: If it is missing, damaged, of another kind or of a newer version.
        """
        return cls.from_content(read_content(path), path=path)

    @classmethod
    def from_content(cls, content: Mapping[str, Any], *, path: Path) -> Self:
        """Rebuild it from the content of a file; ``path`` is for messages.

        Raises:
            ResultsError: As :meth:`read`.
        """
        kind, newest = (cls.model_fields[name].default for name in ("kind", "schema_version"))
        if content.get("kind", kind) != kind:
            raise ResultsError(
                f"{path} contains results of the kind {content['kind']!r}, not {kind}"
            )
        version = content.get("schema_version", 0)
        if not isinstance(version, int) or version > newest:
            raise ResultsError(
                f"{path} has schema version {version}, but this changedet reads {kind} results up "
                f"to {newest}; update changedet"
            )
        try:
            current = content if version == newest else cls.upgrade(dict(content))
            # By way of JSON, since strict validation takes a list for a tuple only there.
            return cls.model_validate_json(json.dumps(current), strict=True)
        except ValidationError as error:
            raise ResultsError(
                f"{path} does not contain {kind} results: {_faults(error)}"
            ) from error
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ResultsError(f"{path} does not contain {kind} results ({error!r})") from error

    @classmethod
    def upgrade(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Turn the content of an earlier version's file into that of the present one.

        Args:
            content: As it stands in the file; a copy at its first level.
        """
        return {**content, "schema_version": cls.model_fields["schema_version"].default}


def _encodable(value: Any) -> Any:  # noqa: ANN401
    """Write out what is no character in all texts of a JSON value."""
    if isinstance(value, str):
        return value.encode("utf-8", errors="backslashreplace").decode()
    if isinstance(value, list):
        return [_encodable(part) for part in value]
    if isinstance(value, dict):
        return {_encodable(key): _encodable(part) for key, part in value.items()}
    return value


def former_name(name: str, kind: Any) -> Any:  # noqa: ANN401
    """Write the content of a field under its former name as well, for one more version.

    Args:
        name: The field.
        kind: Its type.
    """
    return computed_field(
        return_type=kind,
        description=f"Deprecated: the same as {name}; goes with the next version.",
        json_schema_extra={"deprecated": True},
    )(property(lambda self: getattr(self, name)))


def read_content(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        ResultsError: If it is missing, unreadable, or no such file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResultsError(f"{path} cannot be read: no such file") from error
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ResultsError(
            f"{path} cannot be read as JSON ({error}); it is damaged: put an undamaged copy back, "
            "or run the command that wrote it again"
        ) from error
    if not isinstance(content, dict):
        raise ResultsError(f"{path} has no results: expected a JSON object")
    return content


def json_schema(model: type[Results]) -> dict[str, Any]:
    """Return the JSON Schema of a kind of file; docstrings become descriptions."""
    schema = model.model_json_schema(mode="serialization")
    version = schema["properties"]["schema_version"]
    version["const"] = version["default"]
    for part in (schema, *schema.get("$defs", {}).values()):
        # Dataclasses; models have described themselves.
        _describe(part, [part.get("description", "")])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _describe(part: dict[str, Any], docs: Sequence[str]) -> None:
    """Take a description from the first docstring and those of the attributes from all."""
    summary, _, _ = docs[0].partition("\nAttributes:\n")
    if summary:
        part["description"] = " ".join(summary.split())
    for doc in docs:
        for name, meaning in _entries(doc):
            if name in part.get("properties", {}):
                part["properties"][name].setdefault("description", meaning)


def _entries(doc: str) -> Iterator[tuple[str, str]]:
    """Split the section on attributes of a docstring into names and descriptions."""
    _, _, section = doc.partition("\nAttributes:\n")
    name, words = "", ""
    for line in textwrap.dedent(section).splitlines():
        found = _ENTRY.match(line)
        if found is None:
            words = f"{words} {line.strip()}"
            continue
        if name:
            yield name, words
        name, words = found[1], found[2]
    if name:
        yield name, words


def _faults(error: ValidationError) -> str:
    """Name the first faults, in one line."""
    faults = [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors(include_url=False)
    ]
    more = len(faults) - 3
    return "; ".join(faults[:3]) + (f"; and {more} more" if more > 0 else "")
