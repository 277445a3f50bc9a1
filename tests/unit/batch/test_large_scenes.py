"""Large scenes: cut, scored by several workers, put together as if they were whole."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archives import (
    BatchItem,
    InlineEngine,
    Items,
    WorkerGoneError,
    common,
    same_maps,
    write_archive,
    write_tile,
)
from changedet.batch.driver import Driver, Policy
from changedet.batch.manifest import Manifest
from changedet.batch.place import RemotePlace, open_place
from changedet.batch.run import model_identity
from changedet.batch.runner import ItemRunner, Setup
from changedet.batch.tally import Tally
from changedet.batch.task import Block, Fault, Join, Outcome, Task
from changedet.models.model_file import save_model
from changedet.predict.blocks import BlockScores, SceneBlocks
from changedet.predict.flow import TileCounts
from changedet.predict.rasters import predict_scene
from changedet.raster.geo_grid import Window
from stand_ins import untrained_scene_model

pytestmark = pytest.mark.usefixtures("few_shift_tiles")
QUICK = Policy(attempts=3, back_off_s=0.01, timeout_s=5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, *untrained_scene_model())
    return path


@pytest.fixture
def items(tmp_path: Path) -> list[BatchItem]:
    """A large scene between two small ones."""
    small = write_archive(tmp_path / "in", 2)
    before = write_tile(tmp_path / "in" / "before.tif", 5, changed=False, size=(260, 200))
    after = write_tile(tmp_path / "in" / "after.tif", 5, changed=True, size=(260, 200))
    return [small[0], BatchItem("large", str(before), str(after)), small[1]]


def run(
    items: list[BatchItem],
    out: str,
    work: Callable[[Task], Outcome],
    *,
    model: str = "m",
    workers: int = 2,
) -> tuple[Tally, InlineEngine]:
    engine = InlineEngine(work, workers=workers)
    with Manifest(open_place(out), mode="write") as manifest:
        tally = Driver(engine, Items(items), manifest, model=model, policy=QUICK).run()
        manifest.merge()
    return tally, engine


@pytest.mark.parametrize("where", ["folder", "address"])
def test_a_large_scene_is_what_predict_makes_of_it(
    items: list[BatchItem],
    model: Path,
    tmp_path: Path,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    settings = common(model, tile_px=64, batch_size=3)
    out = str(tmp_path / "out") if where == "folder" else f"memory://large/{tmp_path.name}"
    setup = Setup(settings, model_identity(str(model)), out, split_px=20_000)
    died = []

    def work(task: Task) -> Outcome:
        if isinstance(task.part, Block) and task.part.number == 1 and not died:
            died.append(task)
            raise WorkerGoneError("its process was ended by SIGKILL")
        # As on another machine: a worker knows nothing of what others did.
        return ItemRunner(setup).run(task)

    tally, engine = run(items, out, work)
    assert (tally.done, tally.failed) == (3, 0)
    parts = [task.part for tasks in engine.tasks for task in tasks if task.item.id == "large"]
    assert parts[0] is None
    assert [part.number for part in parts if isinstance(part, Block)].count(1) == 2
    assert isinstance(parts[-1], Join)
    assert tally.mpx == pytest.approx((2 * 96 * 120 + 260 * 200) / 1e6)
    alone, found = tmp_path / "alone", tmp_path / "out" / "items" / "large"
    large = items[1]
    predict_scene(
        large.before, large.after, model=model, out=alone, device="cpu", tile_px=64, batch_size=3
    )
    place = open_place(out)
    if isinstance(place, RemotePlace):
        found = tmp_path / "fetched"
        found.mkdir()
        for name in place.sizes("items/large"):
            place.get(f"items/large/{name}", found / name)
    assert same_maps(found, alone)
    assert place.sizes(".unfinished.part/.blocks/large") == {}
    summary = json.loads((found / "summary.json").read_text())
    whole = json.loads((alone / "summary.json").read_text())
    for key in ("tiles", "pixels", "shift", "polygons", "remarks", "threshold", "grid"):
        assert summary[key] == whole[key], key
    # Once more, nothing is done.
    tally, _ = run(items, out, work)
    assert tally.unchanged == 3


def test_blocks_that_are_scored_are_not_scored_again_after_a_kill(
    items: list[BatchItem], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = common(model, tile_px=64, batch_size=3)
    out = str(tmp_path / "out")
    runner = ItemRunner(Setup(settings, model_identity(str(model)), out, split_px=20_000))
    killed = []

    def interrupted(task: Task) -> Outcome:
        if isinstance(task.part, Block) and task.part.number == 1:
            killed.append(task)
            raise KeyboardInterrupt
        return runner.run(task)

    with pytest.raises(KeyboardInterrupt):
        run(items[1:2], out, interrupted, workers=1)
    assert killed
    scored = []
    real = ItemRunner.run.__globals__["BlockStore"].score.__globals__
    score_block = real["score_block"]

    def counted(*given: object, number: int, **more: object) -> object:
        scored.append(number)
        return score_block(*given, number=number, **more)

    monkeypatch.setitem(real, "score_block", counted)
    tally, _ = run(items[1:2], out, runner.run, workers=1)
    assert tally.done == 1
    assert 0 not in scored
    assert 1 in scored


def test_a_baseline_keeps_its_scenes_whole(items: list[BatchItem], tmp_path: Path) -> None:
    setup = Setup(common(), "baseline:cva", str(tmp_path / "out"), split_px=1)
    assert ItemRunner(setup).run(Task(items[1])).state == "done"


SCENE = SceneBlocks((Window(0, 0, 10, 10), Window(10, 0, 10, 10)), None, {})


def fake(task: Task, fault: Fault | None = None) -> Outcome:
    now = datetime.now(UTC)
    if fault is not None:
        return Outcome(task.item.id, "failed", now, 0.1, fault=fault)
    if task.part is None:
        return Outcome(task.item.id, "cut", now, 0.1, scene=SCENE._replace(fingerprint={}))
    if isinstance(task.part, Block):
        done = BlockScores(TileCounts(1, 0, 0), 100, 2.0)
        return Outcome(task.item.id, "part", now, 2.0, block=done)
    return Outcome(task.item.id, "done", now, 1.0)


def test_a_block_that_fails_for_good_fails_the_scene_and_nothing_else(tmp_path: Path) -> None:
    items = [BatchItem(name, "a.tif", "b.tif") for name in ("one", "two")]

    def work(task: Task) -> Outcome:
        is_bad = task.item.id == "one" and isinstance(task.part, Block) and task.part.number == 0
        return fake(task, Fault("DataError", "bad pixels") if is_bad else None)

    tally, engine = run(items, str(tmp_path), work, workers=1)
    assert (tally.done, tally.failed) == (1, 1)
    ones = [task for tasks in engine.tasks for task in tasks if task.item.id == "one"]
    assert not any(isinstance(task.part, Join) for task in ones)


def test_a_scene_that_changes_between_its_blocks_is_cut_anew(tmp_path: Path) -> None:
    changed = Fault("InputChangedError", "changed", may_pass=True, is_of_inputs=True)
    failed = []

    def work(task: Task) -> Outcome:
        if isinstance(task.part, Block) and not failed:
            failed.append(task)
            return fake(task, changed)
        return fake(task)

    tally, engine = run([BatchItem("one", "a.tif", "b.tif")], str(tmp_path), work, workers=1)
    assert tally.done == 1
    parts = [tasks[0].part for tasks in engine.tasks]
    assert parts.count(None) == 2
    assert sum(isinstance(part, Join) for part in parts) == 1
    assert all(part.scene is parts[-1].scene for part in parts[-3:])


def test_the_time_of_a_scene_is_that_of_all_its_blocks(tmp_path: Path) -> None:
    run([BatchItem("one", "a.tif", "b.tif")], str(tmp_path), fake)
    with Manifest(open_place(str(tmp_path)), mode="read") as manifest:
        [row] = manifest.rows()
    assert row["seconds"] == pytest.approx(5.0)
