"""CPU time of everything around the network: `changedet predict` with a graph that does nothing.

    OMP_NUM_THREADS=1 python benchmarks/engine.py --work FOLDER [--sizes 2048 8192] [--rounds 3]
        [--old WORKTREE]

The graph's score is the mean difference of both dates, blurred over 5 x 5 pixels, in ONNX Runtime.
Each run is a new process, from two GeoTIFFs of 8 bit to mask, scores, polygons and preview, with
tiles of 512 px that share 128; its CPU seconds count, imports included. Sizes (and commits, with
`--old`) take turns. The products of both commits are compared byte by byte.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from changedet.card import ModelCard
from changedet.export.metadata import describe_graph
from changedet.speed.scenes import write_scenes
from changedet.storage.onnx_file import GraphFacts, parse_onnx
from changedet.types import CDD_NORMALISATION

SOURCE = Path(__file__).parents[1] / "src"
PRODUCTS = ("mask.tif", "score.tif", "preview.png")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--old", type=Path, help="worktree of a commit to compare with")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    card = ModelCard(
        "siamese_pyramid", {"encoder": "none"}, CDD_NORMALISATION, tile_px=512, threshold=0.3
    )
    model = write_graph(asked.work / "trivial.onnx", card)
    sources = {"here": SOURCE} | ({"old": asked.old / "src"} if asked.old else {})
    found: dict[str, list[float]] = {}
    for number in range(asked.rounds):
        for size in asked.sizes:
            scene = asked.work / str(size)
            if not scene.is_dir():
                scene.mkdir()
                write_scenes(scene, size, card)
            for name, source in sources.items():
                key = f"{name}, {size} px"
                found.setdefault(key, []).append(
                    cpu_seconds(model, scene, source, out=scene / name)
                )
                print(f"round {number}: {key}: {found[key][-1]:.1f} CPU s", flush=True)
            for product in PRODUCTS if asked.old else ():
                files = [(scene / name / product).read_bytes() for name in sources]
                same = "the same" if files[0] == files[1] else "DIFFERENT"
                print(f"{size} px, {product}: {same}", flush=True)
    print(json.dumps({key: round(statistics.median(one), 1) for key, one in found.items()}))


def write_graph(path: Path, card: ModelCard) -> Path:
    """Write the mean difference of three bands as an exported model."""
    nodes = [
        helper.make_node("Split", ["image"], ["before", "after"], axis=1),
        helper.make_node("Sub", ["after", "before"], ["change"]),
        helper.make_node("Abs", ["change"], ["size"]),
        helper.make_node("ReduceMean", ["size"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "factor"], ["sharp"]),
        helper.make_node("AveragePool", ["sharp"], ["score"], kernel_shape=[5, 5], pads=[2] * 4),
    ]
    sides = ["height", "width"]
    graph = helper.make_graph(
        nodes,
        "difference",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 6, *sides])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 1, *sides])],
        [numpy_helper.from_array(np.array(1 / 255, np.float32), "factor")],
    )
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    sha256 = parse_onnx(proto.SerializeToString(), path).sha256
    facts = GraphFacts(stride=32, fixed_tile=False, sha256=sha256, channels=6, kinds=1)
    for name, text in describe_graph(card, facts, parameters=0, precision="float32").items():
        proto.metadata_props.add(key=name, value=text)
    path.write_bytes(proto.SerializeToString())
    return path


def cpu_seconds(model: Path, scene: Path, source: Path, *, out: Path) -> float:
    """Predict a scene in a new process; give the CPU seconds of it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [
            *(sys.executable, "-m", "changedet", "predict"),
            *(str(scene / "before.tif"), str(scene / "after.tif")),
            *("--model", str(model), "--runtime", "onnx", "--out", str(out), "--overwrite"),
            *("--tile", "512", "--overlap", "128", "--test-time", "none"),
        ],
        env={**os.environ, "PYTHONPATH": str(source)},
        check=True,
        capture_output=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
