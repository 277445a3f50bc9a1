"""Training in one and several processes: pairs per second, and how equal the results are.

    python benchmarks/training_processes.py --out /tmp/processes --processes 1 2 --rounds 2

Generates pairs, then trains the same run under torchrun with one thread for each process. The
speed is that of the batches after the first two, without the start and without validation; runs
take turns, because machines are noisy. Where other programs take turns on the same cores, only the
CPU time says something: that of the first process for each pair of its share. Losses and the
validation are compared with those of one process.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from changedet.synthetic.dataset import write_sample
from changedet.training.callbacks import TrainingCallback
from changedet.training.launch import read_launch
from changedet.training.request import TrainRequest

WARM_UP = 2


class Clock(TrainingCallback):
    """Notes when each batch was done, and how many pairs it had."""

    def __init__(self) -> None:
        self.batches: list[tuple[float, float, int]] = []

    def on_batch(self, progress: object, *, pairs: int) -> None:
        """Note a batch."""
        self.batches.append((time.perf_counter(), time.process_time(), pairs))

    def figures(self, *, processes: int) -> dict[str, float]:
        """Speed and CPU time of the batches after those of the warm-up."""
        first, last = self.batches[WARM_UP - 1], self.batches[-1]
        pairs = sum(pairs for _, _, pairs in self.batches[WARM_UP:])
        return {
            "pairs_per_second": pairs / (last[0] - first[0]),
            "cpu_s_per_pair": (last[1] - first[1]) / (pairs / processes),
        }


def pairs_folder(arguments: argparse.Namespace) -> Path:
    """Give the data set that is trained on."""
    folder: Path = arguments.out / f"pairs_{arguments.pairs}"
    return folder


def work(arguments: argparse.Namespace) -> None:
    """Train as one of the processes; the first one writes how fast it was."""
    from changedet.training.run import run_training

    clock, launch = Clock(), read_launch()
    overrides = (
        "model.encoder_weights=none",
        f"training.batch_size={arguments.batch}",
        "training.epochs=1",
        "training.validate_every=100000",
        "training.max_heatmaps=0",
        "data.test_time=none",
        "training.log_every=1",
        "data.workers=0",
        *arguments.set,
    )
    request = TrainRequest(
        out=arguments.into,
        data=pairs_folder(arguments),
        recipe=arguments.recipe,
        overrides=overrides,
        device=arguments.device,
        mode="overwrite" if arguments.into.exists() else "new",
    )
    run_training(request, callbacks=[clock], launch=launch)
    if launch.is_main:
        figures = clock.figures(processes=launch.world)
        (arguments.out / "figures.json").write_text(json.dumps(figures))


def measure(arguments: argparse.Namespace, processes: int) -> dict[str, float]:
    """Start so many processes and give what the first one wrote."""
    own = [word for word in sys.argv[1:] if word != "--work"]
    run = ["--into", str(arguments.out / f"run_{processes}")]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    subprocess.run(
        [sys.executable, *torchrun, __file__, "--work", *own, *run],
        env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)},
        check=True,
    )
    figures: dict[str, float] = json.loads((arguments.out / "figures.json").read_text())
    return figures


def compare(arguments: argparse.Namespace, processes: int) -> str:
    """Say how the losses and the validation of several processes differ from those of one."""

    def column(number: int, log: str, name: str) -> list[str]:
        with (arguments.out / f"run_{number}" / "logs" / log).open() as file:
            return [row[name] for row in csv.DictReader(file)]

    own, one = (
        [float(loss) for loss in column(number, "train.csv", "loss")] for number in (processes, 1)
    )
    differences = [abs(a - b) / b for a, b in zip(own, one, strict=True)]
    scores = [column(number, "validation.csv", "max_f1")[-1] for number in (processes, 1)]
    return (
        f"{processes} processes against 1, {len(one)} batches: loss of the first differs by "
        f"{differences[0]:.1e}, of any by {max(differences):.1e} at most, on average by "
        f"{statistics.mean(differences):.1e} (relative); max-F1 {scores[0]} against {scores[1]}"
    )


def main() -> None:
    """Generate, let numbers of processes take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--processes",
        type=int,
        nargs="+",
        default=[1, 2],
        help="Numbers of processes; one is always among them, to which the others are compared.",
    )
    parser.add_argument("--recipe", default="pyramid_small")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--work", action="store_true")
    parser.add_argument("--into", type=Path)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments)
        return
    if arguments.pairs <= WARM_UP * arguments.batch:
        parser.error(f"--pairs must be more than {WARM_UP} batches ({WARM_UP * arguments.batch})")
    if not pairs_folder(arguments).is_dir():
        write_sample(pairs_folder(arguments), train=arguments.pairs, val=4, test=1)
    found: dict[int, list[dict[str, float]]] = {
        number: [] for number in sorted({1, *arguments.processes})
    }
    for number in range(arguments.rounds):
        for processes in found:
            figures = measure(arguments, processes)
            found[processes].append(figures)
            print(f"round {number + 1}, {processes} processes: {figures}", flush=True)
    for processes, own in found.items():
        for name in own[0]:
            values = [figures[name] for figures in own]
            ratios = [a / figures[name] for a, figures in zip(values, found[1], strict=True)]
            print(
                f"{processes} processes: {name} {statistics.median(values):.4g}, "
                f"{statistics.median(ratios):.3f} times that of one"
            )
    for processes in found:
        if processes != 1:
            print(compare(arguments, processes))


if __name__ == "__main__":
    main()
