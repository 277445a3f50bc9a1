"""Padding that is computed anew for every image, written into the convolutions that follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def pad_in_convolutions(proto: Any) -> int:  # noqa: ANN401
    """Move the padding before convolutions into them, in place.

    TensorFlow pads as much as an image's size asks for ("same"), so that a network taken from there
    computes its padding from the size. A graph takes multiples of the network's stride only, of
    which every level is a multiple of the next convolution's stride; then the padding is always
    what the kernel reaches beyond the stride. As an attribute of the convolution it costs no copy
    of the image, and runtimes need not change the layout for it.

    Args:
        proto: An ``onnx.ModelProto``. Only convolutions with no padding of their own after a
            padding with zeros that their own module computes are changed.

    Returns:
        How many were changed.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    constants = {tensor.name for tensor in proto.graph.initializer}
    changed = 0
    for node in proto.graph.node:
        pad = makers.get(node.input[0]) if node.op_type == "Conv" else None
        if pad is None or pad.op_type != "Pad" or _is_constant(pad.input[1], makers, constants):
            continue
        if pad.name.rpartition("/")[0] != node.name.rpartition("/")[0]:
            continue  # not of the convolution's own module
        stated = {attribute.name: attribute for attribute in node.attribute}
        own: Sequence[int] = stated["pads"].ints
        if any(own) or not _pads_with_zeros(pad, makers):
            continue
        kernel, strides, dilations = (
            list(stated[name].ints) for name in ("kernel_shape", "strides", "dilations")
        )
        total = [
            max((size - 1) * apart + 1 - stride, 0)
            for size, stride, apart in zip(kernel, strides, dilations, strict=True)
        ]
        pads = [length // 2 for length in total]
        del stated["pads"].ints[:]
        stated["pads"].ints.extend([*pads, *(a - b for a, b in zip(total, pads, strict=True))])
        node.input[0] = pad.input[0]
        changed += 1
    if changed:
        remove_unused(proto)
    return changed


def remove_unused(proto: Any) -> None:  # noqa: ANN401
    """Remove nodes whose results nothing takes, and values that nothing uses, in place."""
    wanted = {output.name for output in proto.graph.output}
    kept: list[Any] = []
    # A node stands behind those whose results it takes, so one pass from the end is enough.
    for node in reversed(proto.graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
            wanted.update(_taken_inside(node))
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name in wanted]
    for field, entries in ((proto.graph.node, kept[::-1]), (proto.graph.initializer, tensors)):
        del field[:]
        field.extend(entries)


def _taken_inside(node: Any) -> set[str]:  # noqa: ANN401
    """Names that the graphs in a node's attributes (branches, loops) take from around them."""
    return {
        name
        for attribute in node.attribute
        for inner in attribute.g.node
        for name in (*inner.input, *_taken_inside(inner))
    }


def _is_constant(name: str, makers: dict[str, Any], constants: set[str]) -> bool:
    return name in constants or makers[name].op_type == "Constant"


def _pads_with_zeros(pad: Any, makers: dict[str, Any]) -> bool:  # noqa: ANN401
    modes = [attribute.s for attribute in pad.attribute if attribute.name == "mode"]
    if modes not in ([], [b"constant"]):
        return False
    value = makers.get(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else None
    return value is None or not any(value.attribute[0].t.raw_data)
