"""What an ONNX file says of itself, read and checked without ONNX and without a runtime.

An ONNX file is one protocol-buffer message (onnx.ai/onnx/intro, onnx.proto3). The few fields that
matter here are read straight from its bytes, so that the card of a model is known before anything
is loaded, and a file that no runtime should be given is refused in words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from changedet.errors import CheckpointError
from changedet.storage.protobuf import (
    Value,
    as_message,
    as_number,
    as_text,
    fields,
)
from changedet.storage.text import is_file

if TYPE_CHECKING:
    from pathlib import Path

#: Ending of such files.
SUFFIX: Final = ".onnx"
#: Metadata key of what is known of the graph, as JSON.
GRAPH_KEY: Final = "changedet_graph"
#: Version of the layout of that JSON; a reader refuses newer ones.
GRAPH_FORMAT: Final = 1
#: Versions of the standard operators that are read: what is written, and what runtimes turn it to.
OPSETS: Final = range(17, 24)
INPUT, OUTPUT = "image", "score"
#: Height or width of a graph: a number where it is fixed, None where any is taken.
Length: TypeAlias = int | None
_STANDARD: Final = ("", "ai.onnx")
# Fields of the messages, by their numbers in onnx.proto3.
_PRODUCER, _GRAPH, _OPSET, _METADATA, _FUNCTION = 2, 7, 8, 14, 25
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12
_ATTRIBUTE, _TENSOR, _SUBGRAPH, _DATA_LOCATION = 5, 5, 6, 14
_DEEPEST = 20


@dataclass(frozen=True)
class GraphFacts:
    """What a runtime must know of a graph to use it.

    Attributes:
        stride: What height and width of its images must be multiples of, in pixels.
        fixed_tile: Whether its result depends on the size of a tile, which then is fixed.
        sha256: Checksum of the graph with its weights.
        channels: Channels of the image: those of both dates together.
        kinds: Kinds of change that it scores.
        height: Of its images in pixels; None: any multiple of the stride.
        width: Likewise.
        is_int8: Whether most of it is computed in 8 bits (``changedet quantise``).
        int8_runtimes: Names of the runtimes in which scores in 8 bits were compared with those in
            float32; empty: the file does not say.
        gflop: 10^9 operations (2 x MAC) of a million pixels of one pair, and of a pair besides,
            whatever its size; None: the file does not say.
    """

    stride: int
    fixed_tile: bool
    sha256: str
    channels: int = 0
    kinds: int = 0
    height: Length = None
    width: Length = None
    is_int8: bool = False
    int8_runtimes: tuple[str, ...] = ()
    gflop: tuple[float, float] | None = None

    def to_json(self) -> str:
        """Give what stands in the metadata; the shapes stand in the graph itself."""
        stated: dict[str, object] = {
            "format": GRAPH_FORMAT,
            "stride": self.stride,
            "fixed_tile": self.fixed_tile,
            "sha256": self.sha256,
        }
        if self.is_int8:
            stated["int8"] = True
        if self.int8_runtimes:
            stated["int8_runtimes"] = list(self.int8_runtimes)
        if self.gflop is not None:
            stated["gflop"] = list(self.gflop)
        return json.dumps(stated)


@dataclass(frozen=True)
class OnnxFile:
    """The parts of an ONNX file.

    Attributes:
        path: Where it lies, for messages.
        metadata: Texts by name.
        producer: Name of the program that wrote it.
        opsets: Versions of the sets of operators by domain.
        functions: Number of functions that it defines itself.
        graph: The graph with its weights, as it lies in the file.
    """

    path: Path
    metadata: Mapping[str, str]
    producer: str
    opsets: Mapping[str, int]
    functions: int
    graph: memoryview

    @property
    def sha256(self) -> str:
        """Checksum of the graph with its weights, and of the operators' versions."""
        digest = hashlib.sha256(json.dumps(dict(sorted(self.opsets.items()))).encode())
        digest.update(self.graph)
        return digest.hexdigest()


