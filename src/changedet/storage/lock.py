"""One run at a time in a folder, by locks that the system lets go of however a run ends."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from changedet.errors import ConfigError, StorageError

#: Name of the file in a folder that the run which writes to it has locked.
LOCK: Final = ".changedet.lock"
_LOOK_EVERY_S = 0.1
# How often the file may be replaced between opening and locking it before that is an error.
_ATTEMPTS = 100


class NoLocksError(OSError):
    """The file system has no locks: there nobody can be kept out."""


# Open files of the locks that this process holds.
_held: set[int] = set()


def _forget_in_child() -> None:
    """Close what a fork has copied: a worker that outlives its run must not keep the lock."""
    for handle in _held:
        os.close(handle)
    _held.clear()


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    os.register_at_fork(after_in_child=_forget_in_child)

    def _lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise NoLocksError(*error.args) from error
        return True


@contextlib.contextmanager
def only_run(out: Path, *, patience_s: float = 0.0) -> Iterator[None]:
    """Keep other runs out of a folder while the block lasts.

    The lock is a hidden file in the folder, which is made if need be and goes again if nothing was
    put into it. After a kill the file may stay, but locks nobody out.

    Args:
        out: The folder.
        patience_s: How long to wait for another run to end, in seconds.

    Raises:
        ConfigError: If another run is writing to it.
        StorageError: If it cannot be written.
    """
    out = out.absolute()
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    handle = _take_in(out, patience_s=patience_s)
    try:
        yield
    finally:
        is_ours = handle is None or handle in _held  # not in a forked copy of this process
        if is_ours:
            _leave(out, new, handle)


def check_idle(out: Path) -> None:
    """Refuse a folder that another run is writing to, before anything else is found wrong with it.

    Raises:
        ConfigError: If another run is writing to it.
    """
    with contextlib.suppress(OSError):
        if not (out / LOCK).exists():
            return
        handle = take(out / LOCK)
        if handle is None:
            raise _is_busy(out)
        let_go(handle)


def _is_busy(out: Path) -> ConfigError:
    return ConfigError(
        f"another run is writing to {out} (`out`); wait for it, or choose another folder"
    )


def _take_in(out: Path, *, patience_s: float) -> int | None:
    end = time.monotonic() + patience_s
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = take(out / LOCK)
        while handle is None:
            if time.monotonic() >= end:
                raise _is_busy(out)
            time.sleep(_LOOK_EVERY_S)
            handle = take(out / LOCK)
    except NoLocksError:
        return None
    except OSError as error:
        if out.exists() and not out.is_dir():
            raise ConfigError(f"{out} is a file; give a folder") from error
        raise StorageError(
            f"cannot write to {out} (`out`): {error.strerror or error}; choose another folder"
        ) from error
    return handle


def _leave(out: Path, new: Sequence[Path], handle: int | None) -> None:
    """Remove the lock, and the folders that were made for it if they are empty."""
    # Unlinked while it is held, so that nobody else's goes; Windows unlinks no file that is open.
    if handle is not None and sys.platform == "win32":
        let_go(handle)
    with contextlib.suppress(OSError):
        (out / LOCK).unlink(missing_ok=True)
    if handle is not None:
        let_go(handle)
    with contextlib.suppress(OSError):
        for folder in new:
            folder.rmdir()


def take(path: Path) -> int | None:
    """Lock a file, which is made if need be.

    Returns:
        What :func:`let_go` takes; None if somebody else holds the lock.

    Raises:
        NoLocksError: If the file system has none.
        OSError: If the file cannot be opened.
    """
    for _ in range(_ATTEMPTS):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            # A run that has just ended has removed its empty folder.
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        try:
            is_free = _lock(handle)
        except NoLocksError:
            os.close(handle)
            raise
        if not is_free:
            os.close(handle)
            return None
        # Whoever held the lock may have removed or renamed the file meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                _held.add(handle)
                return handle
        os.close(handle)
    raise OSError(f"{path} is replaced again and again")


def let_go(handle: int) -> None:
    """Give a lock back."""
    if handle in _held:
        _held.discard(handle)
        os.close(handle)
