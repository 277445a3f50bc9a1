"""Figures of a training for TensorBoard, written at once and by the caller's own thread.

PyTorch's ``SummaryWriter`` writes in a thread of its own, up to two minutes later: what a full disk
raises there prints a traceback and comes up anywhere, or is lost with the last figures.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

_FILE_VERSION = "brain.Event:2"


class EventLog:
    """One file of events in a folder, beside those of earlier sittings of the same run.

    Args:
        folder: Where it goes; made if need be.
        first_step: TensorBoard hides what earlier files hold from this step on.

    Raises:
        OSError: If it cannot be written.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        # Imported here: TensorBoard takes a second to import, and only training needs it.
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{now:.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file: BinaryIO = (folder / name).open("wb")
        self._records = RecordWriter(self._file)
        self._put(Event(file_version=_FILE_VERSION))
        start = SessionLog(status=SessionLog.START)
        self._put(Event(step=first_step, session_log=start))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve.

        Args:
            step: Where on the curves.
            values: Heights by the names of the curves; ``group/name`` puts them into groups.

        Raises:
            OSError: If it cannot be written, for example on a full disk.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._put(Event(step=step, summary=Summary(value=points)))

    def close(self) -> None:
        """Close the file; all of it has been written before, or that has failed and was said."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _put(self, event: "Event") -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._file.flush()
