"""What ``training.compile`` costs and gains: the large recipe's training step."""

import time
from typing import Any

import torch

from gpu.job import Job
from gpu.networks import make_bench
from gpu.speed import card_facts, device_of
from gpu.timing import measure, synchronise


def main(job: Job) -> None:
    """Time the same step without and with it."""
    device = device_of(job)
    batch, side_px = (1, 64) if job.is_rehearsal else (16, 256)
    results: dict[str, Any] = {"card": card_facts(device), "batch": batch}
    for name in ("eager", "compiled"):
        bench = make_bench(
            "pyramid_large",
            batch=batch,
            side_px=side_px,
            precision="bf16",
            device=device,
            is_tiny=job.is_rehearsal,
        )
        if name == "compiled":
            bench.model.compile()
        started = time.perf_counter()
        bench.train()
        synchronise(device)
        first = time.perf_counter() - started
        timed = measure(bench.train, device, calls=2 if job.is_rehearsal else 30)
        results[name] = {
            "first_step_s": first,
            "ms": 1e3 * timed.seconds,
            "host_ms": 1e3 * timed.host_seconds,
            "pairs_per_s": batch / timed.seconds,
        }
        job.save(results)
        if device.type == "cuda":
            torch.cuda.empty_cache()
