"""Which layers of a model can be computed in 8 bits, and what that costs and gains.

    OMP_NUM_THREADS=1 python benchmarks/eight_bits.py MODEL.onnx --data FOLDER --json FILE.json
        [--pairs 8] [--rounds 5] [--no-layers]

MODEL.onnx is what `changedet export` wrote. Ranges of values are measured on three quarters of the
pairs, which are evenly spread over the split `train`, and the others are compared:

* layer by layer: each convolution alone in 8 bits (its input, its weights and its result), in ONNX
  Runtime;
* in groups, as `changedet quantise` chooses them (`changedet.export.layers`): which convolutions
  stay in float32, in ONNX Runtime and OpenVINO, with F1 by the labels;
* CPU seconds of a tile for each of these; all take turns, and the least of all rounds counts.
"""

import argparse
import dataclasses
import json
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from changedet.card import ModelCard, read_card
from changedet.export.calibration import Middle, choose_pairs, middles, tiles_seen
from changedet.export.compact import weights_as_numbers
from changedet.export.comparison import Limits, compare
from changedet.export.layers import kept_in_float32, with_activations
from changedet.export.metadata import stored_thresholds
from changedet.export.quantise import quantised_graph
from changedet.inference.graph_scorer import Graph
from changedet.inference.runtimes import OnnxGraph, OpenVinoGraph
from changedet.storage.onnx_file import GraphFacts, read_facts

ANYTHING = Limits(largest_loss=1.0, largest_flipped=1.0)
#: What stays in float32, by the reasons of :func:`kept_in_float32`; the last row adds more layers.
GROUPS: Mapping[str, Collection[str]] = {
    "nothing": (),
    "the last convolution": ("last",),
    "that and those of the image": ("last", "image"),
    "those and the depthwise ones after them": ("last", "image", "first"),
    "those and the ones of both dates (what `quantise` does)": (
        *("last", "image", "first", "dates"),
        *("attention", "weights"),
    ),
}
DECODER = "those and the whole decoder"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gsd", type=float)
    parser.add_argument("--no-layers", action="store_true")
    asked = parser.parse_args()
    card, facts = read_card(asked.model), read_facts(asked.model)
    chosen = choose_pairs(asked.data, card, split="train", count=asked.pairs)
    compared = chosen.pairs[3::4]
    calibrated = [pair for pair in chosen.pairs if pair not in compared]
    tiles = tiles_seen(calibrated, card, facts, gsd_m=asked.gsd)
    shown = tiles_seen(compared, card, facts, gsd_m=asked.gsd)
    proto = onnx.load(str(asked.model))
    weights_as_numbers(proto)
    exact = OnnxGraph(asked.model, facts)
    found: dict[str, Any] = {**of_this_run(asked), "compared_on": len(compared)}
    if not asked.no_layers:
        found["layers"] = layer_by_layer(proto, exact, tiles, shown=shown, card=card)
        asked.json.write_text(json.dumps(found, indent=2) + "\n")
    pairs = list(middles(compared, card, chosen.encoding))
    found["groups"] = in_groups(asked, proto, exact, tiles=tiles, pairs=pairs, tile=shown[0])
    asked.json.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found["groups"], indent=2))


