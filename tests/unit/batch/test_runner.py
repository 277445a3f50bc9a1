"""A worker's results: those of ``changedet predict``, complete or not at all, made once."""

import dataclasses
import hashlib
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archives import MODEL, BatchItem, common, same_maps, write_archive, write_tile
from changedet.batch.place import RemotePlace
from changedet.batch.runner import ItemRunner, Setup
from changedet.batch.task import Outcome, Task
from changedet.errors import ConfigError
from changedet.predict.rasters import predict_scene
from changedet.storage.lock import only_run

pytestmark = pytest.mark.usefixtures("few_shift_tiles")


@pytest.fixture
def archive(tmp_path: Path) -> list[BatchItem]:
    return write_archive(tmp_path / "in", 2)


@pytest.fixture
def do(tmp_path: Path) -> Callable[..., Outcome]:
    """Make a function that does an item in ``out`` with a new worker."""

    def run(item: BatchItem, *, model: str = MODEL, out: str | None = None, **more: object):
        setup = Setup(common(MODEL, **more), model, out or str(tmp_path / "out"))
        return ItemRunner(setup).run(Task(item))

    return run


def test_results_are_those_of_predict_and_their_folder_appears_when_complete(
    archive: list[BatchItem], do: Callable[..., Outcome], tmp_path: Path
) -> None:
    item = archive[0]
    outcome = do(item)
    assert (outcome.state, outcome.fault) == ("done", None)
    folder = tmp_path / "out" / "items" / item.id
    alone = tmp_path / "alone" / item.id
    report = predict_scene(item.before, item.after, model=MODEL, out=alone, device="cpu")
    assert same_maps(folder, alone)
    assert outcome.findings.polygons == report.polygons.count > 0
    assert outcome.findings.changed_share == pytest.approx(0.05, abs=0.01)
    assert (outcome.findings.height, outcome.findings.width) == (96, 120)
    assert {path.name for path in folder.iterdir()} == {
        *(path.name for path in alone.iterdir()),
        "record.json",
    }
    assert json.loads((folder / "item.json").read_text())["id"] == item.id
    assert not list((tmp_path / "out" / ".unfinished.part").iterdir())


