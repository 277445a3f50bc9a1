"""``changedet batch``: a catalogue in, results and a manifest out, mistakes before any work."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from archives import MODEL, BatchItem, InlineEngine, same_maps, write_archive
from changedet.batch import local_engine
from changedet.batch.runner import ItemRunner, Setup
from changedet.batch.tally import Status, Tally, WorkerStatus
from changedet.cli.batch_progress import status_lines
from changedet.predict.rasters import predict_scene

pytestmark = pytest.mark.usefixtures("few_shift_tiles")


@pytest.fixture(autouse=True)
def _inline_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in this process: starting others takes seconds."""

    class Engine(InlineEngine):
        def __init__(self, setup: Setup, *, workers: int) -> None:
            super().__init__(ItemRunner(setup).run, workers=workers)

    monkeypatch.setattr(local_engine, "LocalEngine", Engine)


@pytest.fixture
def items(tmp_path: Path) -> list[BatchItem]:
    return write_archive(tmp_path / "in", 3)


def write_table(path: Path, items: Sequence[BatchItem], *more: str) -> Path:
    rows = [f"{item.id},{item.before},{item.after}" for item in items]
    path.write_text("\n".join(["id,before,after", *rows, *more]) + "\n")
    return path


def test_an_archive_is_done_and_done_again_only_where_something_is_missing(
    run: Callable, items: list[BatchItem], tmp_path: Path
) -> None:
    out, table = tmp_path / "out", write_table(tmp_path / "pairs.csv", items[:2])
    words = ("batch", table, "--model", MODEL, "--out", out, "--workers", 1)
    ended = run(*words)
    assert ended.code == 0
    assert "2 done, 0 unchanged, 0 failed" in ended.out
    assert "total: 2 of 2 items" in ended.err
    alone = tmp_path / "alone"
    predict_scene(items[1].before, items[1].after, model=MODEL, out=alone, device="cpu")
    assert same_maps(out / "items" / "tile_1", alone)
    write_table(table, items)
    ended = run(*words)
    assert "1 done, 2 unchanged, 0 failed" in ended.out
    found = pq.read_table(out / "manifest.parquet").to_pylist()
    assert [(row["id"], row["state"]) for row in found] == [(item.id, "done") for item in items]
    status = run("batch", "--out", out, "--status")
    assert status.code == 0
    assert "manifest: 3 done, 0 failed" in status.out
    assert "the run is finished" in status.out


def test_what_failed_stands_in_a_table_and_the_exit_code_is_1(
    run: Callable, items: list[BatchItem], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    Path(items[1].after).write_bytes(b"II*\0 cut short")
    table = write_table(tmp_path / "pairs.csv", items)
    ended = run("batch", table, "--model", MODEL, "--out", out, "--quiet")
    assert ended.code == 1
    assert "2 done, 0 unchanged, 1 failed" in ended.out
    header, line = ended.err.splitlines()[:2]
    assert header.split() == ["item", "attempts", "error"]
    assert line.split()[:2] == ["tile_1", "1"]
    assert "1_after.tif" in line
    assert not (out / "items" / "tile_1").exists()
    status = run("batch", "--out", out, "--status")
    assert "manifest: 2 done, 1 failed" in status.out
    assert "1_after.tif" in status.err
    # Mended, it is done.
    Path(items[1].after).unlink()
    write_archive(tmp_path / "in", 1, first=1)
    ended = run("batch", table, "--model", MODEL, "--out", out, "--quiet")
    assert (ended.code, ended.err) == (0, "")
    assert "1 done, 2 unchanged, 0 failed" in ended.out


def test_options_of_predict_hold_for_all_items(
    run: Callable, items: list[BatchItem], tmp_path: Path
) -> None:
    table = write_table(tmp_path / "pairs.csv", items[:1])
    options = ("--threshold", 0.9, "--polygons", "geojson", "--tile", 64, "--min-area", 0)
    out = tmp_path / "out"
    assert run("batch", table, "--model", MODEL, "--out", out, *options).code == 0
    folder = out / "items" / "tile_0"
    assert (folder / "polygons.geojson").exists()
    assert pq.read_table(out / "manifest.parquet")["threshold"].to_pylist() == [0.9]


def test_results_of_another_model_are_refused_before_any_work(
    run: Callable, items: list[BatchItem], tmp_path: Path
) -> None:
    table, out = write_table(tmp_path / "pairs.csv", items[:1]), tmp_path / "out"
    assert run("batch", table, "--model", MODEL, "--out", out).code == 0
    other = ("batch", table, "--model", "baseline:difference", "--out", out)
    ended = run(*other)
    assert ended.code == 2
    assert "holds the results of another model, baseline:cva; choose another folder" in ended.err
    assert "--overwrite" in ended.err
    assert run(*other, "--overwrite").code == 0
    assert pq.read_table(out / "manifest.parquet")["model"].to_pylist() == ["baseline:difference"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--out", "{tmp}/out"), "no catalogue is given"),
        (("{tmp}/none.csv", "--model", MODEL, "--out", "{tmp}/out"), "none.csv"),
        (("{table}", "--out", "{tmp}/out"), "no model is named"),
        (("{table}", "--model", MODEL, "--out", "{tmp}/in"), "contains other files"),
        (("{table}", "--model", MODEL, "--out", "{table}"), "is a file"),
        (("{table}", "--model", MODEL, "--out", "nowhere://bucket"), "such as s3://bucket"),
        (("{table}", "--model", MODEL, "--out", "{tmp}/out", "--address", "auto"), "--address"),
        (("{table}", "--model", MODEL, "--out", "{tmp}/out", "--timeout", "0"), "--timeout"),
        (("{table}", "--model", MODEL, "--out", "{tmp}/out", "--num-gpus", "1.5"), "--num-gpus"),
        (("{table}", "--model", MODEL, "--out", "{tmp}/out", "--threshold", "2"), "--threshold"),
        (("--out", "{tmp}/in", "--status"), "holds no results of changedet batch"),
    ],
)
def test_mistakes_are_told_in_one_line(
    run: Callable, items: list[BatchItem], tmp_path: Path, words: Sequence[str], says: str
) -> None:
    table = write_table(tmp_path / "pairs.csv", items[:1])
    ended = run("batch", *(word.format(tmp=tmp_path, table=table) for word in words))
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert says in ended.err
    assert not (tmp_path / "out" / "items").exists()


