"""Compute most of an exported model in 8 bits, with ranges of values measured on pairs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from changedet._optional import ONNX, ONNX_RUNTIME, OPENVINO
from changedet.card import PRECISION_KEY, read_card, read_parameter_count
from changedet.errors import CheckpointError, ConfigError, DataError, ExportError
from changedet.export.calibration import choose_pairs, middles, tiles_seen
from changedet.export.compact import store_whole_numbers, weights_as_numbers
from changedet.export.comparison import Difference, Limits, compare
from changedet.export.layers import layers_in_8_bits
from changedet.export.padding import remove_unused
from changedet.export.quantise_request import (
    LARGEST_LOSS,
    PAIRS,
    QuantisationReport,
    QuantisationRequest,
    check_quantisation,
)
from changedet.export.request import item_path
from changedet.export.stac_item import make_item
from changedet.inference.runtimes import OnnxGraph, OpenVinoGraph
from changedet.model_search import find_model
from changedet.storage.atomic import write_bytes, write_text
from changedet.storage.onnx_file import GRAPH_KEY, INPUT, parse_onnx, read_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from changedet.inference.graph_scorer import Graph
    from changedet.storage.onnx_file import GraphFacts
    from changedet.storage.output_folder import Existing

_CHECKED_EVERY = 4


def quantise_model(
    model: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    split: str = "train",
    pairs: int = PAIRS,
    gsd_m: float | None = None,
    largest_loss: float = LARGEST_LOSS,
    largest_flipped: float | None = None,
    existing: Existing = "refuse",
) -> QuantisationReport:
    """Write an exported model whose layers are computed in 8 bits, but for the sensitive ones.

    Static quantisation (Jacob et al. 2018): weights become int8 with a step for each output
    channel, values between the layers uint8 with a range that is measured on pairs. Layers that
    most of the error comes from stay in float32 (:func:`.layers.layers_in_8_bits`). The new file is
    used like the one that it is made from. It is compared with that on pairs that it was not
    calibrated on, and not written if they differ too much: if F1 by the labels falls, or where
    there are none, if the masks agree to less than F1 0.97. Where OpenVINO is installed, it is
    compared, too; a runtime that fails there will refuse the file.

    Args:
        model: An exported model (``.onnx``), or its name.
        data: Folder of pairs like those that it will see; labels are used where there are any.
        out: The file to write, ending in ``.onnx``.
        split: Where the pairs are from; not one that figures are reported on.
        pairs: How many, 2 or more. Every fourth one is not calibrated on but compared.
        gsd_m: Their ground sample distance in metres; None: they are not resampled.
        largest_loss: How much F1 by the labels may fall, 0 to 1.
        largest_flipped: The share of the pixels, 0 to 1, that may change sides, with labels or
            without; None: any that the other limits allow.
        existing: What to do if the file or its description is there: ``refuse``, ``replace``.

    Raises:
        ConfigError: If the model is not an exported one in float32, or something was asked for that
            makes no sense.
        CheckpointError: If the model file cannot be used.
        DataError: If the data set cannot be used.
        ExportError: If the scores in 8 bits are no finite numbers, or differ too much; then nothing
            is written.
        MissingExtraError: If onnx or ONNX Runtime is not installed.
        StorageError: If the files cannot be written.
    """
    request = QuantisationRequest(
        model=find_model(model),
        data=Path(data),
        out=Path(out),
        split=split,
        pairs=pairs,
        gsd_m=gsd_m,
        largest_loss=largest_loss,
        largest_flipped=largest_flipped,
        existing=existing,
    )
    check_quantisation(request)
    path, out = request.model, request.out
    card, facts = read_card(path), read_facts(path)
    chosen = choose_pairs(data, card, split=split, count=pairs)
    compared = chosen.pairs[_CHECKED_EVERY - 1 :: _CHECKED_EVERY] or chosen.pairs[-1:]
    calibrated = [pair for pair in chosen.pairs if pair not in compared]
    if not calibrated:
        raise DataError(f"the split {split!r} of {data} has a single pair; two or more are needed")
    small = _in_8_bits(path, tiles_seen(calibrated, card, facts, gsd_m=gsd_m))
    facts = _stated(small.proto, facts)
    check = partial(
        compare,
        OnnxGraph(path, read_facts(path)),
        pairs=list(middles(compared, card, chosen.encoding)),
        card=card,
        gsd_m=gsd_m,
        limits=Limits(largest_loss, largest_flipped),
    )
    difference = check(OnnxGraph(small.proto.SerializeToString(), facts))
    in_openvino = _in_openvino(small.proto, facts, check)
    if isinstance(in_openvino, Difference):
        facts = _stated(small.proto, dataclasses.replace(facts, int8_runtimes=("onnx", "openvino")))
    content = small.proto.SerializeToString()
    item = make_item(
        card,
        facts,
        file_name=out.name,
        size_bytes=len(content),
        file_sha256=hashlib.sha256(content).hexdigest(),
        parameters=read_parameter_count(path) or 0,
    )
    write_bytes(out, content)
    write_text(item_path(out), json.dumps(item, indent=2) + "\n")
    return QuantisationReport(
        out=out,
        item=item_path(out),
        size_bytes=len(content),
        layers=small.layers,
        layers_in_8_bits=small.layers_in_8_bits,
        calibrated_on=len(calibrated),
        compared_on=len(compared),
        openvino=in_openvino,
        **difference._asdict(),
    )


class _Small(NamedTuple):
    """A graph in 8 bits, how many convolutions it has, and how many of them are in 8 bits."""

    proto: Any
    layers: int
    layers_in_8_bits: int


def _in_8_bits(path: Path, tiles: Sequence[NDArray[np.float32]]) -> _Small:
    """Quantise the graph of a file, with ranges of values measured on tiles."""
    proto = ONNX.load().load(str(path))
    weights_as_numbers(proto)
    nodes = layers_in_8_bits(proto)
    convolutions = [node.name for node in proto.graph.node if node.op_type == "Conv"]
    inside = [name for name in convolutions if name in set(nodes)]
    if not inside:
        raise ConfigError(
            f"{path} has no layer that could be computed in 8 bits; predict with the file as it is"
        )
    small = quantised_graph(proto, nodes, tiles)
    store_whole_numbers(small)
    return _Small(small, len(convolutions), len(inside))


def _stated(proto: Any, facts: GraphFacts) -> GraphFacts:  # noqa: ANN401
    """Write what the file says of its graph, in place."""
    runtimes = facts.int8_runtimes or ("onnx",)
    sha256 = parse_onnx(proto.SerializeToString(), Path("model.onnx")).sha256
    facts = dataclasses.replace(facts, is_int8=True, int8_runtimes=runtimes, sha256=sha256)
    for entry in proto.metadata_props:
        if entry.key in (GRAPH_KEY, PRECISION_KEY):
            entry.value = facts.to_json() if entry.key == GRAPH_KEY else "int8"
    return facts


def _in_openvino(
    proto: Any,  # noqa: ANN401
    facts: GraphFacts,
    check: Callable[[Graph], Difference],
) -> Difference | str | None:
    """Compare a graph in OpenVINO, too; give why it fails there, or None without OpenVINO."""
    if not OPENVINO.is_installed:
        return None
    with TemporaryDirectory() as folder:
        file = Path(folder) / "quantised.onnx"
        file.write_bytes(proto.SerializeToString())
        try:
            return check(OpenVinoGraph(file, facts))
        except (ExportError, CheckpointError) as error:
            return str(error)


def quantised_graph(
    proto: Any,  # noqa: ANN401
    nodes: Sequence[str],
    tiles: Sequence[NDArray[np.float32]],
    *,
    keep_activations: bool = False,
) -> Any:  # noqa: ANN401
    """Give a graph with some of its nodes in 8 bits, their ranges measured on tiles.

    Args:
        proto: An ``onnx.ModelProto`` with float32 weights.
        nodes: Names of convolutions, of their activations and of sums.
        tiles: Inputs of the graph.
        keep_activations: Leave activations in the graph that rounding to bytes makes superfluous,
            because a byte cannot go below 0. Needed if some of the roundings are taken out again.

    Returns:
        Another ``onnx.ModelProto``, with the same metadata.
    """
    onnx = ONNX.load()
    tools: Any = ONNX_RUNTIME.load(".quantization")
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    with TemporaryDirectory() as folder, _only_errors():
        # Older versions of ONNX Runtime lose the weights of a graph in memory.
        given, written = (Path(folder) / name for name in ("float32.onnx", "quantised.onnx"))
        given.write_bytes(proto.SerializeToString())
        tools.quantize_static(
            str(given),
            str(written),
            _Reader(tiles),
            op_types_to_quantize=["Conv", "Clip", "Relu", "Add"],
            nodes_to_quantize=list(nodes),
            per_channel=True,
            # What VNNI multiplies: bytes without a sign by bytes with one.
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            extra_options={
                "WeightSymmetric": True,
                "QDQKeepRemovableActivations": keep_activations,
            },
        )
        small = onnx.load(str(written))
    remove_unused(small)
    used = {node.domain for node in small.graph.node}
    opsets = [entry for entry in small.opset_import if entry.domain in used]
    del small.opset_import[:], small.metadata_props[:], small.graph.value_info[:]
    small.opset_import.extend(opsets)
    for name, text in metadata.items():
        small.metadata_props.add(key=name, value=text)
    small.producer_name, small.producer_version = proto.producer_name, proto.producer_version
    return small


class _Reader:
    """Hands tiles to the calibration one by one."""

    def __init__(self, tiles: Sequence[NDArray[np.float32]]) -> None:
        self._left = iter(tiles)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Give the next input of the graph; None: there is none left."""
        tile = next(self._left, None)
        return None if tile is None else {INPUT: tile}


@contextmanager
def _only_errors() -> Iterator[None]:
    """Keep advice to developers of networks away from those who use them."""
    library: Any = ONNX_RUNTIME.load()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    library.set_default_logger_severity(3)
    try:
        yield
    finally:
        logging.disable(before)
        library.set_default_logger_severity(2)
