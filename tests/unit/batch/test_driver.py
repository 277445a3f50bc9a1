"""The driver: attempts, losses, timeouts, repeated ids, in memory that does not grow."""

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archives import HangingError, InlineEngine, Items, WorkerGoneError
from changedet.batch.driver import Driver, Policy
from changedet.batch.engine import Event, Lost, Refused
from changedet.batch.item import BatchItem
from changedet.batch.manifest import Manifest
from changedet.batch.place import LocalPlace
from changedet.batch.request import WorkersError
from changedet.batch.tally import Status, Tally
from changedet.batch.task import Fault, Findings, Outcome, Task
from changedet.errors import CheckpointError

QUICK = Policy(attempts=3, back_off_s=0.01, timeout_s=0.2)
NETWORK = Fault("ImageError", "no answer", may_pass=True)
DISK = Fault("StorageError", "no space left", may_pass=True, is_of_storage=True)


def outcome(task: Task, fault: Fault | None = None, *, unchanged: bool = False) -> Outcome:
    state = "failed" if fault else "unchanged" if unchanged else "done"
    findings = None if fault else Findings("print", "sum", 1000, 2000, 0.1, 3, 0.5)
    return Outcome(task.item.id, state, datetime.now(UTC), 0.1, findings, fault)


def items(count: int) -> list[BatchItem]:
    return [BatchItem(f"item {number}", "a.tif", "b.tif") for number in range(count)]


class Ran:
    """A run of the driver, and what the manifest holds after it."""

    def __init__(
        self,
        out: Path,
        work: Callable[[Task], Outcome],
        *,
        count: int = 4,
        catalogue: Items | None = None,
        policy: Policy = QUICK,
        workers: int = 1,
    ) -> None:
        self.engine = InlineEngine(work, workers=workers)
        self.statuses: list[Status] = []
        with Manifest(LocalPlace(out), mode="write") as manifest:
            driver = Driver(
                self.engine,
                catalogue or Items(items(count)),
                manifest,
                model="m",
                policy=policy,
                watch=self.statuses.append,
            )
            try:
                self.tally: Tally = driver.run()
            finally:
                manifest.flush()
                self.rows = {row["id"]: row for row in manifest.rows()}

    @property
    def attempts(self) -> list[tuple[str, int]]:
        return [(task.item.id, task.attempt) for tasks in self.engine.tasks for task in tasks]


def test_every_item_is_done_and_written_down(tmp_path: Path) -> None:
    ran = Ran(tmp_path, outcome)
    assert (ran.tally.done, ran.tally.failed) == (4, 0)
    assert ran.tally.mpx == pytest.approx(8.0)
    row = ran.rows["item 2"]
    assert (row["state"], row["attempts"], row["worker"]) == ("done", 1, "worker 1")
    assert (row["checksum"], row["folder"], row["error"]) == ("sum", "items/item 2", None)
    assert ran.statuses[-1].state == "finished"
    assert (ran.statuses[-1].done, ran.statuses[-1].total) == (4, 4)


def test_a_fault_that_stays_is_not_tried_again_and_stops_nobody(tmp_path: Path) -> None:
    def work(task: Task) -> Outcome:
        return outcome(task, Fault("DataError", "no overlap") if task.item.id == "item 1" else None)

    ran = Ran(tmp_path, work)
    assert (ran.tally.done, ran.tally.failed) == (3, 1)
    assert ran.attempts.count(("item 1", 1)) == 1
    assert ("item 1", 2) not in ran.attempts
    row = ran.rows["item 1"]
    assert (row["state"], row["error_type"], row["error"]) == ("failed", "DataError", "no overlap")


def test_a_fault_that_may_pass_is_tried_again_and_others_come_first(tmp_path: Path) -> None:
    def work(task: Task) -> Outcome:
        return outcome(task, NETWORK if task.item.id == "item 0" and task.attempt < 3 else None)

    ran = Ran(tmp_path, work, policy=Policy(attempts=3, back_off_s=0.1))
    assert (ran.tally.done, ran.tally.failed, ran.tally.attempts) == (4, 0, 6)
    assert ran.attempts[:4] == [(f"item {number}", 1) for number in range(4)]
    assert (ran.rows["item 0"]["state"], ran.rows["item 0"]["attempts"]) == ("done", 3)