def test_two_runs_do_not_write_to_one_folder(
    run: Callable, items: list[BatchItem], tmp_path: Path
) -> None:
    from changedet.storage.lock import only_run

    table = write_table(tmp_path / "pairs.csv", items[:1])
    with only_run(tmp_path / "out"):
        ended = run("batch", table, "--model", MODEL, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "another run is writing" in ended.err


def test_ctrl_c_keeps_what_is_finished(
    run: Callable, items: list[BatchItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, out = write_table(tmp_path / "pairs.csv", items), tmp_path / "out"
    real, done = ItemRunner.run, []

    def interrupted(self: ItemRunner, task, *, progress=None):
        if done:
            raise KeyboardInterrupt
        done.append(task)
        return real(self, task, progress=progress)

    monkeypatch.setattr(ItemRunner, "run", interrupted)
    ended = run("batch", table, "--model", MODEL, "--out", out)
    assert ended.code == 130
    assert "run the same command again" in ended.err
    assert "the run is stopped" in run("batch", "--out", out, "--status").out
    monkeypatch.setattr(ItemRunner, "run", real)
    ended = run("batch", table, "--model", MODEL, "--out", out)
    assert "2 done, 1 unchanged, 0 failed" in ended.out


def test_without_its_packages_the_command_names_the_extra(
    run: Callable, items: list[BatchItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    table = write_table(tmp_path / "pairs.csv", items[:1])
    words = ("batch", table, "--model", MODEL, "--out", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install '.[ray]'" in run(*words, "--engine", "ray").err
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ended = run(*words)
    assert ended.code == 2
    assert "pip install '.[batch]'" in ended.err
    assert not (tmp_path / "out").exists()


def test_progress_is_a_line_per_worker_and_a_total() -> None:
    tally = Tally(total=1000, done=90, failed=10, unchanged=400, mpx=100.0)
    tally._clock -= 200
    workers = (
        WorkerStatus(name="worker 1", item="tile_7", share=0.5, mpx_per_s=1.25),
        WorkerStatus(name="worker 2 on far", item=None, share=0.0, mpx_per_s=0.0, note="starting"),
    )
    status: Status = tally.status("running", retrying=2, workers=workers, at_hand_mpx=20.0)
    first, second, total = status_lines(status)
    assert first == "worker 1: tile_7  50 %  1.25 Mpx/s"
    assert second.startswith("worker 2 on far: starting")
    assert total == (
        "total: 500 of 1,000 items, 0.60 Mpx/s, 400 unchanged, 10 failed, 2 to be tried again, "
        "16:40 left"
    )
