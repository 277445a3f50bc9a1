"""What keeping freed memory gains in training on a CPU.

    python benchmarks/training_memory.py --rounds 5 --steps 3

Training steps of the recipe `pyramid_small` on random crops in two processes: one keeps freed
memory, the other uses the C library's default. They alternate, because machines are noisy; the
result is the ratio of each round.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch

from changedet.inference.memory import keep_freed_memory
from changedet.training.build import build_loss, build_optimizer, build_seeded_model
from changedet.training.config import load_config


def work(how: str, steps: int) -> None:
    """Train when told to on standard input, and answer with seconds, system seconds, peak MiB."""
    if how == "kept":
        keep_freed_memory("cpu")
    config = load_config("pyramid_small", overrides=["model.encoder_weights=none"])
    model = build_seeded_model(config, pretrained=False).to(memory_format=torch.channels_last)
    loss = build_loss(config.loss, config.model, changed_share=0.1)
    optimizer = build_optimizer(config, model)
    generator = torch.Generator().manual_seed(0)
    shape = (config.training.batch_size, 3, config.data.crop_px, config.data.crop_px)
    before, after = (
        torch.randn(shape, generator=generator).to(memory_format=torch.channels_last)
        for _ in range(2)
    )
    label = (torch.rand(shape[0], *shape[2:], generator=generator) < 0.1).byte()
    for _ in sys.stdin:
        started, usage = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss(model(before, after, branches="fused"), label).total.backward()
            optimizer.step()
        spent = resource.getrusage(resource.RUSAGE_SELF)
        seconds = time.perf_counter() - started
        print(seconds, spent.ru_stime - usage.ru_stime, spent.ru_maxrss / 1024, flush=True)


def ask(worker: "subprocess.Popen[str]") -> list[float]:
    """Let a worker do its steps and return its answer."""
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("the worker was started without pipes")
    worker.stdin.write("go\n")
    worker.stdin.flush()
    return [float(value) for value in worker.stdout.readline().split()]


def main() -> None:
    """Let both take turns and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--work", choices=["kept", "returned"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.steps)
        return
    command = [sys.executable, __file__, "--steps", str(options.steps), "--work"]
    workers = {
        how: subprocess.Popen(
            [*command, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for how in ("returned", "kept")
    }
    ratios = []
    for number in range(options.rounds + 1):
        seconds = {}
        for how, worker in workers.items():
            whole, system, peak = ask(worker)
            seconds[how] = whole
            print(f"{number} {how}: {whole:.2f} s, {system:.2f} s in the system, {peak:.0f} MiB")
        if number:  # the first round warms both up
            ratios.append(seconds["returned"] / seconds["kept"])
    for worker in workers.values():
        worker.communicate()
    print(f"speed-up, median of {len(ratios)}: {statistics.median(ratios):.2f}")
    print(f"range: {min(ratios):.2f} to {max(ratios):.2f}; threads {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
