"""Read ahead: work on the disk and the decoder goes on while the model computes."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


#: Pixels of before images that may lie in memory in advance: with after and label some 230 MB.
_PIXELS_AHEAD = 2**25
_MOST_AHEAD = 16


def room_for(size: tuple[int, int]) -> int:
    """Say how many pairs to read in advance when images have this height and width."""
    height, width = size
    return max(1, min(_MOST_AHEAD, _PIXELS_AHEAD // (height * width)))


def load_ahead(
    load: Callable[[Item], Loaded], items: Iterable[Item], *, ahead: int = 8, threads: int = 4
) -> Generator[Loaded, None, None]:
    """Apply ``load`` to every item in background threads, in order, at most ``ahead`` in advance.

    Args:
        load: Reads one item; an error it raises surfaces when its item's turn comes.
        items: Taken one by one, as room comes up.
        ahead: Results held in memory at most.
        threads: Items loaded at the same time.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="load")
    waiting: deque[Future[Loaded]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
