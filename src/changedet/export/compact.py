"""Store the weights of a graph as the model file stored them: whole numbers and a step each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from changedet._optional import ONNX

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST_CODE: Final = 127
#: Weights are found to be whole numbers of steps up to this, in steps: tracing multiplied them by
#: the factors of batch norm, in float32.
_ROUNDING: Final = 1e-3
#: A channel that training has switched off has weights like 1e-40: next to others they add nothing
#: to a float32, and their step would be no number that float32 tells from its neighbours.
_NOTHING: Final = 1e-20
#: Fewer weights than this are not worth two more entries.
_FEWEST: Final = 1024


def store_whole_numbers(proto: Any) -> int:  # noqa: ANN401
    """Replace weights that are whole numbers of steps by these numbers, in place.

    Weights of a model file of ``precision="int8"`` are whole multiples, in [-127, 127], of a step
    for each output channel. Tracing turns them into float32, four times as large. Here they become
    int8 again, with a ``DequantizeLinear`` that gives back the float32 values: everything is still
    computed in float32, and runtimes undo it when they load the graph.

    Args:
        proto: An ``onnx.ModelProto``; weights of convolutions whose values are no such multiples
            stay as they are.

    Returns:
        How many tensors were replaced.
    """
    onnx = ONNX.load()
    helper: Any = ONNX.load(".numpy_helper")
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    used = [name for node in proto.graph.node for name in node.input]
    replaced: list[Any] = []
    for node in proto.graph.node:
        if node.op_type != "Conv" or used.count(node.input[1]) != 1:
            continue
        tensor = tensors.get(node.input[1])
        found = None if tensor is None else _whole_numbers(helper.to_array(tensor))
        if found is None:
            continue
        name = node.input[1]
        parts = [f"{name}.codes", f"{name}.steps"]
        for part, values in zip(parts, found, strict=True):
            proto.graph.initializer.append(helper.from_array(values, part))
        node.input[1] = f"{name}.weights"
        replaced.append(
            onnx.helper.make_node("DequantizeLinear", parts, [node.input[1]], axis=0, name=name)
        )
        proto.graph.initializer.remove(tensor)
    # A node stands behind those whose results it takes.
    others = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*replaced, *others])
    return len(replaced)


def weights_as_numbers(proto: Any) -> None:  # noqa: ANN401
    """Undo :func:`store_whole_numbers`, in place: the weights become float32 again."""
    helper: Any = ONNX.load(".numpy_helper")
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    kept = []
    for node in proto.graph.node:
        if node.op_type != "DequantizeLinear" or any(name not in tensors for name in node.input):
            kept.append(node)
            continue
        codes, steps = (helper.to_array(tensors[name]) for name in node.input)
        weights = codes.astype(np.float32) * steps.reshape(-1, *[1] * (codes.ndim - 1))
        proto.graph.initializer.append(helper.from_array(weights, node.output[0]))
        for name in node.input:
            proto.graph.initializer.remove(tensors[name])
    del proto.graph.node[:]
    proto.graph.node.extend(kept)


def _whole_numbers(
    weights: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Write (O, I, h, w) as int8 numbers and a step for each output channel, if they are such."""
    if weights.dtype != np.float32 or weights.size < _FEWEST:
        return None
    largest = np.abs(weights).max(axis=(1, 2, 3))
    counts = largest > _NOTHING * largest.max()
    steps = np.where(counts, largest / np.float32(_LARGEST_CODE), np.float32(1))
    exact = weights / steps[:, None, None, None]
    codes = np.rint(exact)
    if np.abs(exact - codes).max() > _ROUNDING:
        return None
    return codes.astype(np.int8), steps.astype(np.float32)
