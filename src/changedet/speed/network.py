"""The network alone: pairs a second, operations counted, and what the machine could do at best."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from changedet.errors import ChangeDetError
from changedet.inference.graph_scorer import GraphScorer
from changedet.inference.views import views
from changedet.speed.results import Rate
from changedet.speed.scenes import like_training
from changedet.synthetic.dataset import generate_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from changedet.inference.detector import Detector
    from changedet.inference.scorer import Image
    from changedet.predict.tiling import Tiling

#: Side of the matrices whose product is the ceiling, on a CPU and on a GPU.
_CPU_SIDE: Final = 2048
_GPU_SIDE: Final = 8192
_CEILING_ROUNDS: Final = 5
#: Pairs of a training step at most, and the side of its crops where the model does not say it.
_TRAINING_BATCH: Final = 4


class Ceiling(NamedTuple):
    """Rate of a large product of matrices, 10^9 operations a second, and what computed it."""

    gflop_per_s: float
    of: str


def measure_ceiling(detector: Detector) -> Ceiling:
    """Multiply large matrices in the precision of the network, and take the best round."""
    runtime = detector.runtime
    if runtime == "torch":
        return _torch_ceiling(detector.device_name)
    # The runtimes of exported graphs offer no product by itself; NumPy's is that of a BLAS.
    rng = np.random.default_rng(0)
    first, second = (rng.random((_CPU_SIDE, _CPU_SIDE), np.float32) for _ in range(2))
    seconds = _best(lambda: np.matmul(first, second))
    return Ceiling(2 * _CPU_SIDE**3 / seconds / 1e9, "NumPy, float32")


def _torch_ceiling(device_name: str) -> Ceiling:
    import torch

    is_cpu = device_name == "cpu"
    side = _CPU_SIDE if is_cpu else _GPU_SIDE
    dtype = torch.float32 if is_cpu else torch.bfloat16
    first, second = (torch.randn(side, side, device=device_name, dtype=dtype) for _ in range(2))
    seconds = _best(lambda: _finish(torch.matmul(first, second)))
    name = str(dtype).removeprefix("torch.")
    return Ceiling(2 * side**3 / seconds / 1e9, f"PyTorch, {name}")


def _finish(result: Any) -> None:  # noqa: ANN401
    """Wait for a device that its host runs ahead of."""
    if result.device.type == "cuda":
        import torch

        torch.cuda.synchronize(result.device)


def _best(work: Callable[[], object]) -> float:
    """Give the seconds of the fastest round, behind one that does not count."""
    work()
    return min(_seconds(work) for _ in range(_CEILING_ROUNDS))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure_inference(
    detector: Detector, tiling: Tiling, *, repeats: int, ceiling: Ceiling
) -> tuple[Rate, list[str]]:
    """Score a batch of tiles from memory again and again.

    Args:
        detector: The model.
        tiling: Height and width of a tile, and tiles at once.
        repeats: How often, behind once that does not count.
        ceiling: What the machine could do at best.

    Returns:
        The rate, and what a reader must know.
    """
    side, batch = tiling.tile_px, tiling.batch_size
    before, after = _tiles(detector, side)
    score = detector.scorer.score
    score([before] * batch, [after] * batch)
    seconds = statistics.median(
        _seconds(lambda: score([before] * batch, [after] * batch)) for _ in range(repeats)
    )
    gflop, notes = None, []
    if detector.runtime == "torch":
        from changedet.evaluation.cost import measure_cost

        gflop = measure_cost(detector.model, side_px=side, test_time=detector.test_time).gflop
    elif isinstance(detector.scorer, GraphScorer):
        gflop = _stated_gflop(detector.scorer, side)
    if gflop is None:
        notes.append(
            "the file does not say how many operations it takes; export the model again to see them"
        )
    return _rate(seconds, batch=batch, side_px=side, gflop=gflop, ceiling=ceiling), notes


def _stated_gflop(scorer: GraphScorer, side: int) -> float | None:
    """Give 10^9 operations of a pair in all views, by what the file says of its graph."""
    stated = scorer.graph.facts.gflop
    if stated is None:
        return None
    sizes = [
        view.size((side, side), multiple=scorer.network_stride) for view in views(scorer.test_time)
    ]
    return sum(stated[0] * height * width / 1e6 + stated[1] for height, width in sizes)


def _rate(
    seconds: float, *, batch: int, side_px: int, gflop: float | None, ceiling: Ceiling
) -> Rate:
    """Give the rate of a batch that takes so many seconds."""
    pairs_per_s = batch / seconds
    rate = None if gflop is None else gflop * pairs_per_s
    return Rate(
        batch=batch,
        side_px=side_px,
        pairs_per_s=pairs_per_s,
        gflop_per_pair=gflop,
        gflop_per_s=rate,
        share_of_ceiling=None if rate is None else rate / ceiling.gflop_per_s,
    )


def _tiles(detector: Detector, side: int) -> tuple[Image, Image]:
    """Generate both dates of a tile, as a scene gives them to the model."""
    pair = generate_pair(0, size_px=side)
    before, after = like_training(pair, detector.card)
    return before, after


def measure_training(
    detector: Detector, *, repeats: int, ceiling: Ceiling
) -> tuple[Rate | None, list[str]]:
    """Time steps of the training that made the model: forward, loss, backward, optimiser.

    Args:
        detector: The model; its own weights are left alone.
        repeats: How often, behind once that does not count.
        ceiling: What the machine could do at best.

    Returns:
        The rate, None where the model does not say how it was trained or PyTorch does not compute
        it; and what a reader must know.
    """
    if detector.runtime != "torch":
        return None, ["a training step is measured with PyTorch only"]
    recipe: dict[str, Any] = detector.card.recipe or {}
    notes = []
    if "members" in recipe:
        recipe = next((one for one in recipe["members"] if one), {})
        notes.append("the training step is that of the first network of the ensemble")
    try:
        from changedet.speed.training_step import make_step

        step = make_step(recipe, device=detector.device_name, batch=_TRAINING_BATCH)
    except ChangeDetError as error:
        return None, [f"no training step: the settings in the model file do not fit ({error})"]
    step.work()
    seconds = statistics.median(_seconds(step.work) for _ in range(repeats))
    rate = _rate(
        seconds,
        batch=step.batch,
        side_px=step.side_px,
        gflop=step.gflop_per_pair,
        ceiling=ceiling,
    )
    return rate, notes
