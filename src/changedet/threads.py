"""How many threads the user allows, for libraries that do not ask by themselves."""

import os


def stated_threads() -> int | None:
    """Give the number of threads that ``OMP_NUM_THREADS`` states; None: it states none.

    PyTorch and the libraries under NumPy read it when they are loaded; workers of archives are
    started with it.
    """
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) or None if stated.isdecimal() else None
