"""The hidden folder in which a prediction works until its results are complete."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from changedet.errors import ConfigError, StorageError
from changedet.predict.journal import Journal
from changedet.predict.results import PRODUCTS
from changedet.predict.summary import SUMMARY
from changedet.storage.output_folder import (
    Existing,
    check_result_folder,
    replace_content,
    staging_folder,
)

_LOCK: Final = "lock"
#: There from the moment on at which all products are complete.
_COMPLETE: Final = "complete"


class WorkFolder(NamedTuple):
    """Where a prediction works.

    Attributes:
        out: Folder of the results.
        state: For what a killed run needs to resume.
        products: For the results; :meth:`publish` moves them to ``out``.
    """

    out: Path
    state: Path
    products: Path

    def clear_state(self) -> None:
        """Forget what an earlier run left; the journal goes first, so that nothing outlives it."""
        Journal.remove(self.state)
        shutil.rmtree(self.state)
        self.state.mkdir()

    def publish(self) -> None:
        """Move the products to their place; killed meanwhile, the next run ends the move.

        Raises:
            StorageError: If they cannot be moved.
        """
        work = self.products.parent
        try:
            (work / _COMPLETE).touch()
            _sync(work)
            _move(self.out, work)
        except OSError as error:
            raise StorageError(
                f"cannot put the results into {self.out}: {error.strerror or error}; they are "
                "complete: make room and run the command again"
            ) from error


@contextlib.contextmanager
def work_folder(out: Path, *, existing: Existing) -> Iterator[WorkFolder]:
    """Offer the folder to one run at a time.

    When the block ends, nothing is left of it, unless an unfinished run can be gone on with.

    Args:
        out: Folder of the results; it need not exist.
        existing: What to do if the folder already holds results.

    Raises:
        ConfigError: If ``out`` is not free, or another run is writing to it.
        StorageError: If it cannot be written.
    """
    out = out.absolute()
    work = staging_folder(out, "unfinished")
    if (work / _COMPLETE).exists():
        with _locked(out, work), _storage_errors(out):
            _move(out, work)
    check_result_folder(out, marker=SUMMARY, existing=existing)
    is_new = not out.exists()
    with _storage_errors(out):
        work.mkdir(parents=True, exist_ok=True)
    folder = WorkFolder(out, work / "state", work / "products")
    with _locked(out, work):
        with _storage_errors(out):
            folder.state.mkdir(exist_ok=True)
            # What a run left that was killed while it wrote products may be of other options.
            shutil.rmtree(folder.products, ignore_errors=True)
            folder.products.mkdir()
        try:
            yield folder
        finally:
            if not (Journal.is_in(folder.state) or (work / _COMPLETE).exists()):
                shutil.rmtree(work, ignore_errors=True)
                if is_new:
                    # Only an empty folder goes.
                    with contextlib.suppress(OSError):
                        out.rmdir()


def _move(out: Path, work: Path) -> None:
    replace_content(out, work / "products", marker=SUMMARY, retire=PRODUCTS)
    _sync(out)
    shutil.rmtree(work)


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(out: Path, work: Path) -> Iterator[None]:
    """Keep other runs out; the system lets go of the lock however this one ends."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - there are no such locks on this system
        yield
        return
    with _storage_errors(out):
        handle = os.open(work / _LOCK, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another run is writing to {out} (`out`); wait for it, or choose another folder"
            ) from error
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _storage_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write to {out} (`out`): {error.strerror or error}; choose another folder"
        ) from error
