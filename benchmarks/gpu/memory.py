"""GPU memory of a training with and without attention at a batch size of 4, peak and average.

The DASNet-V2 document states 9 against 7.5 GB on average but not how this was measured. Three
figures are therefore given: the memory of tensors, the memory reserved by PyTorch's allocator, and
the memory in use according to the card, as in nvidia-smi: the process with its kernels and all
reserved memory.
"""

import threading
import time
from typing import Any

import torch

from gpu.job import Job
from gpu.networks import Precision, make_bench
from gpu.speed import card_facts, device_of
from gpu.timing import synchronise

_RECIPES = ("dasnet_v2_l2", "dasnet_v2_l2_no_attention")
_BATCH = 4
_SIDE_PX = 256
_SECONDS = 5.0


def main(job: Job) -> None:
    """Measure both recipes in both precisions."""
    device = device_of(job)
    results: dict[str, Any] = {"card": card_facts(device), "cases": []}
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        for recipe in _RECIPES:
            case = _measure(job, recipe, precision=precision, device=device)
            results["cases"].append(case)
            job.save(results)


def _measure(
    job: Job, recipe: str, *, precision: Precision, device: torch.device
) -> dict[str, Any]:
    is_tiny = job.is_rehearsal
    bench = make_bench(
        recipe,
        batch=_BATCH,
        side_px=64 if is_tiny else _SIDE_PX,
        precision=precision,
        device=device,
        is_tiny=is_tiny,
    )
    seconds = 0.5 if is_tiny else _SECONDS
    for _ in range(3):
        bench.train()
    synchronise(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    sampler = _Sampler(device)
    steps, ends = 0, time.monotonic() + seconds
    with sampler:
        while time.monotonic() < ends:
            bench.train()
            # As in training, where the losses of every few batches are looked at.
            steps += 1
            if steps % 20 == 0:
                synchronise(device)
    case = {"recipe": recipe, "batch": _BATCH, "precision": precision, "steps": steps}
    case |= sampler.figures()
    del bench
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return case


class _Sampler(threading.Thread):
    """Looks at the memory every millisecond, from a thread of its own."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(daemon=True)
        self._device = device
        self._stop_asked = threading.Event()
        self._sums = [0.0, 0.0, 0.0]
        self._most = [0.0, 0.0, 0.0]
        self._count = 0

    def __enter__(self) -> "_Sampler":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_asked.set()
        self.join()

    def run(self) -> None:
        """Look until told to stop."""
        if self._device.type != "cuda":
            return
        while not self._stop_asked.wait(0.001):
            free, total = torch.cuda.mem_get_info(self._device)
            seen = (
                torch.cuda.memory_allocated(self._device),
                torch.cuda.memory_reserved(self._device),
                total - free,
            )
            self._sums = [a + b for a, b in zip(self._sums, seen, strict=True)]
            self._most = [max(a, b) for a, b in zip(self._most, seen, strict=True)]
            self._count += 1

    def figures(self) -> dict[str, Any]:
        """Averages and peaks in GB (1e9 bytes); the peak of the tensors is PyTorch's own count."""
        if not self._count:
            return {"samples": 0}
        names = ("allocated", "reserved", "in_use")
        figures: dict[str, Any] = {"samples": self._count}
        for name, total, most in zip(names, self._sums, self._most, strict=True):
            figures[f"{name}_average_gb"] = total / self._count / 1e9
            figures[f"{name}_peak_gb"] = most / 1e9
        figures["allocated_peak_gb"] = torch.cuda.max_memory_allocated(self._device) / 1e9
        return figures
