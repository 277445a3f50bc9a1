"""Many files at once, in background threads, results in the order of the files."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from changedet.types import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Pixels of before images that may lie in memory in advance: with after and label some 230 MB.
_PIXELS_AHEAD = 2**25
_MOST_AHEAD = 16
# Decoding releases the interpreter lock, so threads are enough; more only queue at the disk.
_MAX_THREADS = 8


def room_for(size: tuple[int, int]) -> int:
    """Say how many pairs to read in advance when images have this height and width."""
    height, width = size
    return max(1, min(_MOST_AHEAD, _PIXELS_AHEAD // (height * width)))


def load_ahead(
    load: Callable[[Item], Result], items: Iterable[Item], *, ahead: int = 8, threads: int = 4
) -> Generator[Result, None, None]:
    """Apply ``load`` to every item in background threads, in order, at most ``ahead`` in advance.

    Args:
        load: Reads one item; an error it raises surfaces when its item's turn comes, and what has
            not begun by then is dropped.
        items: Taken one by one, as room comes up.
        ahead: Results held in memory at most.
        threads: Items loaded at the same time.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="load")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Apply ``function`` to all items as :func:`load_ahead` does, on as many threads as are of use.

    Args:
        function: Makes one result.
        items: All are taken at once, so that their number is known.
        progress: Told after every result that was taken.
    """
    wanted = list(items)
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    with closing(load_ahead(function, wanted, ahead=4 * threads, threads=threads)) as results:
        for done, result in enumerate(results, start=1):
            yield result
            if progress is not None:
                progress(done, len(wanted))
