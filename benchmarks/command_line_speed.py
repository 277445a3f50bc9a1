"""CPU time until a mistake or a help text is shown: python benchmarks/command_line_speed.py.

Each command line runs in a new process, three times; the least time counts (what other programs on
the machine cost is no part of it). The limit of a mistake is 0.5 s.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT_S = 0.5
COMMAND_LINES = (
    "-h",
    "predict -h",
    "train -h",
    "benchmark accuracy -h",
    "predict gone.tif after.tif --model baseline:ir_mad --out result",
    "predict before.tif after.tif --model modle --out result",
    "predict before.tif after.tif --out result",
    "predict before.tif after.tif --model pyramid_small_clcd --out full",
    "predict before.tif after.tif --model pyramid_small_clcd --out result --aoi 1,2,3",
    "train pyramid_smal --data data --out run",
    "train --data data --out run --set training.epcohs=3",
    "train --data data --out run --set model.distance=l3",
    "train --data gone --out run",
    "evaluate pyramid_small_clcd --data gone --out evaluation",
    "evaluate pyramid_small_clcd --data data --out full",
    "calibrate pyramid_small_clcd new.safetensors --data gone",
    "ensemble pyramid_small_clcd modle --out new.safetensors",
    "ablate dasnet_v3 --data data --out ablation",
    "ablate --data data --out ablation --rows v2_l3",
    "benchmark accuracy modle --data data --out accuracy",
    "benchmark gsd modle --data data --out curve",
    "benchmark speed modle --out new",
    "benchmark speed pyramid_small_clcd --out new --sizes 8",
    "benchmark speed pyramid_small_clcd --out new --runtime onnx",
    "predict before.tif after.tif --model pyramid_small_clcd --out result --runtime onnx",
    "predict before.tif after.tif --model pyramid_small_clcd --out result --precision bf16",
    "describe modle new.safetensors --data data",
    "export modle --out new.onnx",
    "demo --out full",
    "convert gone.pth new.safetensors",
    "info modle",
    "models",
    "recipes",
)


def cpu_seconds(words: list[str], *, folder: Path) -> float:
    """CPU time of one run, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "changedet", *words], cwd=folder, capture_output=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> int:
    """Print the times; 1 if one is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    slow = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("full", "data/train/A", "data/train/B", "data/train/label"):
            (folder / part).mkdir(parents=True)
        for file in ("before.tif", "after.tif", "full/letter.txt"):
            (folder / file).touch()
        for line in COMMAND_LINES:
            seconds = min(cpu_seconds(line.split(), folder=folder) for _ in range(runs))
            slow += seconds > LIMIT_S
            print(f"{seconds:.2f} s  changedet {line}", flush=True)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