def read_onnx(path: Path) -> OnnxFile:
    """Take an ONNX file apart; its graph is not looked at.

    Raises:
        CheckpointError: If it is not there, cut short or no ONNX file.
    """
    if not is_file(path):
        raise CheckpointError(
            f"there is no model file {path}; `changedet export` writes such files"
        )
    return parse_onnx(path.read_bytes(), path)


def parse_onnx(content: bytes, path: Path) -> OnnxFile:
    """Take the content of an ONNX file apart.

    Args:
        content: Of the file.
        path: Where it lies, for messages.

    Raises:
        CheckpointError: If it is cut short or no ONNX file.
    """
    metadata: dict[str, str] = {}
    opsets: dict[str, int] = {}
    graph: memoryview | None = None
    producer, functions = "", 0
    try:
        for number, value in fields(memoryview(content)):
            if number == _METADATA:
                entry = dict(fields(as_message(value)))
                metadata[as_text(entry.get(1, b""))] = as_text(entry.get(2, b""))
            elif number == _OPSET:
                entry = dict(fields(as_message(value)))
                opsets[as_text(entry.get(1, b""))] = as_number(entry.get(2, 0))
            elif number == _GRAPH:
                graph = as_message(value)
            elif number == _PRODUCER:
                producer = as_text(value)
            elif number == _FUNCTION:
                functions += 1
    except ValueError as error:
        raise _broken(path, error) from error
    if graph is None:
        raise _broken(path, "it has no graph")
    return OnnxFile(path, metadata, producer, opsets, functions, graph)


def read_metadata(path: Path) -> Mapping[str, str]:
    """Read the texts of an ONNX file that this package wrote.

    Raises:
        CheckpointError: If it is no such file, or one that no runtime should be given.
    """
    file = read_onnx(path)
    _check_origin(file)
    return file.metadata


def read_facts(path: Path) -> GraphFacts:
    """Read what a runtime must know of a graph, and see that the file is what was written.

    Raises:
        CheckpointError: If it is no file of this package, its graph or weights have changed since
            they were written, or they are of a kind that is not read.
    """
    file = read_onnx(path)
    _check_origin(file)
    stated = _stated(file)
    try:
        _check_graph(file)
        inputs = _shapes(file.graph, _INPUT)
        outputs = _shapes(file.graph, _OUTPUT)
    except ValueError as error:
        raise _broken(path, error) from error
    if stated.sha256 != file.sha256:
        raise CheckpointError(
            f"{path} is damaged: its graph and weights do not have the checksum that they were "
            "written with; copy the file again, or export it again (`changedet export`)"
        )
    taken, given = inputs.get(INPUT, ()), outputs.get(OUTPUT, ())
    if len(inputs) != 1 or len(taken) != 4 or len(given) != 4 or not (taken[1] and given[1]):
        raise CheckpointError(
            f"{path} takes {_described(inputs)} and gives {_described(outputs)}; expected one "
            f"{INPUT!r} of (batch, channels, height, width) and one {OUTPUT!r} of (batch, kinds, "
            "height, width); export it again (`changedet export`)"
        )
    return replace(
        stated, channels=taken[1], kinds=given[1], height=taken[2] or None, width=taken[3] or None
    )


def stated_facts(path: Path) -> GraphFacts:
    """Read what a file says of its graph, which is not looked at: without its shapes.

    Raises:
        CheckpointError: If it is no file of this package.
    """
    file = read_onnx(path)
    _check_origin(file)
    return _stated(file)


