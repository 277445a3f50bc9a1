"""Compute most of an exported model in 8 bits, with ranges of values measured on pairs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from changedet._optional import ONNX, ONNX_RUNTIME
from changedet.card import PRECISION_KEY, read_card, read_parameter_count
from changedet.errors import ConfigError, DataError, ExportError
from changedet.export.calibration import choose_pairs, tiles_seen
from changedet.export.compact import store_whole_numbers, weights_as_numbers
from changedet.export.layers import layers_in_8_bits
from changedet.export.metadata import stored_thresholds
from changedet.export.padding import remove_unused
from changedet.export.quantise_request import (
    LARGEST_FLIPPED,
    PAIRS,
    QuantisationReport,
    QuantisationRequest,
    check_quantisation,
)
from changedet.export.request import item_path
from changedet.export.stac_item import make_item
from changedet.inference.runtimes import OnnxGraph
from changedet.model_search import find_model
from changedet.storage.atomic import write_bytes, write_text
from changedet.storage.onnx_file import GRAPH_KEY, INPUT, parse_onnx, read_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from changedet.card import ModelCard
    from changedet.inference.graph_scorer import Graph
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
    largest_flipped: float = LARGEST_FLIPPED,
    existing: Existing = "refuse",
) -> QuantisationReport:
    """Write an exported model whose layers are computed in 8 bits, but for the sensitive ones.

    Static quantisation (Jacob et al. 2018): weights become int8 with a step for each output
    channel, values between the layers uint8 with a range that is measured on pairs. Layers that
    most of the error comes from stay in float32 (:func:`.layers.layers_in_8_bits`). The new file is
    used like the one that it is made from. It is compared with that on pairs that it was not
    calibrated on, and not written if they differ too much.

    Args:
        model: An exported model (``.onnx``), or its name.
        data: Folder of pairs like those that it will see; labels are not needed.
        out: The file to write, ending in ``.onnx``.
        split: Where the pairs are from; not one that figures are reported on.
        pairs: How many, 2 or more. Every fourth one is not calibrated on but compared.
        gsd_m: Their ground sample distance in metres; None: they are not resampled.
        largest_flipped: The share of the pixels, 0 to 1, that may change sides.
        existing: What to do if the file or its description is there: ``refuse``, ``replace``.

    Raises:
        ConfigError: If the model is not an exported one in float32, or something was asked for that
            makes no sense.
        CheckpointError: If the model file cannot be used.
        DataError: If the data set cannot be used.
        ExportError: If the scores in 8 bits are no finite numbers, or too many pixels change sides;
            then nothing is written.
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
        largest_flipped=largest_flipped,
        existing=existing,
    )
    check_quantisation(request)
    path, out = request.model, request.out
    card, facts = read_card(path), read_facts(path)
    chosen = choose_pairs(data, card, split=split, count=pairs)
    compared = chosen[_CHECKED_EVERY - 1 :: _CHECKED_EVERY] or chosen[-1:]
    calibrated = [pair for pair in chosen if pair not in compared]
    if not calibrated:
        raise DataError(f"the split {split!r} of {data} has a single pair; two or more are needed")
    onnx = ONNX.load()
    proto = onnx.load(str(path))
    weights_as_numbers(proto)
    nodes = layers_in_8_bits(proto)
    convolutions = [node.name for node in proto.graph.node if node.op_type == "Conv"]
    inside = [name for name in convolutions if name in set(nodes)]
    if not inside:
        raise ConfigError(
            f"{path} has no layer that could be computed in 8 bits; predict with the file as it is"
        )
    small = _quantised(proto, nodes, tiles_seen(calibrated, card, facts, gsd_m=gsd_m))
    store_whole_numbers(small)
    facts = dataclasses.replace(
        facts, is_int8=True, sha256=parse_onnx(small.SerializeToString(), out).sha256
    )
    for entry in small.metadata_props:
        if entry.key in (GRAPH_KEY, PRECISION_KEY):
            entry.value = facts.to_json() if entry.key == GRAPH_KEY else "int8"
    content = small.SerializeToString()
    difference = _compare(
        OnnxGraph(path, read_facts(path)),
        OnnxGraph(content, facts),
        tiles_seen(compared, card, facts, gsd_m=gsd_m),
        card=card,
        largest_flipped=largest_flipped,
    )
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
        layers=len(convolutions),
        layers_in_8_bits=len(inside),
        calibrated_on=len(calibrated),
        compared_on=len(compared),
        **difference._asdict(),
    )


