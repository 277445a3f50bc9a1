"""CPU time from file to file of this package and of what is used instead, with the same network.

    sh benchmarks/others/install.sh ENVIRONMENTS
    git worktree add --detach OLD 59bc17a
    OMP_NUM_THREADS=1 python benchmarks/others/compare.py MODEL.safetensors --onnx MODEL.onnx \
        --environments ENVIRONMENTS --old OLD --work WORK --size 2048 --rounds 3

A pair of generated scenes (``changedet benchmark speed`` uses the same) is scored in tiles of
512 px that share 128, without test-time views. Every way is a new process, and all take turns, so
that what else the machine does slows all of them alike; the CPU seconds of the process and its
children count, median and least. Ways whose environment is missing, or that fail, are left out,
with a message.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypeAlias

import numpy as np
import rasterio
from numpy.typing import NDArray

HERE = Path(__file__).parent
OLD = "commit 59bc17a"
#: Words, and environment variables.
Command: TypeAlias = tuple[list[str], dict[str, str]]
TILES = ("--tile", "512", "--overlap", "128", "--test-time", "none", "--overwrite")


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="model file of this package (.safetensors)")
    parser.add_argument("--onnx", type=Path, help="what changedet export wrote from it")
    parser.add_argument("--environments", type=Path, help="folder of install.sh")
    parser.add_argument("--old", type=Path, help="worktree of the commit to compare with")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="+", help="names of ways")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    # Every way runs in a folder of its own.
    for name in ("model", "onnx", "environments", "old", "work"):
        if getattr(asked, name) is not None:
            setattr(asked, name, getattr(asked, name).resolve())
    asked.work.mkdir(parents=True, exist_ok=True)
    scene = prepare(asked.model, asked.work, asked.size)
    ways = {
        name: words
        for name, words in commands(asked, scene).items()
        if asked.only is None or name in asked.only
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(asked.rounds):
        for name in list(ways):
            seconds, fault = cpu_seconds(*ways[name])
            if fault is None:
                found[name].append(seconds)
                print(f"round {number}: {name:22} {seconds:7.1f} CPU s", flush=True)
            else:
                print(f"{name}: left out, it failed: {fault}", file=sys.stderr, flush=True)
                del ways[name]
            if asked.json:
                asked.json.write_text(json.dumps({"cpu_s": found}, indent=2) + "\n")
    found = {name: times for name, times in found.items() if times}
    alike = agreement(asked.work, list(found))
    print_table(found, alike)
    if asked.json:
        figures = {"size_px": asked.size, "cpu_s": found, "mask_as_torch": alike}
        asked.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def print_table(found: dict[str, list[float]], alike: dict[str, float]) -> None:
    """Print median and least CPU seconds, the median over that of the old commit, and agreement."""
    print(f"{'way':22} {'median':>8} {'least':>8} {'of old':>8} {'as torch':>10}")
    base = statistics.median(found[OLD]) if OLD in found else None
    for name, times in found.items():
        middle = statistics.median(times)
        share = "" if base is None else f"{middle / base:.2f}"
        same = f"{alike[name]:.3%}" if name in alike else ""
        print(f"{name:22} {middle:8.1f} {min(times):8.1f} {share:>8} {same:>10}")


def agreement(work: Path, names: list[str]) -> dict[str, float]:
    """Give the share of pixels where each way's mask is that of `torch`, (0, 1]."""
    if "torch" not in names:
        return {}
    wanted = read_mask(work / "out_torch" / "mask.tif")
    return {name: float((read_mask(mask_of(work, name)) == wanted).mean()) for name in names}


def mask_of(work: Path, name: str) -> Path:
    """Find the mask that a way made."""
    if name == "plain script":
        return work / "plain_mask.tif"
    folder = "out_old" if name == OLD else "out_" + name.replace(" ", "_")
    return max((work / folder).glob("*mask*.tif"), key=lambda file: file.stat().st_mtime)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read where a mask says changed, (H, W)."""
    with rasterio.open(path) as raster:
        return np.asarray(raster.read(1) == 1)


def prepare(model: Path, work: Path, size: int) -> dict[str, Path]:
    """Write the scenes, a raster that stacks them, and the network as TorchScript.

    In a process of its own, whose CPU time counts for nobody.
    """
    files = {name: work / name for name in ("before.tif", "after.tif", "stack.tif", "network.pt")}
    facts = work / "facts.json"
    if not (facts.is_file() and json.loads(facts.read_text())["size"] == size):
        words = [sys.executable, str(HERE / "prepare.py"), str(model), str(work), str(size)]
        subprocess.run(words, check=True)
    files["facts"] = facts
    return files


def commands(asked: argparse.Namespace, scene: dict[str, Path]) -> dict[str, Command]:
    """Give each way's command line and environment variables; what is not there is left out."""
    pair = [str(scene["before.tif"]), str(scene["after.tif"])]
    threshold = str(json.loads(scene["facts"].read_text())["threshold"])
    source = HERE.parents[1] / "src"

    def ours(name: str, *more: str, model: Path = asked.model, path: Path = source) -> Command:
        words = [sys.executable, "-m", "changedet", "predict", *pair, "--model", str(model)]
        out = str(asked.work / f"out_{name}")
        return [*words, "--out", out, *TILES, *more], {"PYTHONPATH": str(path)}

    script = [str(HERE / "plain_script.py"), str(scene["network.pt"]), *pair]
    ways = {
        "torch": ours("torch"),
        "plain script": (
            [sys.executable, *script, str(asked.work / "plain.tif"), threshold],
            {},
        ),
    }
    if asked.onnx:
        for name, *more in (
            ("onnx", "--runtime", "onnx"),
            ("openvino", "--runtime", "openvino"),
            ("openvino bf16", "--runtime", "openvino", "--precision", "bf16"),
        ):
            ways[name] = ours(name.replace(" ", "_"), *more, model=asked.onnx)
    if asked.old:
        # It does not read the cards of today: it takes the file of that name that it came with.
        beside = asked.old / "models" / asked.model.name
        ways[OLD] = ours("old", path=asked.old / "src", model=beside)
    for name in ("geoai", "geo_inference"):
        python = (asked.environments or Path("missing")) / name / "bin" / "python"
        if python.is_file():
            out = asked.work / f"out_{name}"
            words = [str(python), str(HERE / f"{name}_script.py"), str(scene["network.pt"])]
            ways[name] = ([*words, str(scene["stack.tif"]), str(out), threshold], {})
        else:
            print(f"{name}: left out, it is not installed (install.sh)", file=sys.stderr)
    return ways


def cpu_seconds(words: list[str], variables: dict[str, str]) -> tuple[float, str | None]:
    """Run a command; give the CPU seconds of all its processes, and why it failed, if it did."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            words,
            env={**os.environ, **variables},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    if done.returncode == 0:
        return seconds, None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return seconds, lines[-1][:300] if lines else f"status {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
