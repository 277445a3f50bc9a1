"""The hidden folder in which a prediction works until its results are complete."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from changedet.errors import StorageError
from changedet.predict.journal import Journal
from changedet.predict.results import PRODUCTS
from changedet.predict.summary import SUMMARY
from changedet.storage.atomic import remove_parts
from changedet.storage.lock import only_run
from changedet.storage.output_folder import (
    PRODUCTS_FOLDER,
    Existing,
    check_result_folder,
    finish_publishing,
    is_publishing,
    publish,
    staging_folder,
)


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
        publish(self.out, self.products.parent, marker=SUMMARY, retire=PRODUCTS)


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
    with only_run(out):
        finish_publishing(out, work, marker=SUMMARY, retire=PRODUCTS)
        check_result_folder(out, marker=SUMMARY, existing=existing)
        folder = WorkFolder(out, work / "state", work / PRODUCTS_FOLDER)
        with _storage_errors(out):
            folder.state.mkdir(parents=True, exist_ok=True)
            remove_parts(folder.state)
            # What a run left that was killed while it wrote products may be of other options.
            shutil.rmtree(folder.products, ignore_errors=True)
            folder.products.mkdir()
        try:
            yield folder
        finally:
            if not (Journal.is_in(folder.state) or is_publishing(work)):
                shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _storage_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write to {out} (`out`): {error.strerror or error}; choose another folder"
        ) from error
