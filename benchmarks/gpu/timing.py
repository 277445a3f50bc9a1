"""Time work on a device whose host runs ahead of it."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch


class Timed(NamedTuple):
    """Seconds of one call, and those of them in which the host was busy handing work out."""

    seconds: float
    host_seconds: float


def synchronise(device: torch.device) -> None:
    """Wait until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    work: Callable[[], None], device: torch.device, *, calls: int = 20, warm_up: int = 5
) -> Timed:
    """Time some calls together, behind others that choose kernels.

    Where ``host_seconds`` is all of ``seconds``, the device waits for the host.
    """
    for _ in range(warm_up):
        work()
    synchronise(device)
    started = time.perf_counter()
    for _ in range(calls):
        work()
    handed_out = time.perf_counter()
    synchronise(device)
    ended = time.perf_counter()
    return Timed((ended - started) / calls, (handed_out - started) / calls)


def flop_of(work: Callable[[], None]) -> int:
    """Count the floating-point operations of one call, a multiply-add as two."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return int(counter.get_total_flops())
