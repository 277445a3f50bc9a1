# SPDX-License-Identifier: GPL-2.0-or-later
"""A command in a process of its own, which is listened to and can be ended."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NamedTuple

_LOOK_EVERY_S = 0.1
# The command puts away what it has finished before it ends.
_PATIENCE_S = 20.0
_LAST_LINES_S = 2.0


class Ended(NamedTuple):
    """How a command ended: its exit code (negative: a signal), and whether it was cancelled."""

    code: int
    cancelled: bool


def run_command(
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    hear: Callable[[str], None],
    is_cancelled: Callable[[], bool],
) -> Ended:
    """Run a command without a shell; no window opens.

    Args:
        words: The command and its arguments.
        environment: Its environment variables.
        hear: Gets each line that it prints, on either stream, in the calling thread.
        is_cancelled: Asked ten times a second; once it says so, the command is ended: by SIGTERM,
            upon which changedet cleans up, after 20 s by force; on Windows at once, which it
            withstands as well.

    Returns:
        How it ended.

    Raises:
        OSError: If it cannot be started.
    """
    process = _start(words, environment)
    lines: queue.Queue[str] = queue.Queue()
    readers = [
        threading.Thread(target=_read, args=(stream, lines), daemon=True)
        for stream in (process.stdout, process.stderr)
    ]
    for reader in readers:
        reader.start()
    cancelled = False
    try:
        while process.poll() is None and not cancelled:
            cancelled = is_cancelled()
            _hear_all(lines, hear, wait_s=_LOOK_EVERY_S)
    finally:
        # Also after an exception, such as Ctrl-C in a terminal: nothing may go on unseen.
        if process.poll() is None:
            _end(process)
    # Programs that the command has left behind could hold the streams open for ever.
    end = time.monotonic() + _LAST_LINES_S
    for reader in readers:
        reader.join(max(end - time.monotonic(), 0.0))
    _hear_all(lines, hear, wait_s=0.0)
    return Ended(process.returncode, cancelled)


def _start(words: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NO_WINDOW}
    process: subprocess.Popen[bytes] = subprocess.Popen(
        list(words),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **own_group,
    )
    return process


def _read(stream: IO[bytes], lines: queue.Queue[str]) -> None:
    with stream:
        for line in stream:
            lines.put(line.decode("utf-8", errors="replace"))


def _hear_all(lines: queue.Queue[str], hear: Callable[[str], None], *, wait_s: float) -> None:
    """Pass on what has been said; wait a little for the first line."""
    try:
        hear(lines.get(timeout=wait_s) if wait_s else lines.get_nowait())
        while True:
            hear(lines.get_nowait())
    except queue.Empty:
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, "SIGTERM")
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        _signal(process, "SIGKILL")
        process.wait()


def _signal(process: subprocess.Popen[bytes], name: str) -> None:
    """Send a signal to the command and all that it started."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, getattr(signal, name))
