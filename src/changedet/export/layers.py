"""Which layers of a graph may be computed in 8 bits, and which stay in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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

    Most of the error comes from few of them (docs/deploy.md, "In 8 bits"). These stay in float32:
    convolutions of the image itself (their normalisation stands before them), of differences of
    the two dates, and those before or after attention; and the last ones, whose result is the
    logit.

    Args:
        proto: An ``onnx.ModelProto`` with float32 weights.

    Returns:
        Names of convolutions, of their activations and of the sums between them.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    takers: dict[str, list[Any]] = {}
    for node in proto.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    outputs = {output.name for output in proto.graph.output}
    constants = {tensor.name for tensor in proto.graph.initializer}
    chosen = {
        node.name
        for node in proto.graph.node
        if node.op_type == "Conv"
        and node.input[1] in constants
        and all(one in _KEEPING_RANGE for one in _before(node, makers))
        and not any(one in _EXACT or one == "" for one in _after(node, takers, outputs))
    }
    for node in proto.graph.node:
        made_by = [makers[name].name for name in node.input if name in makers]
        is_activation = node.op_type in _ACTIVATIONS and made_by[:1] and made_by[0] in chosen
        # A sum of features; sums of sizes have a constant or a shape on one side.
        is_sum = node.op_type == "Add" and made_by and all(name in chosen for name in made_by)
        if is_activation or is_sum:
            chosen.add(node.name)
    return [node.name for node in proto.graph.node if node.name in chosen]


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
