"""Keeps workers at work: gives them items, tries again what may succeed, writes down what became.

Its memory does not grow with the catalogue: items are read as workers need them, and what is known
of the others lies on the disk.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from changedet.batch.engine import Alive, Engine, Event, Finished, Lost, Ready, Refused
from changedet.batch.item import BatchItem, Catalogue
from changedet.batch.manifest import Manifest, RowState
from changedet.batch.manifest_row import make_row
from changedet.batch.request import WorkersError
from changedet.batch.splits import Splits
from changedet.batch.tally import Status, Tally, WorkerStatus
from changedet.batch.task import Fault, Outcome, Pulse, Task

# Items whose results should be there are looked at in groups: that takes no time.
_CHECKED_AT_ONCE: Final = 50
# So many attempts may wait; more items are only begun when some are through.
_MOST_WAITING: Final = 1_000
_WAIT_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 120.0
_FLUSH_S: Final = 5.0
_FLUSH_ROWS: Final = 500
_WATCH_S: Final = 1.0
_STARTS: Final = 3


@dataclass(frozen=True)
class Policy:
    """When to give up.

    Attributes:
        attempts: How often an item is tried, where another attempt may succeed.
        back_off_s: Pause before the second attempt; twice as long before each next, in seconds.
        timeout_s: An item that shows no sign of life for so long is given up, in seconds.
        start_timeout_s: The same for a worker that starts.
    """

    attempts: int = 3
    back_off_s: float = 5.0
    timeout_s: float = 300.0
    start_timeout_s: float = 600.0


@dataclass
class _Worker:
    name: str
    label: str
    alive_at: float
    is_ready: bool = False
    ready_at: float = 0.0
    tasks: tuple[Task, ...] = ()
    pulse: Pulse = field(default_factory=lambda: Pulse(-1))
    mpx: float = 0.0
    strikes: int = 0
    struck: set[str] = field(default_factory=set)
    rests_until: float = 0.0


class Driver:
    """Runs a catalogue through the workers of an engine.

    Args:
        engine: Has the workers.
        catalogue: The items.
        manifest: Gets what becomes of them.
        model: What identifies the model in the manifest.
        total: Number of items; None: as many as the catalogue counts.
        policy: When to give up.
        watch: Called about once a second with how far the run is.
    """

    def __init__(
        self,
        engine: Engine,
        catalogue: Catalogue,
        manifest: Manifest,
        *,
        model: str,
        total: int | None = None,
        policy: Policy | None = None,
        watch: Callable[[Status], None] = lambda status: None,
    ) -> None:
        self._engine = engine
        self._manifest = manifest
        self._model = model
        self._policy = policy or Policy()
        self._watch = watch
        self._items: Iterator[BatchItem] = iter(catalogue)
        self._held: BatchItem | None = None
        self._has_more = True
        self._queue: list[tuple[float, int, Task]] = []
        self._numbers = itertools.count()
        self._splits = Splits()
        self._workers: dict[str, _Worker] = {}
        self._failed_starts = 0
        self._has_been_ready = False
        self._flushed_at = self._watched_at = time.monotonic()
        self.tally = Tally(total=catalogue.count() if total is None else total)

    def run(self) -> Tally:
        """Do all items.

        Returns:
            What became of them; what failed stands in the manifest.

        Raises:
            WorkersError: If no worker starts, or none can write results.
            StorageError: If the manifest cannot be written.
            ChangeDetError: If the model or the catalogue cannot be used.
        """
        state = "stopped"
        try:
            while self._has_more or self._queue or self._is_busy:
                self._start_workers()
                self._give_work()
                for event in self._engine.wait(_WAIT_S):
                    self._take(event)
                self._check_life()
                self._check_storage()
                self._report(state="running")
            state = "finished"
        finally:
            self._manifest.flush()
            self._report(state=state, at_once=True)
        return self.tally

    @property
    def _is_busy(self) -> bool:
        return any(worker.tasks for worker in self._workers.values())

    def _start_workers(self) -> None:
        wanted = self._engine.capacity()
        if self.tally.total is not None:
            ended = self.tally.done + self.tally.failed + self.tally.unchanged
            wanted = min(wanted, max(1, self.tally.total - ended))
        for _ in range(wanted - len(self._workers)):
            name = self._engine.start_worker()
            self._workers[name] = _Worker(name, name, alive_at=time.monotonic())

    def _give_work(self) -> None:
        now = time.monotonic()
        for worker in self._workers.values():
            if worker.is_ready and not worker.tasks and worker.rests_until <= now:
                tasks = self._next_tasks(now, worker)
                if not tasks:
                    continue
                worker.tasks, worker.alive_at = tasks, now
                worker.pulse = Pulse(worker.pulse.life)
                self._engine.give(worker.name, tasks)

    def _next_tasks(self, now: float, worker: _Worker) -> tuple[Task, ...]:
        due = self._due_task(now, worker)
        if due is not None:
            return (due,)
        if len(self._queue) >= _MOST_WAITING:
            return ()
        tasks: list[Task] = []
        while len(tasks) < _CHECKED_AT_ONCE:
            item = self._next_item()
            if item is None:
                break
            known = self._manifest.known(item.id)
            is_done = known is not None and known.state == "done"
            if not is_done and tasks:
                self._held = item
                break
            tasks.append(Task(item))
            if not is_done:
                break
        return tuple(tasks)

    def _due_task(self, now: float, worker: _Worker) -> Task | None:
        """Take from the queue what a worker can do now."""
        left: list[tuple[float, int, Task]] = []
        found = None
        while found is None and self._queue and self._queue[0][0] <= now:
            entry = heapq.heappop(self._queue)
            task = entry[2]
            others = [one for one in self._workers.values() if task.item.id not in one.struck]
            if task.item.id in worker.struck and others:
                # This worker could not write its results; another one may.
                left.append(entry)
            elif self._splits.is_wanted(task):
                found = task
        for entry in left:
            heapq.heappush(self._queue, entry)
        return found

    def _next_item(self) -> BatchItem | None:
        if self._held is not None:
            item, self._held = self._held, None
            return item
        for item in self._items:
            if self._manifest.visit(item.id):
                return item
            self.tally.repeated.append(item.id)
        self._has_more = False
        return None

    def _take(self, event: Event) -> None:
        worker = self._workers.get(event.worker)
        if worker is None:
            return
        now = time.monotonic()
        match event:
            case Ready(where=where):
                worker.label += f" on {where}" if where else ""
                worker.is_ready, worker.ready_at, worker.alive_at = True, now, now
                self._failed_starts, self._has_been_ready = 0, True
            case Alive(pulse=pulse):
                if pulse.life != worker.pulse.life:
                    worker.alive_at = now
                worker.pulse = pulse
            case Finished(outcomes=outcomes):
                tasks = {task.item.id: task for task in worker.tasks}
                worker.tasks, worker.alive_at = (), now
                for outcome in outcomes:
                    self._settle(tasks[outcome.id], outcome, worker)
            case Refused(error=error):
                if not self._has_been_ready:
                    raise error
                self._lose(worker, f"it cannot be started again: {error}")
            case Lost(reason=reason):
                self._lose(worker, reason)

    def _settle(self, task: Task, outcome: Outcome, worker: _Worker) -> None:
        fault = outcome.fault
        if fault is None:
            worker.strikes = 0
            worker.struck.clear()
        elif fault.is_of_storage:
            # Others may have room: this one must not take one item after the other from them.
            worker.strikes += 1
            worker.struck.add(task.item.id)
            worker.rests_until = time.monotonic() + 2 * self._pause(worker.strikes)
        if not self._splits.is_wanted(task):
            return
        worker.mpx += outcome.mpx
        if outcome.scene is not None:
            for part in self._splits.begin(task, outcome.scene):
                self._queue_up(part, at=0.0)
        elif outcome.block is not None:
            self.tally.mpx += outcome.mpx
            joined = self._splits.add(task, outcome.block)
            if joined is not None:
                self._queue_up(joined, at=0.0)
        elif fault is not None:
            self._fail(task, outcome, worker)
        else:
            self._finish(task, outcome, worker)

    def _fail(self, task: Task, outcome: Outcome, worker: _Worker) -> None:
        """Try an item again, or give it up."""
        fault = outcome.fault
        self.tally.attempts += 1
        is_tried_again = fault is not None and fault.may_pass and task.attempt < self._attempts
        if is_tried_again:
            pause = self._pause(task.attempt)
            if fault is not None and fault.is_of_storage:
                # Longer than the worker rests: another item shows whether it was this one.
                pause *= 4
            later = time.monotonic() + pause
            again = replace(task, attempt=task.attempt + 1)
            if fault is not None and fault.is_of_inputs:
                # What is known of the whole scene is not true any more.
                self._splits.end(task.item.id)
                again = replace(again, part=None)
            self._queue_up(again, at=later)
        else:
            self._splits.end(task.item.id)
            self.tally.failed += 1
        self._write_down(task, outcome, worker, state="retrying" if is_tried_again else "failed")

    def _finish(self, task: Task, outcome: Outcome, worker: _Worker) -> None:
        """Count an item whose results are there."""
        if outcome.state == "unchanged":
            self.tally.unchanged += 1
            known = self._manifest.known(task.item.id)
            if outcome.is_redated:
                self.tally.redated += 1
            elif known is not None and known.state == "done":
                return
        else:
            self.tally.done += 1
            self.tally.attempts += 1
        of_blocks = self._splits.end(task.item.id)
        if task.part is None:
            self.tally.mpx += outcome.mpx
        done = replace(outcome, seconds=outcome.seconds + of_blocks)
        self._write_down(task, done, worker, state="done")

    def _write_down(
        self, task: Task, outcome: Outcome, worker: _Worker, *, state: RowState
    ) -> None:
        self._manifest.add(
            make_row(task, outcome, state=state, worker=worker.label, model=self._model)
        )

    @property
    def _attempts(self) -> int:
        return self._policy.attempts

    def _pause(self, times: int) -> float:
        return float(min(_LONGEST_PAUSE_S, self._policy.back_off_s * 2 ** (times - 1)))

    def _queue_up(self, task: Task, *, at: float) -> None:
        heapq.heappush(self._queue, (at, next(self._numbers), task))

    def _lose(self, worker: _Worker, reason: str, *, kind: str = "WorkerDied") -> None:
        """Go on without a worker; its item is tried by another one."""
        del self._workers[worker.name]
        if not worker.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                raise WorkersError(
                    f"{_STARTS} workers in a row ended before they were ready, the last one "
                    f"because {reason}; check the memory of the machines and the model"
                )
        if len(worker.tasks) > 1:
            # Nobody knows at which of them it was.
            for task in worker.tasks:
                self._queue_up(task, at=0.0)
            return
        for task in worker.tasks:
            fault = Fault(kind, f"{worker.label}: {reason}", may_pass=True)
            seconds = time.monotonic() - worker.alive_at
            outcome = Outcome(task.item.id, "failed", datetime.now(UTC), seconds, fault=fault)
            self._settle(task, outcome, worker)

    def _check_life(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers.values()):
            is_starting = not worker.is_ready
            if not (is_starting or worker.tasks):
                continue
            limit = self._policy.start_timeout_s if is_starting else self._policy.timeout_s
            if now - worker.alive_at <= limit:
                continue
            self._engine.stop_worker(worker.name)
            what = "it was not ready" if is_starting else "no tile was done and nothing computed"
            hint = (
                "" if is_starting else ": an input hangs; check both rasters, or raise `timeout_s`"
            )
            self._lose(
                worker, f"{what} for {limit:g} s{'' if is_starting else hint}", kind="Timeout"
            )

    def _check_storage(self) -> None:
        """Stop where nobody can write: more attempts would only use up those of all items."""
        workers = self._workers.values()
        # A single scene may be larger than the disk.
        struck = set().union(*(worker.struck for worker in workers))
        if len(struck) > 1 and all(worker.strikes >= self._attempts for worker in workers):
            raise WorkersError(
                "none of the workers can write results; make room or check the rights, then run "
                "the command again: what is finished is kept"
            )

    def _report(self, *, state: str, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._watched_at >= _WATCH_S:
            self._watched_at = now
            self._watch(self._status(state))
        waiting = self._manifest.waiting
        if waiting >= _FLUSH_ROWS or (waiting and now - self._flushed_at >= _FLUSH_S):
            self._flushed_at = now
            self._manifest.flush()

    def _status(self, state: str) -> Status:
        workers = tuple(_status_of(worker) for worker in self._workers.values())
        at_hand = sum(worker.pulse.mpx_done for worker in self._workers.values() if worker.tasks)
        return self.tally.status(
            state, retrying=len(self._queue), workers=workers, at_hand_mpx=at_hand
        )


def _status_of(worker: _Worker) -> WorkerStatus:
    now = time.monotonic()
    pulse = worker.pulse
    note = "" if worker.is_ready else "starting"
    if worker.rests_until > now:
        note = f"cannot write, rests for {worker.rests_until - now:.0f} s"
    is_at_work = bool(worker.tasks)
    item = (pulse.id or worker.tasks[0].item.id) if is_at_work else None
    mpx = worker.mpx + (pulse.mpx_done if is_at_work else 0.0)
    return WorkerStatus(
        name=worker.label,
        item=item,
        share=pulse.done / pulse.total if is_at_work and pulse.total else 0.0,
        mpx_per_s=mpx / max(now - worker.ready_at, 1e-9) if worker.is_ready else 0.0,
        note=note,
    )
