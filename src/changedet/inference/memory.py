"""The memory of this process: how it keeps it while it computes on a CPU, and the most it held."""

import ctypes
import sys
from pathlib import Path

# Names and numbers of glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_TOP_PAD_BYTES = 256 * 2**20
_STATUS = Path("/proc/self/status")
_FORGET = Path("/proc/self/clear_refs")


def keep_freed_memory(device_name: str) -> bool:
    """Let the C library keep what is freed instead of handing it back to the system at once.

    A batch on a CPU frees its activations, in training gigabytes, and the next asks for them again.
    By default glibc maps each large block again, and the system zeroes it page by page, which may
    cost as much as computing; benchmarks/training_memory.py measures it. Kept memory stays with
    the process until it ends; the peak is that of a step either way.

    Args:
        device_name: Where is computed, such as ``cpu`` or ``cuda:0``; on other devices than a CPU
            nothing is changed.

    Returns:
        Whether there is a glibc that took the setting; elsewhere nothing is changed.
    """
    if device_name != "cpu":
        return False
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # No block is mapped by itself, the heap is never trimmed, and it grows in large steps.
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _TOP_PAD_BYTES))
    taken = [mallopt(name, value) for name, value in settings]
    return all(value == 1 for value in taken)


def process_memory() -> int | None:
    """Tell the resident size of this process now, in bytes; None if it is not known (not Linux)."""
    return _of_status("VmRSS")


def peak_process_memory() -> int | None:
    """Tell the largest resident size of this process so far, in bytes; None if it is not known."""
    if _STATUS.exists():
        # Not getrusage: on Linux a process begins with the peak of the one that started it.
        return _of_status("VmHWM")
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak_memory() -> bool:
    """Let :func:`peak_process_memory` begin again; whether the system can (Linux)."""
    try:
        _FORGET.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _of_status(name: str) -> int | None:
    """Read a size from what Linux says of this process, in bytes; None if it is not there."""
    try:
        rows = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = [row.split()[1] for row in rows if row.startswith(f"{name}:")]
    return int(sizes[0]) * 1024 if sizes else None
