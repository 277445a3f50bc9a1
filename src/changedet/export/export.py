"""Export a model file: its network as ONNX, checked against PyTorch before anything is written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

from changedet.errors import ConfigError
from changedet.export.compact import store_whole_numbers
from changedet.export.graph import StoredToScores, count_operations, make_graph, tile_of
from changedet.export.metadata import describe_graph
from changedet.export.padding import pad_in_convolutions
from changedet.export.parity import check_parity
from changedet.export.request import ExportReport, check_export, item_path
from changedet.export.stac_item import make_item
from changedet.inference.runtimes import OnnxGraph
from changedet.inference.views import views
from changedet.model_search import find_model
from changedet.models.model_file import load_model
from changedet.storage.atomic import write_bytes, write_text
from changedet.storage.onnx_file import GraphFacts, parse_onnx

if TYPE_CHECKING:
    from pathlib import Path

    from changedet.card import ModelCard
    from changedet.storage.output_folder import Existing
    from changedet.types import Precision


def export_model(
    model: str | Path,
    out: str | Path,
    *,
    kind: str | None = None,
    existing: Existing = "refuse",
) -> ExportReport:
    """Write a model file as ONNX, with a STAC Item beside it.

    The graph has one input ``image``, float32 (B, 2 C, H, W): stored values, the bands of the
    earlier date first; and one output ``score``, float32 (B, K, H, W) in [0, 1], for K kinds of
    change. Normalisation is part of it. Batch, height and width are free, in multiples of the
    network's stride; a network with attention or means over a tile keeps the tile of its training.
    The card is in the metadata. Temperatures, test-time views, resampling and blending are done
    around the graph, by whoever predicts with it.

    Args:
        model: A model file, the folder of a training run, or the name of a model.
        out: The file to write, ending in ``.onnx``.
        kind: The only kind of change that is to be scored, of those that the model tells apart;
            None: all. Of an ensemble, only the members that know it are exported.
        existing: What to do if it or the item is there: ``refuse``, ``replace``.

    Raises:
        ConfigError: If the place is not free, the model does not know the kind, or test-time views
            need tiles of sizes that the graph
            does not take.
        CheckpointError: If the model file cannot be used.
        ExportError: If a part of the network has no counterpart in ONNX, or the graph does not give
            its scores; then nothing is written.
        MissingExtraError: If onnx or ONNX Runtime is not installed.
        StorageError: If the files cannot be written.
    """
    path = find_model(model)
    out = check_export(path, out, kind=kind, existing=existing)
    network, card = load_model(path)
    index = None if kind is None else card.kind_index(kind)
    if index is not None:
        card = dataclasses.replace(card.for_kind(kind), kinds=(card.kinds[index],))
    tile_px = tile_of(network, card)
    _check_views(card, tile_px, path=path)
    wrapped = StoredToScores(network, card, kind=index).eval()
    proto = make_graph(wrapped, tile_px=tile_px)
    pad_in_convolutions(proto)
    # Of the stored weights: everything is computed in float32.
    precision: Precision = "int8" if store_whole_numbers(proto) else "float32"
    facts = GraphFacts(
        stride=network.stride,
        fixed_tile=network.fixed_tile,
        sha256=parse_onnx(proto.SerializeToString(), out).sha256,
        channels=2 * network.in_channels,
        kinds=len(wrapped.kinds),
        height=tile_px,
        width=tile_px,
        gflop=count_operations(wrapped, tile_px=tile_px),
    )
    parameters = network.parameter_count
    texts = describe_graph(card, facts, parameters=parameters, precision=precision)
    for name, text in texts.items():
        proto.metadata_props.add(key=name, value=text)
    content = proto.SerializeToString()
    parity = check_parity(wrapped, OnnxGraph(content, facts), card, name=str(path))
    item = make_item(
        card,
        facts,
        file_name=out.name,
        size_bytes=len(content),
        file_sha256=hashlib.sha256(content).hexdigest(),
        parameters=parameters,
    )
    write_bytes(out, content)
    write_text(item_path(out), json.dumps(item, indent=2) + "\n")
    return ExportReport(
        out=out,
        item=item_path(out),
        size_bytes=len(content),
        tile_px=tile_px,
        stride=network.stride,
        **parity._asdict(),
    )


def _check_views(card: ModelCard, tile_px: int | None, *, path: Path) -> None:
    if tile_px is None or all(view.scale == 1.0 for view in views(card.test_time)):
        return
    raise ConfigError(
        f"{path} averages test-time views of other sizes ({card.test_time}), and its graph takes "
        f"tiles of {tile_px} px only; choose other views with a threshold for them first: "
        f"`changedet calibrate`, `test_time=flips`"
    )
