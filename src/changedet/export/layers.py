"""Which layers of a graph may be computed in 8 bits, and which stay in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_ACTIVATIONS: Final = ("Clip", "Relu")
#: What may lie between two convolutions in 8 bits: it keeps values in their range.
_KEEPING_RANGE: Final = frozenset(
    {
        *_ACTIVATIONS,
        *("Add", "AveragePool", "Concat", "LeakyRelu", "MaxPool", "Pad", "Resize", "Slice"),
        *("Split", "Identity", "Constant"),
    }
)
#: Of attention: what comes before these needs all digits.
_EXACT: Final = frozenset({"Gemm", "MatMul", "Softmax"})


def layers_in_8_bits(proto: Any) -> list[str]:  # noqa: ANN401
    """Choose the nodes that are computed in 8 bits, by where they stand in the graph.

    Args:
        proto: An ``onnx.ModelProto`` with float32 weights.

    Returns:
        Names of convolutions, of their activations and of the sums between them: all but those of
        :func:`kept_in_float32`.
    """
    kept = kept_in_float32(proto)
    names = {node.name for node in proto.graph.node if node.op_type == "Conv"}
    return with_activations(proto, names.difference(kept))


def kept_in_float32(proto: Any) -> dict[str, str]:  # noqa: ANN401
    """Choose the convolutions that most of the error of 8 bits comes from (docs/deploy.md).

    Args:
        proto: An ``onnx.ModelProto`` with float32 weights.

    Returns:
        Why, by name: ``image`` (their input is the image, normalised), ``first`` (depthwise, on
        what a convolution of the image gives), ``dates`` (it is computed from both dates, such as
        their difference), ``last`` (their result is the logit), ``attention`` (it comes from there
        or goes into it) or ``weights`` (these are computed).
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    takers: dict[str, list[Any]] = {}
    for node in proto.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    outputs = {output.name for output in proto.graph.output}
    constants = {tensor.name for tensor in proto.graph.initializer}
    kept: dict[str, str] = {}
    for node in proto.graph.node:
        if node.op_type != "Conv":
            continue
        before = set(_before(node, makers)) - _KEEPING_RANGE
        after = set(_after(node, takers, outputs))
        if node.input[1] not in constants:
            kept[node.name] = "weights"
        elif _is_depthwise(node) and kept.get(_convolution_before(node, makers)) == "image":
            # OpenVINO 2026.4 gives wrong scores if it is in 8 bits and what comes before is not.
            kept[node.name] = "first"
        elif before:
            attends = "attention" if before & _EXACT else "dates"
            kept[node.name] = "image" if "image" in before else attends
        elif "" in after:
            kept[node.name] = "last"
        elif after & _EXACT:
            kept[node.name] = "attention"
    return kept


def with_activations(proto: Any, convolutions: Collection[str]) -> list[str]:  # noqa: ANN401
    """Add to convolutions what is computed with them: their activations and sums of them.

    Args:
        proto: An ``onnx.ModelProto``.
        convolutions: Names of its nodes.

    Returns:
        Names of nodes, in the order of the graph.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    chosen = set(convolutions)
    for node in proto.graph.node:
        made_by = [makers[name].name for name in node.input if name in makers]
        is_activation = node.op_type in _ACTIVATIONS and made_by[:1] and made_by[0] in chosen
        # A sum of features; sums of sizes have a constant or a shape on one side.
        is_sum = node.op_type == "Add" and made_by and all(name in chosen for name in made_by)
        if is_activation or is_sum:
            chosen.add(node.name)
    return [node.name for node in proto.graph.node if node.name in chosen]


def _is_depthwise(conv: Any) -> bool:  # noqa: ANN401
    """Tell whether each of its results is computed from a part of the channels alone."""
    return any(entry.name == "group" and entry.i > 1 for entry in conv.attribute)


def _convolution_before(conv: Any, makers: Mapping[str, Any]) -> str:  # noqa: ANN401
    """Name the node whose result it takes, perhaps through activations; "" for the input."""
    node = makers.get(conv.input[0])
    while node is not None and node.op_type in _ACTIVATIONS:
        node = makers.get(node.input[0])
    return "" if node is None else node.name


def _before(conv: Any, makers: Mapping[str, Any]) -> Iterator[str]:  # noqa: ANN401
    """Give the operators between a convolution and those before it; ``image`` for the input."""
    names, seen = [conv.input[0]], set()
    while names:
        name = names.pop()
        node = makers.get(name)
        if node is None:
            yield "image"
            continue
        if node.op_type == "Conv" or name in seen:
            continue
        seen.add(name)
        yield node.op_type
        # Of the others, the first input holds the values, and what follows are sizes and limits.
        values = node.input if node.op_type in ("Add", "Concat") else node.input[:1]
        names.extend(value for value in values if value)


def _after(
    conv: Any,  # noqa: ANN401
    takers: Mapping[str, list[Any]],
    outputs: set[str],
) -> Iterator[str]:
    """Give the operators between a convolution and those after it; "" for the graph's end."""
    names, seen = [conv.output[0]], set()
    while names:
        name = names.pop()
        if name in outputs:
            yield ""
        for node in takers.get(name, []):
            # Sizes are numbers of their own; a score does not depend on them.
            if node.op_type in ("Conv", "Shape") or node.output[0] in seen:
                continue
            seen.add(node.output[0])
            yield node.op_type
            names.extend(node.output)
