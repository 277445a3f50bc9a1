"""Time of one pair in each runtime, and how many pixels of the mask differ.

    python benchmarks/runtimes.py MODEL.safetensors MODEL.onnx [--int8 INT8.onnx]
        [--pairs BEFORE AFTER] [--rounds 10]

MODEL.onnx is what `changedet export` wrote from MODEL.safetensors, INT8.onnx what `changedet
quantise` wrote from that. The runtimes take turns, so that what else the machine does slows down
all of them alike; each time is the least one of all rounds, in CPU seconds of the process. Pairs
are those of the folders BEFORE and AFTER, or else generated, 512 px, with values like those of the
training.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changedet.card import ModelCard, read_card
from changedet.data.images import read_image
from changedet.export.parity import generated_pair
from changedet.inference.detector import load
from changedet.inference.memory import keep_freed_memory
from changedet.inference.scorer import Scorer
from changedet.storage.onnx_file import stated_facts
from changedet.types import Arithmetic, Runtime

_SIDE_PX = 512
_WAYS: tuple[tuple[str, Runtime, Arithmetic], ...] = (
    ("torch", "torch", "float32"),
    ("onnx", "onnx", "float32"),
    ("openvino", "openvino", "float32"),
    ("openvino bf16", "openvino", "bf16"),
)


def open_all(model: str, exported: str, quantised: str | None) -> dict[str, Scorer]:
    """Open the model in every runtime, without test-time views."""
    ways = [
        (name, model if runtime == "torch" else exported, runtime, precision)
        for name, runtime, precision in _WAYS
    ]
    if quantised is not None:
        ways += [("onnx int8", quantised, "onnx", "float32")]
        # OpenVINO refuses a file whose scores it was not found to give.
        if "openvino" in (stated_facts(Path(quantised)).int8_runtimes or ("openvino",)):
            ways += [("openvino int8", quantised, "openvino", "float32")]
    return {
        name: load(
            path, device="cpu", test_time="none", runtime=runtime, precision=precision
        ).scorer
        for name, path, runtime, precision in ways
    }


def read_pairs(
    folders: tuple[Path, Path] | None, card: ModelCard, *, count: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Give both dates of some pairs, stored values, (H, W, C)."""
    channels = len(card.normalisation.mean_before)
    if folders is None:
        for seed in range(count):
            stored = generated_pair(card, (1, _SIDE_PX, _SIDE_PX), seed=seed)[0]
            before, after = np.split(stored.transpose(1, 2, 0), [channels], axis=-1)
            yield before, after
        return
    first, second = folders
    for path in sorted(first.iterdir())[:count]:
        yield (
            read_image(path, channels=channels),
            read_image(second / path.name, channels=channels),
        )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("exported")
    parser.add_argument("--int8")
    parser.add_argument("--pairs", type=Path, nargs=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    keep_freed_memory("cpu")
    scorers = open_all(asked.model, asked.exported, asked.int8)
    card = read_card(asked.model)
    times: dict[str, list[float]] = {name: [] for name in scorers}
    same: dict[str, list[float]] = {name: [] for name in scorers}
    threshold = card.threshold if card.threshold is not None else 0.5
    for before, after in read_pairs(asked.pairs, card, count=asked.rounds + 1):
        reference = None
        for name, scorer in scorers.items():
            begin = time.process_time()
            score = scorer.score([before], [after])
            times[name].append(time.process_time() - begin)
            mask = score >= threshold
            reference = mask if reference is None else reference
            same[name].append(float((mask == reference).mean()))
    # The first round allocates and compiles.
    least = {name: min(values[1:]) for name, values in times.items()}
    rows = {
        name: {
            "cpu_s": round(seconds, 4),
            "of_torch": round(seconds / least["torch"], 3),
            "same_mask": round(float(np.mean(same[name])), 6),
        }
        for name, seconds in least.items()
    }
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"one pair, the least of {asked.rounds} rounds")
    for name, row in rows.items():
        print(
            f"{name:14} {row['cpu_s']:8.3f} s  {row['of_torch']:5.2f} of torch  "
            f"{100 * row['same_mask']:9.4f} % of the mask as in torch"
        )


if __name__ == "__main__":
    main()
