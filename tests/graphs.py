"""Exported models that are written by hand, without PyTorch: their score is a mean difference."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from changedet.card import ModelCard
from changedet.export.metadata import describe_graph
from changedet.storage.onnx_file import GraphFacts, parse_onnx
from changedet.types import Normalisation

#: What the difference of each kind of change is multiplied by.
FACTORS = (1 / 255, 0.5 / 255, 0.25 / 255)


def difference_graph(
    *,
    channels: int = 6,
    kinds: int = 1,
    tile_px: int | None = None,
    opset: int = 17,
    factors: tuple[float, ...] = FACTORS,
    blurred: bool = False,
) -> onnx.ModelProto:
    """Write the mean absolute difference of two dates as a graph, without metadata.

    Args:
        channels: Of both dates together.
        kinds: How many scores it gives.
        tile_px: Height and width where they are fixed.
        opset: Version of the operators.
        factors: Of the kinds.
        blurred: Whether a score depends on the pixels around it, as with a network.
    """
    nodes = [
        helper.make_node("Split", ["image"], ["before", "after"], axis=1),
        helper.make_node("Sub", ["after", "before"], ["change"]),
        helper.make_node("Abs", ["change"], ["size"]),
        helper.make_node("ReduceMean", ["size"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "factors"], ["sharp"]),
        helper.make_node("AveragePool", ["sharp"], ["blurred"], kernel_shape=[5, 5], pads=[2] * 4),
        helper.make_node("Identity", ["blurred" if blurred else "sharp"], ["score"]),
    ]
    sides = [tile_px or "height", tile_px or "width"]
    weights = np.array(factors[:kinds], np.float32)[None, :, None, None]
    graph = helper.make_graph(
        nodes,
        "difference",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", channels, *sides])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", kinds, *sides])],
        [numpy_helper.from_array(weights, "factors")],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="tests"
    )


def layered_graph(*, offset: float = -2.0) -> onnx.ModelProto:
    """Write a small network as a graph: convolutions of each date, of their difference, and last.

    Args:
        offset: Of the logits.
    """
    random = np.random.default_rng(0)
    weights = {
        "first": random.normal(0, 0.02, (8, 3, 3, 3)),
        "deep": random.normal(0, 0.2, (8, 8, 3, 3)),
        "deeper": random.normal(0, 0.2, (8, 8, 3, 3)),
        "fusing": np.abs(random.normal(0, 0.3, (8, 8, 1, 1))),
        "joining": np.abs(random.normal(0, 0.2, (8, 8, 1, 1))),
        "last": np.abs(random.normal(0, 0.5, (1, 8, 1, 1))),
    }
    nodes = [helper.make_node("Split", ["image"], ["before", "after"], axis=1, name="split")]

    def conv(name: str, taken: str, given: str, *, weight: str) -> None:
        side = weights[weight].shape[-1]
        inputs = [taken, weight, *(["offset"] if weight == "last" else [])]
        nodes.append(
            helper.make_node("Conv", inputs, [f"{given}_raw"], name=name, pads=[side // 2] * 4)
        )
        nodes.append(helper.make_node("Relu", [f"{given}_raw"], [given], name=f"{name}_relu"))

    for date in ("before", "after"):
        conv(f"first_{date}", date, f"{date}_1", weight="first")
        conv(f"deep_{date}", f"{date}_1", f"{date}_2", weight="deep")
        conv(f"deeper_{date}", f"{date}_2", f"{date}_3", weight="deeper")
    nodes.append(helper.make_node("Sub", ["before_3", "after_3"], ["gap"], name="gap"))
    nodes.append(helper.make_node("Abs", ["gap"], ["size"], name="size"))
    conv("fusing", "size", "fused", weight="fusing")
    conv("joining", "fused", "joined", weight="joining")
    nodes += [
        helper.make_node("Conv", ["joined", "last", "offset"], ["logit"], name="last"),
        helper.make_node("Sigmoid", ["logit"], ["score"], name="score"),
    ]
    sides = ["height", "width"]
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 6, *sides])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 1, *sides])],
        [
            numpy_helper.from_array(np.asarray(value, np.float32), name)
            for name, value in {**weights, "offset": np.array([offset])}.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def graph_card(*, bands: int = 3, **fields: Any) -> ModelCard:
    """What the file says of such a model; ``fields`` are others than usual."""
    statistics = Normalisation(*((value,) * bands for value in (120.0, 120.0, 60.0, 60.0)))
    usual = {"architecture": "siamese_pyramid", "options": {"encoder": "drawn"}, "tile_px": 64}
    return ModelCard(normalisation=statistics, **{**usual, "threshold": 0.5, **fields})


def write_graph(
    path: Path,
    proto: onnx.ModelProto | None = None,
    *,
    card: ModelCard | None = None,
    stride: int = 8,
    fixed_tile: bool = False,
    gflop: tuple[float, float] | None = None,
) -> Path:
    """Write an exported model; without a graph, that of :func:`difference_graph`."""
    proto = difference_graph() if proto is None else proto
    card = graph_card() if card is None else card
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = GraphFacts(
        stride=stride,
        fixed_tile=fixed_tile,
        sha256=parse_onnx(proto.SerializeToString(), path).sha256,
        channels=proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value,
        kinds=len(card.kinds) or 1,
        gflop=gflop,
    )
    for name, text in describe_graph(card, facts, parameters=1, precision="float32").items():
        proto.metadata_props.add(key=name, value=text)
    path.write_bytes(proto.SerializeToString())
    return path
