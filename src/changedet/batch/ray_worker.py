"""What runs on the machines of a Ray cluster: one actor holds the model and does items."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from changedet._optional import RAY
from changedet._version import __version__
from changedet.batch.pulse import Heart
from changedet.batch.task import Outcome, Pulse, Task
from changedet.errors import ChangeDetError
from changedet.storage.atomic import write_bytes
from changedet.storage.checksum import file_sha256

if TYPE_CHECKING:
    from changedet.batch.runner import Setup


class RayWorker:
    """An actor: Ray calls its methods, :meth:`pulse` also while another one runs."""

    def __init__(self) -> None:
        self._heart = Heart()

    def facts(self) -> dict[str, str]:
        """Tell what is installed here; plain values, as another version may ask."""
        return {
            "version": __version__,
            "python": platform.python_version(),
            "host": platform.node(),
        }

    def start(self, setup: Setup, model: bytes | None) -> ChangeDetError | None:
        """Load the model.

        Args:
            setup: What to work with.
            model: Content of the model's file; None: there is none.

        Returns:
            What is wrong; None: nothing.
        """
        # It loads PyTorch, which other versions may not even have.
        from changedet.batch.runner import ItemRunner

        try:
            self._runner = ItemRunner(_with_model(setup, model))
        except ChangeDetError as error:
            return error
        self._metrics = _Metrics()
        return None

    def run(self, tasks: Sequence[Task]) -> tuple[Outcome, ...]:
        """Do items one after the other."""
        outcomes = []
        for task in tasks:
            self._heart.begin(task.item.id)
            outcome = self._runner.run(task, progress=self._heart.progress)
            self._metrics.add(outcome)
            outcomes.append(outcome)
        return tuple(outcomes)

    def pulse(self) -> Pulse:
        """Give a sign of life."""
        return self._heart.pulse()


class _Metrics:
    """Counts for Prometheus, which Ray offers on each machine."""

    def __init__(self) -> None:
        metrics = RAY.load(".util.metrics")
        self._items = metrics.Counter(
            "changedet_items", description="Attempts at items by what became.", tag_keys=("state",)
        )
        self._pixels = metrics.Counter(
            "changedet_megapixels", description="Millions of pixels of change maps made."
        )
        self._seconds = metrics.Histogram(
            "changedet_item_seconds",
            description="Seconds that an item took.",
            boundaries=[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0],
        )

    def add(self, outcome: Outcome) -> None:
        self._items.inc(1, tags={"state": outcome.state})
        if outcome.state == "done" and outcome.findings is not None:
            self._pixels.inc(max(outcome.findings.mpx, 1e-9))
            self._seconds.observe(outcome.seconds)


def _with_model(setup: Setup, content: bytes | None) -> Setup:
    """Use the model's file here, or write the one that was sent where there is none."""
    if content is None:
        return setup
    path = Path(str(setup.common.model))
    if path.is_file() and file_sha256(path) == setup.model:
        return setup
    copy = Path(tempfile.gettempdir()) / "changedet-batch" / setup.model / path.name
    if not (copy.is_file() and file_sha256(copy) == setup.model):
        write_bytes(copy, content)
    return replace(setup, common=replace(setup.common, model=copy))