def test_the_checksum_is_what_sha256sum_prints_of_what_it_prints(
    archive: list[BatchItem], do: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = do(archive[0])
    folder = tmp_path / "out" / "items" / archive[0].id
    lines = "".join(
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("mask.tif", "score.tif")
    )
    assert outcome.findings.checksum == hashlib.sha256(lines.encode()).hexdigest()


def test_done_results_are_kept_and_what_was_found_is_told_again(
    archive: list[BatchItem], do: Callable[..., Outcome], tmp_path: Path
) -> None:
    first = do(archive[0])
    made = (tmp_path / "out" / "items" / archive[0].id / "score.tif").stat().st_mtime_ns
    again = do(archive[0])
    assert again.state == "unchanged"
    assert again.findings == first.findings
    assert (tmp_path / "out" / "items" / archive[0].id / "score.tif").stat().st_mtime_ns == made


@pytest.mark.parametrize(
    "change",
    ["input", "model", "option of all", "option of the item", "other input", "lost", "cut short"],
)
def test_what_is_missing_or_changed_is_made_anew(
    archive: list[BatchItem], do: Callable[..., Outcome], tmp_path: Path, change: str
) -> None:
    item = archive[0]
    do(item)
    folder = tmp_path / "out" / "items" / item.id
    more: dict = {}
    if change == "input":
        write_tile(Path(item.after), 0, changed=False)
    elif change == "other input":
        item = dataclasses.replace(item, before=archive[1].before)
    elif change == "model":
        more = {"model": "another checksum"}
    elif change == "option of all":
        more = {"threshold": 0.6}
    elif change == "option of the item":
        item = dataclasses.replace(item, options={"threshold": 0.6})
    elif change == "lost":
        (folder / "polygons.gpkg").unlink()
    else:
        (folder / "score.tif").write_bytes(b"II")
    outcome = do(item, **more)
    if change == "other input":  # elsewhere on the ground
        assert outcome.fault.kind == "DataError"
        return
    assert outcome.state == "done"
    assert (folder / "polygons.gpkg").exists()
    assert do(item, **more).state == "unchanged"


def read_item(out: Path, identifier: str) -> dict:
    return json.loads((out / "items" / identifier / "item.json").read_text())


def time_range(item: dict) -> tuple[str | None, ...]:
    names = ("datetime", "start_datetime", "end_datetime")
    return tuple(item["properties"].get(name) for name in names)


def test_dates_of_the_catalogue_are_those_of_the_stac_item(
    archive: list[BatchItem], do: Callable[..., Outcome], tmp_path: Path
) -> None:
    item = dataclasses.replace(
        archive[0],
        # Read from a catalogue, dates have a time zone; made by hand, they may have none.
        before_date=datetime(2000, 7, 1),
        after_date=datetime(2020, 7, 1, 10, 30, tzinfo=UTC),
    )
    assert do(item).state == "done"
    content = read_item(tmp_path / "out", item.id)
    assert time_range(content) == (None, "2000-07-01T00:00:00Z", "2020-07-01T10:30:00Z")
    inputs = content["properties"]["changedet:inputs"]
    assert [inputs[name]["acquired"] for name in ("before", "after")] == list(
        time_range(content)[1:]
    )
    again = do(item)
    assert (again.state, again.is_redated) == ("unchanged", False)


def test_a_date_that_the_catalogue_does_not_state_is_that_of_the_file(
    archive: list[BatchItem], do: Callable[..., Outcome], tmp_path: Path
) -> None:
    import rasterio

    with rasterio.open(archive[0].after, "r+") as file:
        file.update_tags(TIFFTAG_DATETIME="2021:05:06 07:08:09")
    item = dataclasses.replace(archive[0], before_date=datetime(2000, 7, 1))
    do(item)
    content = read_item(tmp_path / "out", item.id)
    assert time_range(content) == (None, "2000-07-01T00:00:00Z", "2021-05-06T07:08:09Z")
    other = dataclasses.replace(archive[1], before_date=datetime(2000, 7, 1))
    do(other)
    content = read_item(tmp_path / "out", other.id)
    # STAC knows no range with one end.
    assert time_range(content) == (content["properties"]["created"], None, None)


@pytest.mark.parametrize("where", ["folder", "address"])
def test_dates_that_change_are_put_into_results_that_are_not_made_again(
    archive: list[BatchItem],
    do: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    out = str(tmp_path / "out") if where == "folder" else f"local://{tmp_path / 'out'}"
    first = do(archive[0], out=out)
    undated = read_item(tmp_path / "out", archive[0].id)
    made = (tmp_path / "out" / "items" / archive[0].id / "score.tif").stat().st_mtime_ns
    dated = dataclasses.replace(
        archive[0], before_date=datetime(2000, 7, 1), after_date=datetime(2020, 7, 1)
    )
    outcome = do(dated, out=out)
    assert (outcome.state, outcome.is_redated) == ("unchanged", True)
    assert outcome.findings.checksum == first.findings.checksum
    content = read_item(tmp_path / "out", archive[0].id)
    assert time_range(content) == (None, "2000-07-01T00:00:00Z", "2020-07-01T00:00:00Z")
    again = do(dated, out=out)
    assert (again.state, again.is_redated) == ("unchanged", False)
    assert do(archive[0], out=out).is_redated
    assert read_item(tmp_path / "out", archive[0].id) == undated
    assert (tmp_path / "out" / "items" / archive[0].id / "score.tif").stat().st_mtime_ns == made


def test_options_of_an_item_replace_those_of_all(
    archive: list[BatchItem], do: Callable[..., Outcome], tmp_path: Path
) -> None:
    options = {"threshold": 0.7, "min_area_m2": 1000.0, "bands": "1,2", "coregister": "false"}
    item = dataclasses.replace(archive[0], options=options)
    outcome = do(item, threshold=0.2)
    assert outcome.findings.threshold == 0.7
    assert outcome.findings.polygons == 0
    summary = json.loads((tmp_path / "out" / "items" / item.id / "summary.json").read_text())
    assert summary["inputs"]["before"]["bands"] == [1, 2]
    # Another one with as many bands as the file has is served by the same worker.
    assert do(archive[1]).state == "done"


@pytest.mark.parametrize(
    ("item", "kind", "says"),
    [
        ({"before": "{in}/none.tif"}, "ImageError", "none.tif"),
        ({"before": "{in}/damaged.tif"}, "ImageError", "damaged.tif"),
        ({"after": "{in}/1_after.tif"}, "DataError", "do not overlap"),
        ({"options": {"treshold": 0.5}}, "ConfigError", "did you mean 'threshold'"),
        ({"options": {"bands": "9"}}, "ConfigError", "9"),
    ],
)
def test_what_is_wrong_with_an_item_is_told_and_not_tried_again(
    archive: list[BatchItem],
    do: Callable[..., Outcome],
    tmp_path: Path,
    item: dict,
    kind: str,
    says: str,
) -> None:
    content = Path(archive[0].before).read_bytes()
    (tmp_path / "in" / "damaged.tif").write_bytes(content[: len(content) // 2])
    fields = {
        name: value.format(**{"in": tmp_path / "in"}) if isinstance(value, str) else value
        for name, value in item.items()
    }
    outcome = do(dataclasses.replace(archive[0], **fields))
    assert outcome.state == "failed"
    assert (outcome.fault.kind, outcome.fault.may_pass) == (kind, False)
    assert says in outcome.fault.message
    assert not (tmp_path / "out" / "items").exists()


def test_a_server_that_does_not_answer_may_answer_later(do: Callable[..., Outcome]) -> None:
    address = "http://127.0.0.1:9/scene.tif"
    outcome = do(BatchItem("far", address, address))
    assert (outcome.fault.kind, outcome.fault.may_pass) == ("ImageError", True)


def test_an_item_that_another_worker_is_at_is_tried_later(
    archive: list[BatchItem], do: Callable[..., Outcome], tmp_path: Path
) -> None:
    with only_run(tmp_path / "out" / ".unfinished.part" / archive[0].id):
        outcome = do(archive[0])
    assert outcome.fault.may_pass
    assert "another run is writing" in outcome.fault.message
    assert do(archive[0]).state == "done"


def test_a_worker_that_sees_another_folder_is_refused(tmp_path: Path) -> None:
    setup = Setup(common(), MODEL, str(tmp_path), probe=".probe.part")
    with pytest.raises(ConfigError, match="use a folder that all machines share"):
        ItemRunner(setup)
    (tmp_path / ".probe.part").touch()
    ItemRunner(setup)


def test_results_go_to_an_address_and_come_last_what_tells_that_they_are_complete(
    archive: list[BatchItem],
    do: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = []
    put = RemotePlace.put

    def watched(self: RemotePlace, source: Path, name: str) -> None:
        order.append(name)
        put(self, source, name)

    monkeypatch.setattr(RemotePlace, "put", watched)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    out = f"memory://bucket/{tmp_path.name}"
    assert do(archive[0], out=out).state == "done"
    assert order[-1] == f"items/{archive[0].id}/record.json"
    assert f"items/{archive[0].id}/score.tif" in order
    assert do(archive[0], out=out).state == "unchanged"
    place = RemotePlace(out)
    place.remove(f"items/{archive[0].id}/mask.tif")
    assert do(archive[0], out=out).state == "done"
    alone = tmp_path / "alone"
    predict_scene(archive[0].before, archive[0].after, model=MODEL, out=alone, device="cpu")
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    for name in place.sizes(f"items/{archive[0].id}"):
        place.get(f"items/{archive[0].id}/{name}", fetched / name)
    assert same_maps(fetched, alone)


def test_an_address_with_folders_gets_those_it_needs(
    archive: list[BatchItem], do: Callable[..., Outcome], tmp_path: Path
) -> None:
    out = tmp_path / "not" / "yet"
    assert do(archive[0], out=f"local://{out}").state == "done"
    assert (out / "items" / archive[0].id / "record.json").exists()
    assert do(archive[0], out=f"local://{out}").state == "unchanged"


def test_other_threads_may_ask_how_far_an_item_is(archive: list[BatchItem], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    runner = ItemRunner(Setup(common(tile_px=64), MODEL, str(tmp_path / "out")))
    thread = threading.Thread(
        target=lambda: runner.run(
            Task(archive[0]), progress=lambda tiles: seen.append((tiles.done, tiles.total))
        )
    )
    thread.start()
    thread.join()
    assert seen[0] == (0, 6)
    assert seen[-1] == (6, 6)
