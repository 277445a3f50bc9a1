"""How the process keeps its memory while it computes on a CPU."""

import ctypes
import sys

# Names and numbers of glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_TOP_PAD_BYTES = 256 * 2**20


def keep_freed_memory(device_name: str) -> bool:
    """Let the C library keep what is freed instead of handing it back to the system at once.

    A batch on a CPU frees its activations, in training gigabytes, and the next asks for them again.
    By default glibc maps each large block anew, and the system zeroes it page by page, which may
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
