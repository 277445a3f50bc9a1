"""The manifest: one row per item, whatever was killed in between."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from changedet.batch import manifest as manifest_module
from changedet.batch.manifest import Manifest
from changedet.batch.place import LocalPlace
from changedet.errors import ResultsError


def row(identifier: str, state: str = "done", **more: object) -> dict:
    return {"id": identifier, "state": state, "attempts": 1, "started": datetime.now(UTC), **more}


def latest(place: LocalPlace) -> dict[str, dict]:
    with Manifest(place, mode="read") as manifest:
        rows = list(manifest.rows())
    assert max(Counter(row["id"] for row in rows).values(), default=1) == 1
    return {row["id"]: row for row in rows}


@pytest.fixture
def place(tmp_path: Path) -> LocalPlace:
    return LocalPlace(tmp_path / "out")


def test_the_latest_row_of_an_item_counts(place: LocalPlace) -> None:
    with Manifest(place, mode="write") as manifest:
        manifest.add(row("a", "retrying", error="no answer"))
        manifest.add(row("b"))
        manifest.flush()
        manifest.add(row("a", polygons=3))
        manifest.flush()
        assert manifest.known("a").state == "done"
        assert manifest.known("c") is None
        assert manifest.counts() == {"done": 2}
    found = latest(place)
    assert found.keys() == {"a", "b"}
    assert found["a"]["polygons"] == 3
    assert found["a"]["error"] is None


def test_what_was_flushed_outlives_a_kill_and_is_merged_by_the_next_run(place: LocalPlace) -> None:
    killed = Manifest(place, mode="write")
    killed.add(row("a"))
    killed.flush()
    killed.add(row("lost"))
    assert latest(place).keys() == {"a"}
    with Manifest(place, mode="write") as manifest:
        assert place.sizes("manifest") == {}
        manifest.add(row("a", "failed"))
        manifest.merge()
    table = pq.read_table(place.folder / "manifest.parquet")
    assert table.column("id").to_pylist() == ["a"]
    assert table.column("state").to_pylist() == ["failed"]
    killed.close()


@pytest.mark.parametrize("step", ["before parts are removed", "in the middle"])
def test_a_kill_during_a_merge_loses_and_doubles_nothing(
    place: LocalPlace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    manifest = Manifest(place, mode="write")
    for number in range(3):
        manifest.add(row(f"item {number}", polygons=number))
        manifest.flush()
    removed = []

    def remove(self: LocalPlace, name: str) -> None:
        if step == "before parts are removed" or removed:
            raise KeyboardInterrupt
        removed.append(name)
        (self.folder / name).unlink()

    with monkeypatch.context() as patch:
        patch.setattr(LocalPlace, "remove", remove)
        with pytest.raises(KeyboardInterrupt):
            manifest.merge()
    manifest.close()
    assert {name: row["polygons"] for name, row in latest(place).items()} == {
        "item 0": 0,
        "item 1": 1,
        "item 2": 2,
    }
    with Manifest(place, mode="write") as again:
        again.add(row("item 1", polygons=7))
        again.flush()
    assert latest(place)["item 1"]["polygons"] == 7


def test_small_files_are_merged_so_that_their_number_stays_small(
    place: LocalPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_module, "_PARTS_AT_ONCE", 4)
    with Manifest(place, mode="write") as manifest:
        for number in range(18):
            manifest.add(row(f"item {number % 15}", attempts=number))
            manifest.flush()
        assert len(place.sizes("manifest")) == 4 + 2
        assert not (place.folder / "manifest.parquet").exists()
    found = latest(place)
    assert len(found) == 15
    assert found["item 2"]["attempts"] == 17
    assert found["item 14"]["attempts"] == 14


def test_rows_are_filtered_by_state(place: LocalPlace) -> None:
    with Manifest(place, mode="write") as manifest:
        manifest.add(row("a"))
        manifest.add(row("b", "failed"))
        manifest.flush()
        assert [found["id"] for found in manifest.rows("failed")] == ["b"]


def test_an_id_is_visited_once_in_a_run(place: LocalPlace) -> None:
    with Manifest(place, mode="write") as manifest:
        manifest.add(row("a"))
        assert manifest.visit("a")
        assert not manifest.visit("a")
        assert manifest.visit("new")
        assert not manifest.visit("new")
        assert manifest.known("new") is None
        assert manifest.known("a").state == "done"
        manifest.merge()
    with Manifest(place, mode="write") as manifest:
        assert manifest.visit("a")


def test_a_damaged_manifest_is_told_in_one_line(place: LocalPlace) -> None:
    place.write("manifest.parquet", b"PAR1 no table")
    with pytest.raises(ResultsError, match=r"manifest\.parquet cannot be read .*; remove it"):
        Manifest(place, mode="read")
