"""Results appear whole or not at all, and never replace what is not their own."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from changedet.errors import ChangeDetError, ConfigError, StorageError
from changedet.storage.atomic import PART, sync_folder, write_text
from changedet.storage.lock import LOCK, only_run

#: What to do with the results of an earlier run in the folder.
Existing = Literal["refuse", "replace"]

#: Holds the results inside of a hidden folder in which a run works.
PRODUCTS_FOLDER: Final = "products"
_RESULTS: Final = "results"
# There from the moment on at which all products are complete.
_COMPLETE: Final = "complete"


def check_result_file(out: Path, *, existing: Existing) -> None:
    """Refuse a file that must not be replaced.

    Raises:
        ConfigError: If it exists and may not be.
    """
    if existing == "refuse" and out.exists():
        raise ConfigError(f'{out} exists; choose another name, or use `existing="replace"`')


def content_of(out: Path, *, error: type[ChangeDetError] = ConfigError) -> list[Path]:
    """List what the results folder already contains, before it is changed.

    What killed runs left behind does not count.

    Args:
        out: The folder; it need not exist.
        error: Class of the error.

    Returns:
        Its files and folders, sorted; none if it is new or empty.

    Raises:
        ChangeDetError: As ``error`` says, if it is a file.
    """
    if not out.is_dir():
        if out.exists():
            raise error(f"{out} is a file; give a folder")
        return []
    return sorted(path for path in out.iterdir() if not _is_staging(path, out))


def check_result_folder(out: Path, *, marker: str, existing: Existing) -> None:
    """Refuse a folder whose content must not be replaced.

    Results that a kill left between two places are none yet: :func:`claimed` ends their move.

    Args:
        out: Folder for the results; it need not exist.
        marker: Name of the file that tells a finished result of this kind.
        existing: Whether such a result may be replaced.

    Raises:
        ConfigError: If it is a file, holds another run's results or files of another kind.
    """
    if not content_of(out) or is_publishing(staging_folder(out.absolute(), _RESULTS)):
        return
    if not (out / marker).is_file():
        raise ConfigError(
            f"{out} contains other files (no {marker} among them); choose a new or empty folder"
        )
    if existing == "refuse":
        raise ConfigError(
            f"{out} contains the results of another run ({marker}); choose another folder, or use "
            '`existing="replace"` to replace them'
        )


@contextlib.contextmanager
def claimed(out: Path, *, marker: str, existing: Existing) -> Iterator[None]:
    """Keep a results folder for one run, from its first look at it to its last file.

    What an earlier run could not end is ended first: results that a kill left between two places
    are moved to theirs.

    Args:
        out: The folder; it need not exist.
        marker: Name of the file that tells a finished result of this kind.
        existing: Whether such a result may be replaced.

    Raises:
        ConfigError: As :func:`check_result_folder`, or if another run is writing to it.
        StorageError: If it cannot be written.
    """
    out = out.absolute()
    with only_run(out):
        finish_publishing(out, staging_folder(out, _RESULTS), marker=marker)
        check_result_folder(out, marker=marker, existing=existing)
        yield


@contextlib.contextmanager
def result_folder(out: Path, *, marker: str, retire: Iterable[str] = ()) -> Iterator[Path]:
    """Offer an empty folder to write to, whose content goes to ``out`` when all went well.

    Files of the user's own in an existing ``out`` stay there. After an error or Ctrl-C nothing of
    it remains, and an earlier result is unchanged. The caller has claimed ``out``, see
    :func:`claimed`.

    Args:
        out: Final place.
        marker: Name of the file that tells a finished result; it is put in place last.
        retire: As for :func:`replace_content`.

    Raises:
        StorageError: If it cannot be written.
    """
    out = out.absolute()
    work = staging_folder(out, _RESULTS)
    products = work / PRODUCTS_FOLDER
    try:
        shutil.rmtree(work, ignore_errors=True)
        products.mkdir(parents=True)
        yield products
        _remove_leftovers(out)
        publish(out, work, marker=marker, retire=retire)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(
            f"cannot write results to {out}: {error.strerror or error}; "
            "make room or choose another folder, then run the command again"
        ) from error
    finally:
        if not (work / _COMPLETE).exists():
            shutil.rmtree(work, ignore_errors=True)


def publish(out: Path, work: Path, *, marker: str, retire: Iterable[str] = ()) -> None:
    """Move complete results to their place; killed meanwhile, the next run ends the move.

    Args:
        out: The folder.
        work: A hidden folder inside of it, see :func:`staging_folder`; the results are in its
            folder ``products``. It goes.
        marker: Name of the file that tells a finished result.
        retire: As for :func:`replace_content`.

    Raises:
        OSError: If a file cannot be moved.
    """
    for folder, _, _ in os.walk(work / PRODUCTS_FOLDER):
        sync_folder(Path(folder))
    (work / _COMPLETE).touch()
    sync_folder(work)
    finish_publishing(out, work, marker=marker, retire=retire)


def is_publishing(work: Path) -> bool:
    """Tell whether a run was killed while it moved its results to their place."""
    return (work / _COMPLETE).exists()


def finish_publishing(out: Path, work: Path, *, marker: str, retire: Iterable[str] = ()) -> None:
    """End the move of :func:`publish`, if one was begun.

    Raises:
        StorageError: If a file cannot be moved.
    """
    if not is_publishing(work):
        return
    try:
        replace_content(out, work / PRODUCTS_FOLDER, marker=marker, retire=retire)
        sync_folder(out)
        shutil.rmtree(work)
        sync_folder(out)
    except OSError as error:
        raise StorageError(
            f"cannot put the results into {out}: {error.strerror or error}; they are complete: "
            "make room and run the command again"
        ) from error


@contextlib.contextmanager
def half_made(out: Path) -> Iterator[None]:
    """Mark a folder that is filled file by file, until all of them are there.

    Raises:
        StorageError: If it cannot be written.
    """
    mark = _mark(out)
    write_text(mark, "An unfinished run began to fill this folder; the next one starts anew.\n")
    yield
    mark.unlink(missing_ok=True)


def is_half_made(out: Path) -> bool:
    """Tell whether a run was killed or failed while it filled the folder, see :func:`half_made`."""
    return _mark(out).exists()


def _mark(out: Path) -> Path:
    return staging_folder(out.absolute(), "begun")


def remove_entries(folder: Path, names: Iterable[str]) -> None:
    """Remove these files and folders from a folder, where they are there, and nothing else."""
    for name in names:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def staging_folder(out: Path, name: str) -> Path:
    """Name a folder inside of ``out`` that does not count as content (it may outlive a kill)."""
    return out / f".{out.name}.{name}{PART}"


def _is_staging(path: Path, out: Path) -> bool:
    """Tell whether a file is what a run works with, or a killed one left behind."""
    return path.name == LOCK or (path.name.startswith(".") and path.name.endswith(PART))


def _remove_leftovers(out: Path) -> None:
    """Remove the folders that killed runs of earlier versions left behind."""
    for path in out.iterdir():
        owner = path.name.removeprefix(f".{out.name}.").removesuffix(PART)
        if _is_staging(path, out) and owner.isdecimal():
            shutil.rmtree(path)


def replace_content(
    out: Path,
    staging: Path,
    *,
    marker: str,
    retire: Iterable[str] = (),
) -> None:
    """Move old results aside and the new ones in; the marker goes first and comes last.

    Whatever else lies in ``out`` stays there. Interrupted, it can be called again.

    Args:
        out: The folder.
        staging: A folder inside of ``out`` that holds the new content, and then the old.
        marker: Name of the file that tells a finished result.
        retire: Names of old results that go, also where there is no new one of that name.

    Raises:
        OSError: If a file cannot be moved.
    """
    old = staging / ".old"
    old.mkdir(exist_ok=True)
    new = sorted(
        (path for path in staging.iterdir() if path != old), key=lambda path: path.name == marker
    )
    is_retired = old / ".complete"
    if not is_retired.exists():
        going = {marker, *retire, *(path.name for path in new)}
        for name in sorted(going, key=lambda name: name != marker):
            if (out / name).exists():
                (out / name).rename(old / name)
        is_retired.touch()
    for path in new:
        path.rename(out / path.name)
