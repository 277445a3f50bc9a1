"""Results appear whole or not at all, and never replace what is not their own."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from changedet.errors import ChangeDetError, ConfigError, StorageError

#: What to do with the results of an earlier run in the folder.
Existing = Literal["refuse", "replace"]

_STAGING_SUFFIX = ".part"


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

    Args:
        out: Folder for the results; it need not exist.
        marker: Name of the file that tells a finished result of this kind.
        existing: Whether such a result may be replaced.

    Raises:
        ConfigError: If it is a file, holds another run's results or files of another kind.
    """
    if not content_of(out):
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
def result_folder(out: Path, *, marker: str, existing: Existing) -> Iterator[Path]:
    """Offer an empty folder to write to, which becomes ``out`` when all went well.

    Files of the user's own in an existing ``out`` stay there.

    After an error or Ctrl-C nothing of it remains, and an earlier result is unchanged.

    Args:
        out: Final place.
        marker: Name of the file that tells a finished result; it is put in place last.
        existing: Whether an earlier result may be replaced.

    Raises:
        ConfigError: As :func:`check_result_folder`.
        StorageError: If it cannot be written.
    """
    out = out.absolute()
    check_result_folder(out, marker=marker, existing=existing)
    # An existing folder may be a mount point, so what goes into it is prepared inside of it.
    place = out if out.is_dir() else out.parent
    staging = place / f".{out.name}.{os.getpid()}{_STAGING_SUFFIX}"
    try:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(staging)
        staging.mkdir(parents=True)
        yield staging
        if place == out:
            _remove_leftovers(out, staging)
            replace_content(out, staging, marker=marker)
        else:
            staging.rename(out)
    except OSError as error:
        raise StorageError(
            f"cannot write results to {out}: {error.strerror or error}; "
            "make room or choose another folder, then run the command again"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


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
    return out / f".{out.name}.{name}{_STAGING_SUFFIX}"


def _is_staging(path: Path, out: Path) -> bool:
    """Tell whether a file is what a killed run left behind."""
    return path.name.startswith(f".{out.name}.") and path.name.endswith(_STAGING_SUFFIX)


def _remove_leftovers(out: Path, staging: Path) -> None:
    """Remove what killed runs of this kind left behind, except folders that can be resumed."""
    for path in out.iterdir():
        owner = path.name.removeprefix(f".{out.name}.").removesuffix(_STAGING_SUFFIX)
        if path != staging and _is_staging(path, out) and owner.isdecimal():
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
