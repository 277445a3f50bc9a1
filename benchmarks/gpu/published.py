"""What this package gains over the way in which the public DASNet code trains and predicts.

The same network, the same weights, the same batches: once as :mod:`gpu.published_network` computes
it, once as the package does. Both take turns. Goals on a large card: training four times as fast,
inference six times, at 35 % of the rate of a bfloat16 product, with 60 % of the memory.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from changedet.metrics.counter import ScoreCounter
from changedet.training.build import build_loss, build_optimizer, build_seeded_model
from changedet.training.config import ExperimentConfig, load_config
from gpu.job import Job
from gpu.published_network import PublishedNetwork, published_counts, published_loss
from gpu.speed import card_facts, device_of, matmul_tflops
from gpu.timing import flop_of, measure

_RECIPE = "dasnet_v2_l2"
_TINY = ("model.encoder=test_efficientnet", "model.head_width=16")
#: Of changed pixels, in the labels and in the loss.
SHARE = 0.1
#: Batch of the recipe, whose memory is compared, and one that fills a card for inference.
_TRAIN_BATCH, _INFER_BATCH = 4, 16
_ROUNDS = 5
_GOALS = {"train": 4.0, "infer": 6.0, "of_ceiling": 0.35, "memory": 0.6}

Work = Callable[[], None]


class Case(NamedTuple):
    """What both ways are given.

    Attributes:
        batch: Pairs of a batch.
        side_px: Height and width of a crop in pixels.
        device: Where to compute.
        is_tiny: Whether a tiny encoder and head stand in.
    """

    batch: int
    side_px: int
    device: torch.device
    is_tiny: bool = False


def main(job: Job) -> None:
    """Measure both ways in turns, and the ratios."""
    device = device_of(job)
    is_tiny = job.is_rehearsal
    results: dict[str, Any] = {"card": card_facts(device), "goals": _GOALS}
    ceiling = matmul_tflops(device, side=512 if is_tiny else 8192)
    results["ceiling_bf16_tflops"] = ceiling
    job.save(results)
    side_px = 64 if is_tiny else 256
    for name, batch in (("train", _TRAIN_BATCH), ("infer", _INFER_BATCH)):
        case = Case(1 if is_tiny else batch, side_px, device, is_tiny)
        results[name] = {"batch": case.batch, "side_px": side_px}
        results[name] |= _compare(WAYS[name], case, ceiling=ceiling, ends=job.deadline)
        job.save(results)


def published_training(case: Case) -> Work:
    """Give a training step as the public code does it."""
    before, after, label = crops(case)
    config = _config(case)
    network = PublishedNetwork(build_seeded_model(config, pretrained=False))
    network.to(case.device).train()
    optimizer = torch.optim.Adam(
        network.parameters(), lr=config.optimizer.lr, weight_decay=config.optimizer.weight_decay
    )

    def work() -> None:
        optimizer.zero_grad(set_to_none=False)
        loss = published_loss(network(before, after), label, changed_share=SHARE)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        # The public code logs every loss, for which the host waits.
        float(loss.detach())

    return work


def package_training(case: Case) -> Work:
    """Give a training step as the package does it on CUDA."""
    before, after, label = crops(case, memory_format=torch.channels_last)
    config = _config(case)
    model = build_seeded_model(config, pretrained=False)
    model.to(case.device).to(memory_format=torch.channels_last).train()
    loss = build_loss(config.loss, config.model, changed_share=SHARE).to(case.device)
    optimizer = build_optimizer(config, model)

    def work() -> None:
        with torch.autocast(case.device.type, dtype=torch.bfloat16):
            output = model(before, after, branches=loss.branches, levels=loss.levels)
        loss(output, label).total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return work


def published_inference(case: Case) -> Work:
    """Give scoring and counting of a batch, image by image, as the public code does it."""
    before, after, label = crops(case)
    network = PublishedNetwork(build_seeded_model(_config(case), pretrained=False))
    network.to(case.device).eval()

    def work() -> None:
        with torch.no_grad():
            for number in range(case.batch):
                one = slice(number, number + 1)
                published_counts(network(before[one], after[one])[-1], label[one])

    return work


def package_inference(case: Case) -> Work:
    """Give scoring and counting of a batch as the package does it on CUDA."""
    before, after, label = crops(case, memory_format=torch.channels_last)
    model = build_seeded_model(_config(case), pretrained=False)
    model.to(case.device).to(memory_format=torch.channels_last).eval()

    def work() -> None:
        counter = ScoreCounter(device=case.device)
        with torch.inference_mode(), torch.autocast(case.device.type, dtype=torch.bfloat16):
            score = model(before, after, branches="fused").score
        counter.update(score.float(), label)

    return work


WAYS = {
    "train": {"published": published_training, "package": package_training},
    "infer": {"published": published_inference, "package": package_inference},
}


def _compare(
    ways: Mapping[str, Callable[[Case], Work]], case: Case, *, ceiling: float, ends: float
) -> dict[str, Any]:
    """Measure the memory of each way by itself, then the time of both in turns."""
    peaks = {name: _peak_gb(make, case) for name, make in ways.items()}
    works = {name: make(case) for name, make in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    calls, rounds = (1, 1) if case.is_tiny else (10, _ROUNDS)
    for number in range(rounds):
        if number and time.time() > ends:
            break
        for name, work in works.items():
            timed = measure(work, case.device, calls=calls, warm_up=0 if number else 3)
            seconds[name].append(timed.seconds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    found: dict[str, Any] = {
        name: {"s": median, "pairs_per_s": case.batch / median, "peak_gb": peaks[name]}
        for name, median in medians.items()
    }
    found["times_as_fast"] = medians["published"] / medians["package"]
    theirs, ours = peaks["published"], peaks["package"]
    found["memory"] = None if theirs is None or ours is None else ours / theirs
    found["of_ceiling"] = flop_of(works["package"]) / medians["package"] / 1e12 / ceiling
    return found


def _peak_gb(make: Callable[[Case], Work], case: Case) -> float | None:
    """Memory of tensors at its highest, in 1e9 bytes; None on other devices than CUDA."""
    if case.device.type != "cuda":
        return None
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(case.device)
    work = make(case)
    for _ in range(3):
        work()
    peak = torch.cuda.max_memory_allocated(case.device) / 1e9
    del work
    gc.collect()
    return peak


def _config(case: Case) -> ExperimentConfig:
    tiny = _TINY if case.is_tiny else ()
    return load_config(_RECIPE, overrides=["model.encoder_weights=none", *tiny])


def crops(
    case: Case, *, memory_format: torch.memory_format = torch.contiguous_format
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Both dates, (B, 3, h, w), as if normalised, and a label, (B, h, w), a tenth of it 1."""
    random = torch.Generator().manual_seed(0)
    shape = (case.batch, 3, case.side_px, case.side_px)
    before, after = (
        torch.randn(shape, generator=random).to(case.device).contiguous(memory_format=memory_format)
        for _ in range(2)
    )
    drawn = torch.rand(case.batch, case.side_px, case.side_px, generator=random)
    return before, after, (drawn < SHARE).byte().to(case.device)
