"""Speed of training steps and inference, and how close they come to the limits of the card."""

from typing import Any

import torch

from gpu.job import Job
from gpu.networks import Precision, make_bench
from gpu.timing import flop_of, measure

_RECIPES = (
    "pyramid_small",
    "pyramid_large",
    "dasnet_v2_l2",
    "dasnet_v2_cosine model.attention=none",
)
_SIDE_PX = 256
_BATCHES = {
    "pyramid_small": (8, 64),
    "pyramid_large": (16, 64),
    "dasnet_v2_l2": (4, 16),
    "dasnet_v2_cosine model.attention=none": (4, 16),
}
#: Seconds that a case takes at most, about; what does not fit is left out.
_CASE_S = 6.0


def main(job: Job) -> None:
    """Measure the card, then every network."""
    device = device_of(job)
    results: dict[str, Any] = {"card": card_facts(device)}
    results["ceiling_bf16_tflops"] = matmul_tflops(device, side=512 if _is_tiny(job) else 8192)
    results["copy_gb_per_s"] = _copy_gb_per_s(device, mib=8 if _is_tiny(job) else 2048)
    results["cases"] = []
    job.save(results)
    # What is asked about most first: bf16, the batches of the recipes.
    precisions: tuple[Precision, ...] = ("bf16", "fp32")
    for precision in precisions:
        for large in (False, True):
            for recipe in _RECIPES:
                if job.left_s < _CASE_S * (0.2 if _is_tiny(job) else 1.0):
                    results["left_out"] = "the time was up before all cases were measured"
                    job.save(results)
                    return
                batch = 1 if _is_tiny(job) else _BATCHES[recipe][large]
                case = _measure(job, recipe, batch, precision=precision, device=device)
                results["cases"].append(case)
                job.save(results)


def device_of(job: Job) -> torch.device:
    """Where to compute."""
    if job.device != "auto":
        return torch.device(job.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def card_facts(device: torch.device) -> dict[str, Any]:
    """Name and software of the device."""
    facts: dict[str, Any] = {"device": str(device), "torch": torch.__version__}
    if device.type == "cuda":
        facts["name"] = torch.cuda.get_device_name(device)
        facts["memory_gib"] = torch.cuda.get_device_properties(device).total_memory / 2**30
        facts["cuda"] = torch.version.cuda
        facts["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return facts


def _measure(
    job: Job, recipe: str, batch: int, *, precision: Precision, device: torch.device
) -> dict[str, Any]:
    side_px = 64 if _is_tiny(job) else _SIDE_PX
    case: dict[str, Any] = {
        "recipe": recipe,
        "batch": batch,
        "side_px": side_px,
        "precision": precision,
    }
    try:
        bench = make_bench(
            recipe,
            batch=batch,
            side_px=side_px,
            precision=precision,
            device=device,
            is_tiny=_is_tiny(job),
        )
        calls = 2 if _is_tiny(job) else 12
        for name, work in (("train", bench.train), ("infer", bench.infer)):
            timed = measure(work, device, calls=calls, warm_up=min(calls, 5))
            flop = flop_of(work)
            case[name] = {
                "ms": 1e3 * timed.seconds,
                "host_ms": 1e3 * timed.host_seconds,
                "pairs_per_s": batch / timed.seconds,
                "tflops": flop / timed.seconds / 1e12,
                "gflop_per_pair": flop / batch / 1e9,
            }
    except torch.cuda.OutOfMemoryError as error:
        case["fault"] = str(error)[:200]
    if device.type == "cuda":
        case["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return case


def matmul_tflops(device: torch.device, *, side: int) -> float:
    """Best of three rounds of a large product in bfloat16, TFLOP/s."""
    first, second = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(first)

    def work() -> None:
        torch.matmul(first, second, out=out)

    best = min(measure(work, device, calls=20).seconds for _ in range(3))
    return 2.0 * side**3 / best / 1e12


def _copy_gb_per_s(device: torch.device, *, mib: int) -> float:
    """Copy within the device's memory, bytes read and written together."""
    source = torch.empty(mib * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def work() -> None:
        target.copy_(source)

    best = min(measure(work, device, calls=20).seconds for _ in range(3))
    return 2.0 * source.numel() / best / 1e9


def _is_tiny(job: Job) -> bool:
    return job.is_rehearsal