def _check_origin(file: OnnxFile) -> None:
    if GRAPH_KEY not in file.metadata:
        raise CheckpointError(
            f"{file.path} has no model card: it was written by "
            f"{file.producer[:80] or 'another program'}, not by `changedet export`, so what its "
            "input and output mean is not known; export the model file again"
        )
    other = sorted(domain for domain in file.opsets if domain not in _STANDARD)
    if other or file.functions:
        raise CheckpointError(
            f"{file.path} needs operators that are not part of ONNX "
            f"({', '.join(other)[:200] or 'functions of its own'}), which not every runtime has; "
            "export the model file again (`changedet export`)"
        )
    version = max((file.opsets.get(domain, 0) for domain in _STANDARD), default=0)
    if version not in OPSETS:
        raise CheckpointError(
            f"{file.path} uses version {version} of ONNX's operators (opset), and versions "
            f"{OPSETS.start} to {OPSETS.stop - 1} are read; export the model file again "
            "(`changedet export`)"
        )


def _stated(file: OnnxFile) -> GraphFacts:
    try:
        values = json.loads(file.metadata[GRAPH_KEY])
        if values["format"] > GRAPH_FORMAT:
            raise ValueError(f"its format {values['format']} is newer than {GRAPH_FORMAT}")
        facts = GraphFacts(
            int(values["stride"]),
            bool(values["fixed_tile"]),
            str(values["sha256"]),
            is_int8=bool(values.get("int8", False)),
            int8_runtimes=tuple(str(name) for name in values.get("int8_runtimes", ())),
            gflop=_two_numbers(values.get("gflop")),
        )
        if facts.stride < 1:
            raise ValueError(f"its stride is {facts.stride}")
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{file.path} does not say how its graph is used ({error!s:.200}); update changedet, "
            "or export the model file again"
        ) from error
    return facts


def _two_numbers(value: Any) -> tuple[float, float] | None:  # noqa: ANN401
    if value is None:
        return None
    first, second = value
    return float(first), float(second)


def _check_graph(file: OnnxFile) -> None:
    """Refuse weights in other files, which would have to lie in the right place beside this one."""
    if any(as_number(tensor.get(_DATA_LOCATION, 0)) for tensor in _tensors(file.graph)):
        raise CheckpointError(
            f"{file.path} keeps its weights in other files (external data); export the model file "
            "again (`changedet export`), which writes one file"
        )


def _tensors(graph: memoryview, depth: int = 0) -> Iterator[dict[int, Value]]:
    """Give the fields of all tensors of a graph, those in the attributes of its nodes included."""
    if depth > _DEEPEST:
        raise ValueError("its graphs are nested too deep")
    for number, value in fields(graph):
        if number == _INITIALIZER:
            yield dict(fields(as_message(value)))
        elif number == _NODE:
            for inner, attribute in fields(as_message(value)):
                if inner != _ATTRIBUTE:
                    continue
                for name, held in fields(as_message(attribute)):
                    if name == _TENSOR:
                        yield dict(fields(as_message(held)))
                    elif name == _SUBGRAPH:
                        yield from _tensors(as_message(held), depth + 1)


def _shapes(graph: memoryview, number: int) -> dict[str, tuple[int, ...]]:
    """Read names and shapes of the graph's inputs or outputs; 0 stands for any length."""
    shapes = {}
    for found, value in fields(graph):
        if found != number:
            continue
        entry = dict(fields(as_message(value)))
        kind = dict(fields(as_message(entry.get(2, b""))))
        tensor = dict(fields(as_message(kind.get(1, b""))))
        lengths = (
            dict(fields(as_message(length))) for _, length in fields(as_message(tensor.get(2, b"")))
        )
        shapes[as_text(entry.get(1, b""))] = tuple(as_number(one.get(1, 0)) for one in lengths)
    return shapes


def _described(shapes: Mapping[str, tuple[int, ...]]) -> str:
    parts = [
        f"{name[:40]} ({', '.join(str(length or 'any') for length in shape)})"
        for name, shape in list(shapes.items())[:4]
    ]
    return " and ".join(parts) or "nothing"


def _broken(path: Path, reason: object) -> CheckpointError:
    return CheckpointError(
        f"{path} is truncated or not an ONNX file ({reason}); copy or export it again"
    )