def test_attempts_have_a_limit(tmp_path: Path) -> None:
    ran = Ran(tmp_path, lambda task: outcome(task, NETWORK), count=2)
    assert (ran.tally.done, ran.tally.failed) == (0, 2)
    assert len(ran.attempts) == 6
    assert {row["state"] for row in ran.rows.values()} == {"failed"}


def test_the_item_of_a_dead_worker_is_tried_by_another_one(tmp_path: Path) -> None:
    died = []

    def work(task: Task) -> Outcome:
        if task.item.id == "item 1" and not died:
            died.append(task)
            raise WorkerGoneError("its process was ended by SIGKILL")
        return outcome(task)

    ran = Ran(tmp_path, work)
    assert (ran.tally.done, ran.tally.failed) == (4, 0)
    row = ran.rows["item 1"]
    assert (row["state"], row["attempts"], row["worker"]) == ("done", 2, "worker 2")


def test_an_item_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    def work(task: Task) -> Outcome:
        if task.item.id == "item 1":
            raise WorkerGoneError("its process was ended by SIGSEGV")
        return outcome(task)

    ran = Ran(tmp_path, work)
    assert (ran.tally.done, ran.tally.failed) == (3, 1)
    row = ran.rows["item 1"]
    assert row["error_type"] == "WorkerDied"
    assert "SIGSEGV" in row["error"]
    assert row["attempts"] == 3


def test_an_item_that_hangs_is_given_up_and_its_worker_replaced(tmp_path: Path) -> None:
    def work(task: Task) -> Outcome:
        if task.item.id == "item 0":
            raise HangingError
        return outcome(task)

    ran = Ran(tmp_path, work)
    assert (ran.tally.done, ran.tally.failed) == (3, 1)
    assert ran.rows["item 0"]["error_type"] == "Timeout"
    assert "an input hangs" in ran.rows["item 0"]["error"]


def test_a_worker_that_cannot_write_rests_while_another_one_does_the_work(tmp_path: Path) -> None:
    workers: list[str] = []
    engine_of: list[InlineEngine] = []

    class TwoEngines(InlineEngine):
        def give(self, worker: str, tasks: tuple[Task, ...]) -> None:
            workers.append(worker)
            self._work = lambda task: outcome(task, DISK if worker == "worker 1" else None)
            super().give(worker, tasks)

    with Manifest(LocalPlace(tmp_path), mode="write") as manifest:
        engine_of.append(TwoEngines(outcome, workers=2))
        policy = Policy(attempts=3, back_off_s=0.05)
        tally = Driver(engine_of[0], Items(items(12)), manifest, model="m", policy=policy).run()
    assert (tally.done, tally.failed) == (12, 0)
    assert workers.count("worker 1") < workers.count("worker 2")


def test_where_nobody_can_write_the_run_stops_and_uses_up_no_items(tmp_path: Path) -> None:
    with pytest.raises(WorkersError, match="none of the workers can write results; make room"):
        Ran(tmp_path, lambda task: outcome(task, DISK), count=50)
    with Manifest(LocalPlace(tmp_path), mode="read") as manifest:
        assert manifest.counts().get("failed", 0) <= 1


def test_one_scene_that_no_disk_has_room_for_stops_nobody(tmp_path: Path) -> None:
    ran = Ran(tmp_path, lambda task: outcome(task, DISK if task.item.id == "item 1" else None))
    assert (ran.tally.done, ran.tally.failed) == (3, 1)
    assert ran.rows["item 1"]["attempts"] == 3
    # The others do not wait for it.
    assert [name for name, _ in ran.attempts][:3] != ["item 0", "item 1", "item 1"]


def test_what_is_done_is_looked_at_in_groups_and_kept(tmp_path: Path) -> None:
    Ran(tmp_path, outcome, count=3)
    ran = Ran(tmp_path, lambda task: outcome(task, unchanged=int(task.item.id[-1]) < 3), count=5)
    assert [len(tasks) for tasks in ran.engine.tasks] == [3, 1, 1]
    assert (ran.tally.unchanged, ran.tally.done, ran.tally.attempts) == (3, 2, 2)


def test_a_group_whose_worker_dies_is_looked_at_one_by_one(tmp_path: Path) -> None:
    Ran(tmp_path, outcome, count=3)

    def work(task: Task) -> Outcome:
        if task.item.id == "item 1":
            raise WorkerGoneError("gone")
        return outcome(task, unchanged=True)

    ran = Ran(tmp_path, work, count=3)
    assert (ran.tally.unchanged, ran.tally.failed) == (2, 1)
    assert ran.rows["item 1"]["attempts"] == 3