def _quantised(proto: Any, nodes: Sequence[str], tiles: Sequence[NDArray[np.float32]]) -> Any:  # noqa: ANN401
    """Give the graph with some nodes in 8 bits, their ranges measured on tiles."""
    onnx = ONNX.load()
    tools: Any = ONNX_RUNTIME.load(".quantization")
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    with TemporaryDirectory() as folder, _only_errors():
        written = Path(folder) / "quantised.onnx"
        tools.quantize_static(
            proto,
            str(written),
            _Reader(tiles),
            op_types_to_quantize=["Conv", "Clip", "Relu", "Add"],
            nodes_to_quantize=list(nodes),
            per_channel=True,
            # What VNNI multiplies: bytes without a sign by bytes with one.
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            extra_options={"WeightSymmetric": True},
        )
        small = onnx.load(str(written))
    remove_unused(small)
    used = {node.domain for node in small.graph.node}
    opsets = [entry for entry in small.opset_import if entry.domain in used]
    del small.opset_import[:], small.metadata_props[:]
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


class _Difference(NamedTuple):
    """How far scores in 8 bits are from those in float32, see :class:`QuantisationReport`."""

    largest_difference: float
    mean_difference: float
    flipped_share: float
    agreement: float | None


def _compare(
    exact: Graph,
    small: Graph,
    tiles: Sequence[NDArray[np.float32]],
    *,
    card: ModelCard,
    largest_flipped: float,
) -> _Difference:
    """Measure how scores and mask change; refuse a graph that changes too much of them."""
    kinds = exact.facts.kinds
    thresholds = np.array(stored_thresholds(card, kinds), np.float32)[:, None, None]
    largest, place, differences = -1.0, "", []
    flipped = total = both = either = 0
    for number, tile in enumerate(tiles, 1):
        wanted, given = exact.run(tile), small.run(tile)
        size = f"tile {number} ({tile.shape[-2]} x {tile.shape[-1]} px)"
        if not np.isfinite(given).all():
            raise _failed(
                f"{size} gets scores that are no finite numbers",
                "pairs like those of the training",
            )
        difference = np.abs(given - wanted)
        differences.append(float(difference.mean()))
        if float(difference.max()) > largest:
            _, kind, row, column = np.unravel_index(int(difference.argmax()), difference.shape)
            largest = float(difference.max())
            place = (
                f"scores of kind {kind} differ by up to {largest:.2g}, at row {row}, column "
                f"{column} of {size}"
            )
        first, second = wanted >= thresholds, given >= thresholds
        flipped += int(np.count_nonzero(first != second))
        total += first.size
        both += int(np.count_nonzero(first & second))
        either += int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    share = flipped / total
    if share > largest_flipped:
        raise _failed(
            f"{100 * share:.2g} % of the pixels change sides, and {100 * largest_flipped:.2g} % "
            f"may; {place}",
            "more pairs (`pairs`) or a larger share (`largest_flipped`)",
        )
    return _Difference(
        largest, float(np.mean(differences)), share, 2 * both / either if either else None
    )


def _failed(reason: str, remedy: str) -> ExportError:
    return ExportError(
        f"in 8 bits the model does not give its scores: {reason}; nothing was written: try "
        f"{remedy}, or predict with the model as it is"
    )