def of_this_run(asked: argparse.Namespace) -> dict[str, Any]:
    """Say what was run on what."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = {word for line in lines if line.startswith("flags") for word in line.split()}
    return {
        "model": asked.model.name,
        "pairs": asked.pairs,
        "rounds": asked.rounds,
        "commit": commit,
        "cpu": names[0] if names else platform.processor(),
        "cpu_flags": sorted(flags & {"avx2", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8"}),
    }


def layer_by_layer(
    proto: onnx.ModelProto,
    exact: Graph,
    tiles: Sequence[NDArray[np.float32]],
    *,
    shown: Sequence[NDArray[np.float32]],
    card: ModelCard,
) -> list[dict[str, Any]]:
    """Compute each convolution alone in 8 bits; the one that changes most comes first."""
    reasons = kept_in_float32(proto)
    names = [node.name for node in proto.graph.node if node.op_type == "Conv"]
    nodes = with_activations(proto, names)
    full = quantised_graph(proto, nodes, tiles, keep_activations=True)
    wanted = [exact.run(tile) for tile in shown]
    thresholds = np.array(stored_thresholds(card, exact.facts.kinds), np.float32)[:, None, None]
    facts = dataclasses.replace(exact.facts, is_int8=True)
    rows = []
    for number, name in enumerate(names, 1):
        graph = OnnxGraph(only(full, name).SerializeToString(), facts)
        given = [graph.run(tile) for tile in shown]
        differences = [np.abs(one - other) for one, other in zip(given, wanted, strict=True)]
        flips = [
            ((one >= thresholds) != (other >= thresholds)).mean()
            for one, other in zip(given, wanted, strict=True)
        ]
        rows.append(
            {
                "layer": name,
                "kept_in_float32_as": reasons.get(name),
                "mean_difference": float(np.mean([one.mean() for one in differences])),
                "largest_difference": float(max(one.max() for one in differences)),
                "flipped_share": float(np.mean(flips)),
            }
        )
        print(f"{number} of {len(names)}: {rows[-1]}", flush=True)
    return sorted(rows, key=lambda row: -row["mean_difference"])


def only(full: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Let one convolution of a graph in 8 bits be so, and all else take values in float32."""
    proto = onnx.ModelProto()
    proto.CopyFrom(full)
    makers = {one: node for node in proto.graph.node for one in node.output}
    raw = {
        node.output[0]: makers[node.input[0]].input[0]
        for node in proto.graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in makers
        and makers[node.input[0]].op_type == "QuantizeLinear"
    }
    (this,) = (node for node in proto.graph.node if node.name == name)
    results = set(this.output)
    for node in proto.graph.node:
        if node.op_type in ("Clip", "Relu") and results & set(node.input):
            results.update(node.output)
    for node in proto.graph.node:
        for place, taken in enumerate(node.input):
            if taken in raw and raw[taken] not in results and node.name != name:
                node.input[place] = raw[taken]
    return proto


def in_groups(
    asked: argparse.Namespace,
    proto: onnx.ModelProto,
    exact: Graph,
    *,
    tiles: Sequence[NDArray[np.float32]],
    pairs: Sequence[Middle],
    tile: NDArray[np.float32],
) -> list[dict[str, Any]]:
    """Compute all but some groups in 8 bits: what that changes in each runtime, and its time."""
    reasons = kept_in_float32(proto)
    names = {node.name for node in proto.graph.node if node.op_type == "Conv"}
    insides = {
        words: {name for name in names if reasons.get(name) not in kept}
        for words, kept in GROUPS.items()
    }
    inside = names - set(reasons)
    insides[DECODER] = {name for name in inside if "encoder" in name}
    card = read_card(asked.model)
    graphs: dict[tuple[str, str], Graph] = {
        ("everything", "onnx"): exact,
        ("everything", "openvino"): OpenVinoGraph(asked.model, exact.facts),
    }
    rows: list[dict[str, Any]] = []
    for words, chosen in insides.items():
        small = quantised_graph(proto, with_activations(proto, chosen), tiles)
        for runtime, graph in opened(small.SerializeToString(), exact.facts).items():
            graphs[words, runtime] = graph
            found = compare(exact, graph, pairs=pairs, card=card, gsd_m=asked.gsd, limits=ANYTHING)
            place = {"in_float32": words, "runtime": runtime, "in_8_bits": len(chosen)}
            rows.append({**place, **found._asdict()})
            print(rows[-1], flush=True)
    seconds = least_seconds({key: graph.run for key, graph in graphs.items()}, tile, asked.rounds)
    for row in rows:
        row["cpu_s"] = seconds[row["in_float32"], row["runtime"]]
    plain = [{"in_float32": "everything", "runtime": name} for name in ("onnx", "openvino")]
    return [*({**row, "cpu_s": seconds["everything", row["runtime"]]} for row in plain), *rows]


def opened(content: bytes, facts: GraphFacts) -> dict[str, Graph]:
    """Open a graph in 8 bits in both runtimes."""
    facts = dataclasses.replace(facts, is_int8=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "small.onnx"
        file.write_bytes(content)
        return {"onnx": OnnxGraph(content, facts), "openvino": OpenVinoGraph(file, facts)}


def least_seconds(
    ways: Mapping[tuple[str, str], Callable[[NDArray[np.float32]], Any]],
    tile: NDArray[np.float32],
    rounds: int,
) -> dict[tuple[str, str], float]:
    """Give the least CPU seconds of a tile; the first round allocates and compiles."""
    least = dict.fromkeys(ways, float("inf"))
    for number in range(rounds + 1):
        for key, run in ways.items():
            begin = time.process_time()
            run(tile)
            if number:
                least[key] = min(least[key], time.process_time() - begin)
    return {key: round(seconds, 4) for key, seconds in least.items()}


if __name__ == "__main__":
    main()