def test_results_that_are_there_without_a_row_get_one(tmp_path: Path) -> None:
    ran = Ran(tmp_path, lambda task: outcome(task, unchanged=True), count=2)
    assert ran.tally.unchanged == 2
    assert ran.rows["item 0"]["state"] == "done"
    assert ran.rows["item 0"]["checksum"] == "sum"


def test_dates_that_are_new_to_unchanged_results_are_written_down(tmp_path: Path) -> None:
    def work(task: Task) -> Outcome:
        return replace(outcome(task, unchanged=True), is_redated=task.item.after_date is not None)

    Ran(tmp_path, outcome, count=2)
    dated = [replace(items(2)[0], after_date=datetime(2020, 7, 1, tzinfo=UTC)), items(2)[1]]
    ran = Ran(tmp_path, work, catalogue=Items(dated))
    assert (ran.tally.unchanged, ran.tally.redated, ran.tally.done) == (2, 1, 0)
    assert ran.rows["item 0"]["after_date"] == dated[0].after_date
    assert ran.rows["item 0"]["state"] == "done"
    assert ran.rows["item 1"]["after_date"] is None


def test_the_first_item_of_a_repeated_id_counts(tmp_path: Path) -> None:
    catalogue = Items([*items(2), *items(1)], counted=False)
    ran = Ran(tmp_path, outcome, catalogue=catalogue)
    assert ran.tally.done == 2
    assert ran.tally.repeated == ["item 0"]


def test_a_model_that_no_worker_can_load_ends_the_run(tmp_path: Path) -> None:
    class Refusing(InlineEngine):
        def wait(self, timeout_s: float) -> list[Event]:
            return [Refused(f"worker {self._started}", CheckpointError("it is damaged"))]

    with Manifest(LocalPlace(tmp_path), mode="write") as manifest:
        driver = Driver(Refusing(outcome), Items(items(2)), manifest, model="m")
        with pytest.raises(CheckpointError, match="damaged"):
            driver.run()


def test_workers_that_all_die_at_their_start_end_the_run(tmp_path: Path) -> None:
    class Dying(InlineEngine):
        def wait(self, timeout_s: float) -> list[Event]:
            return [Lost(f"worker {self._started}", "its process was ended by SIGKILL")]

    with Manifest(LocalPlace(tmp_path), mode="write") as manifest:
        driver = Driver(Dying(outcome), Items(items(2)), manifest, model="m")
        with pytest.raises(WorkersError, match="3 workers in a row ended before they were ready"):
            driver.run()


class Endless:
    """A catalogue that is never in memory as a whole."""

    name = "many"

    def __init__(self, count: int) -> None:
        self._count = count

    def __iter__(self) -> Iterator[BatchItem]:
        for number in range(self._count):
            yield BatchItem(f"scene_{number:07}", f"/data/{number}_a.tif", f"/data/{number}_b.tif")

    def count(self) -> int:
        return self._count


def test_memory_does_not_grow_with_the_catalogue(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        with Manifest(LocalPlace(tmp_path / str(count)), mode="write") as manifest:
            engine = InlineEngine(outcome)
            engine.tasks = _Nowhere()
            tracemalloc.start()
            tally = Driver(engine, Endless(count), manifest, model="m").run()
            manifest.merge()
            _, found = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert tally.done == count
        return found

    peak(100)  # what libraries load once
    # 600 bytes a row would be 2.4 MB more.
    assert peak(5_000) - peak(1_000) < 400_000


class _Nowhere(list):
    def append(self, item: object) -> None:
        pass


def test_few_workers_are_started_for_few_items(tmp_path: Path) -> None:
    ran = Ran(tmp_path, outcome, count=2, workers=8)
    assert ran.engine._started == 2
    assert ran.tally.done == 2


def test_items_are_read_as_they_are_needed(tmp_path: Path) -> None:
    read = itertools.count()

    class Watched(Items):
        def __iter__(self) -> Iterator[BatchItem]:
            for item in self.items:
                next(read)
                yield item

    seen = []

    def work(task: Task) -> Outcome:
        seen.append(int(repr(read)[6:-1]))
        return outcome(task)

    Ran(tmp_path, work, catalogue=Watched(items(4)))
    assert seen == [1, 2, 3, 4]
