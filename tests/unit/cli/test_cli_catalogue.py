"""``changedet batch``: catalogues checked before work, scenes paired, results collected."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pystac
import pytest

from archives import MODEL, BatchItem, InlineEngine, write_archive
from changedet.batch import local_engine
from changedet.batch.runner import ItemRunner

pytestmark = pytest.mark.usefixtures("few_shift_tiles")


@pytest.fixture(autouse=True)
def _workers_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        local_engine,
        "LocalEngine",
        lambda setup, *, workers: InlineEngine(ItemRunner(setup).run, workers=workers),
    )


@pytest.fixture
def items(tmp_path: Path) -> list[BatchItem]:
    return write_archive(tmp_path / "in", 2)


@pytest.fixture
def table(items: list[BatchItem], tmp_path: Path) -> Path:
    path = tmp_path / "pairs.csv"
    rows = [f"{item.id},{item.before},{item.after}" for item in items]
    path.write_text("\n".join(["id,before,after", *rows]) + "\n")
    return path


def test_a_check_needs_no_place_and_does_no_work(run: Callable, table: Path) -> None:
    ended = run("batch", table, "--model", MODEL, "--check")
    assert ended.code == 0
    assert ended.out.endswith("pairs.csv: 2 pairs, 2 without a fault; opened 2\n")
    assert sorted(path.name for path in table.parent.iterdir()) == ["in", "pairs.csv"]


def test_a_check_lists_what_is_wrong_with_its_rows(run: Callable, table: Path) -> None:
    with table.open("a") as file:
        file.write("tile_0,in/0_before.tif,in/0_after.tif\nno/name,a.tif,\n")
        file.write("gone,in/0_before.tif,in/gone.tif\n")
    ended = run("batch", table, "--model", MODEL, "--check")
    assert ended.code == 1
    header, *faults, total = ended.out.splitlines()
    assert re.fullmatch(r"where  id +what is wrong", header)
    assert faults[0].startswith("row 4  tile_0   the id 'tile_0' stands in row 2 as well")
    assert faults[1].startswith("row 5  no/name  after is empty; fill it in; the id 'no/name'")
    assert re.match(r"row 6  gone     .*gone\.tif: no such file", faults[2])
    assert total.endswith("5 pairs, 2 without a fault; opened 3")


def test_a_run_with_faulty_rows_does_not_begin(run: Callable, table: Path, tmp_path: Path) -> None:
    with table.open("a") as file:
        file.write("tile_0,in/0_before.tif,in/0_after.tif\n")
    ended = run("batch", table, "--model", MODEL, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "row 4: the id 'tile_0' stands in row 2 as well" in ended.err
    assert not (tmp_path / "out").exists()


def test_all_results_as_a_collection_and_one_file(
    run: Callable, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("batch", table, "--model", MODEL, "--out", out)
    ended = run(*words)
    polygons = pq.read_table(out / "polygons.parquet").to_pylist()
    assert f"collection.json: 2 results; polygons.parquet: {len(polygons)} polygons" in ended.out
    collection = pystac.Collection.from_file(str(out / "collection.json"))
    assert collection.id == "pairs"
    assert [item.id for item in collection.get_items()] == ["tile_0", "tile_1"]
    # Nothing new: the files stay, unless something else is asked for.
    made = (out / "collection.json").stat().st_mtime_ns
    assert "collection.json" not in run(*words).out
    assert (out / "collection.json").stat().st_mtime_ns == made
    assert run(*words, "--collection-crs", "EPSG:32631").code == 0
    assert pq.read_table(out / "polygons.parquet")["bbox"][0].as_py()["ymin"] > 4e6


def test_without_a_collection(run: Callable, table: Path, tmp_path: Path) -> None:
    assert run("batch", table, "--model", MODEL, "--out", tmp_path / "o", "--no-collect").code == 0
    assert not (tmp_path / "o" / "collection.json").exists()


def test_scenes_of_a_stac_collection_are_paired(
    run: Callable, items: list[BatchItem], tmp_path: Path
) -> None:
    scenes = []
    for item in items:
        for date, path in (("2019-06-01", item.before), ("2024-06-01", item.after)):
            scene = pystac.Item(
                f"{item.id}_{date}",
                None,
                None,
                datetime.fromisoformat(date).replace(tzinfo=UTC),
                {"tile": item.id.replace("_", ""), "eo:cloud_cover": 90.0 * (item.id[-1] == "1")},
            )
            scene.add_asset("visual", pystac.Asset(path))
            scenes.append(scene)
    path = tmp_path / "scenes.json"
    pystac.ItemCollection(scenes).save_object(str(path))
    words = ("batch", path, "--model", MODEL, "--out", tmp_path / "out")
    rule = ("--before-date", "2019-07-01", "--after-date", "2024-07-01", "--max-cloud", 20)
    ended = run(*words, *rule)
    assert ended.code == 0
    assert "2 scenes are cloudier than --max-cloud allows" in ended.err
    rows = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    assert [row["id"] for row in rows] == ["tile0_20190601_20240601"]
    assert rows[0]["after_date"] == datetime(2024, 6, 1, tzinfo=UTC)
    links = json.loads((tmp_path / "out" / "collection.json").read_text())["links"]
    assert links[1]["href"] == "./items/tile0_20190601_20240601/item.json"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("{table}", "--model", MODEL), "add --out with a folder"),
        (("--status",), "add --out with a folder"),
        (("{table}", "--model", MODEL, "--check", "--asset", "visual"), "is a table"),
        (("{table}", "--model", MODEL, "--check", "--before-date", "soon"), "--before-date must"),
        (("{table}", "--model", MODEL, "--out", "o", "--collection-crs", "EPSG:1"), "EPSG:1"),
    ],
)
def test_mistakes_are_told_in_one_line(
    run: Callable, table: Path, words: tuple[str, ...], says: str
) -> None:
    ended = run("batch", *(word.format(table=table) for word in words))
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert says in ended.err
