"""Many files at once, results in the order of the files."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from changedet.types import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

# Decoding releases the interpreter lock, so threads are enough; more only queue at the disk.
_MAX_THREADS = 8


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Apply ``function`` to all items in threads and yield the results in the items' order.

    The first error in that order is raised and what has not begun by then is dropped.
    """
    wanted = list(items)
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            for done, result in enumerate(pool.map(function, wanted), start=1):
                yield result
                if progress is not None:
                    progress(done, len(wanted))
        finally:
            pool.shutdown(cancel_futures=True)
