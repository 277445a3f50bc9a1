"""All results of an archive as one STAC collection and one GeoParquet file."""

import json
import shutil
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import pytest
import shapely
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from archives import common, write_archive
from changedet.batch.collect import Collected, collect
from changedet.batch.manifest_row import make_row
from changedet.batch.place import Place, open_place
from changedet.batch.runner import ItemRunner, Setup
from changedet.batch.task import Task
from changedet.errors import DataError, StorageError
from changedet.vector.polygon_file import read_polygon_file

pq = pytest.importorskip("pyarrow.parquet")
DATES = datetime(2019, 6, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Results of three items, and their rows of the manifest. Copy them before a change."""
    root = tmp_path_factory.mktemp("archive")
    items = write_archive(root / "scenes", 3)
    items[1] = replace(items[1], before_date=DATES[0], after_date=DATES[1])
    runner = ItemRunner(Setup(common(), "baseline:cva", str(root / "out")))
    rows = []
    for item in items:
        task = Task(item)
        outcome = runner.run(task)
        assert outcome.fault is None
        rows.append(make_row(task, outcome, state="done", worker="w", model="baseline:cva"))
    return root / "out", rows


@pytest.fixture
def out(archive: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(archive[0], tmp_path / "out"))


@pytest.fixture
def rows(archive: tuple[Path, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return archive[1]


def read_polygons(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def run(out: Path, rows: list[dict[str, Any]], **options: Any) -> Collected:
    return collect(open_place(str(out)), rows, name="tiles", **options)


def test_the_collection_is_valid_and_leads_to_all_items(out: Path, rows: list[dict]) -> None:
    found = run(out, rows)
    assert (found.items, found.left_out, found.unplaced) == (3, {}, 0)
    content = json.loads((out / "collection.json").read_text())
    JsonSchemaSTACValidator().validate_core(
        content, pystac.STACObjectType.COLLECTION, pystac.get_stac_version()
    )
    collection = pystac.Collection.from_file(str(out / "collection.json"))
    items = list(collection.get_items())
    assert [item.id for item in items] == ["tile_0", "tile_1", "tile_2"]
    boxes = [item.bbox for item in items]
    west, south, _, _ = (min(box[side] for box in boxes) for side in range(4))
    _, _, east, north = (max(box[side] for box in boxes) for side in range(4))
    assert collection.extent.spatial.bboxes == [[west, south, east, north]]
    assert collection.extent.temporal.intervals[0][0] == DATES[0]
    polygons = collection.assets["polygons"]
    assert Path(polygons.get_absolute_href()).resolve() == (out / "polygons.parquet").resolve()


def test_polygons_of_all_scenes_with_their_ids_and_dates(out: Path, rows: list[dict]) -> None:
    found = run(out, rows)
    polygons = read_polygons(out / "polygons.parquet")
    assert found.polygons == len(polygons) >= 3
    for row in rows:
        own = read_polygon_file(out / row["folder"] / "polygons.gpkg", crs="EPSG:32631")
        mine = [polygon for polygon in polygons if polygon["scene"] == row["id"]]
        assert [polygon["id"] for polygon in mine] == own.ids.tolist()
        assert [polygon["area_m2"] for polygon in mine] == own.table.area.tolist()
        assert [polygon["pixels"] for polygon in mine] == own.table.pixels.tolist()
        assert {polygon["threshold"] for polygon in mine} == {row["threshold"]}
    dated = [polygon for polygon in polygons if polygon["scene"] == "tile_1"]
    assert {(polygon["before_date"], polygon["after_date"]) for polygon in dated} == {DATES}
    assert {p["before_date"] for p in polygons if p["scene"] == "tile_0"} == {None}
    west, south, _, _ = shapely.from_wkb(polygons[0]["geometry"]).bounds
    assert (west, south) == pytest.approx((3.0, 45.15), abs=0.01)


def test_dates_of_the_catalogue_are_those_of_the_collection(out: Path, rows: list[dict]) -> None:
    run(out, [rows[1]])
    collection = pystac.Collection.from_file(str(out / "collection.json"))
    assert collection.extent.temporal.intervals == [list(DATES)]


def test_another_crs(out: Path, rows: list[dict]) -> None:
    run(out, rows, crs="EPSG:32631")
    own = read_polygon_file(out / "items/tile_0/polygons.gpkg", crs="EPSG:32631")
    first = read_polygons(out / "polygons.parquet")[0]
    assert shapely.equals(shapely.from_wkb(first["geometry"]), own.table.geometry[0])


def test_on_an_object_store_it_is_the_same(out: Path, rows: list[dict], tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    local = run(out, rows)
    uri = f"memory://{uuid.uuid4().hex}"
    files = fsspec.filesystem("memory")
    files.put(f"{out}/items", f"{uri}/items", recursive=True)
    assert collect(open_place(uri), rows, name="tiles") == local
    files.get(f"{uri}/polygons.parquet", str(tmp_path / "p.parquet"))
    assert read_polygons(tmp_path / "p.parquet") == read_polygons(out / "polygons.parquet")
    there, here = files.cat(f"{uri}/collection.json"), (out / "collection.json").read_bytes()
    names = [[link["href"] for link in json.loads(text)["links"]] for text in (there, here)]
    assert names[0] == names[1]


def test_results_that_cannot_be_read_are_told_and_left_out(out: Path, rows: list[dict]) -> None:
    (out / "items/tile_0/item.json").unlink()
    (out / "items/tile_1/polygons.gpkg").write_bytes(b"SQLite format 3\0 no more")
    found = run(out, rows)
    assert (found.items, found.left_out_count) == (1, 2)
    assert "item.json: no such file" in found.left_out["tile_0"]
    assert "cannot be read" in found.left_out["tile_1"]
    assert {polygon["scene"] for polygon in read_polygons(out / "polygons.parquet")} == {"tile_2"}


def test_without_crs_there_is_no_place_for_the_polygons(out: Path, rows: list[dict]) -> None:
    path = out / "items/tile_0/item.json"
    item = json.loads(path.read_text())
    item["properties"] |= {"proj:code": None, "proj:wkt2": None}
    path.write_text(json.dumps(item))
    found = run(out, rows)
    assert (found.items, found.unplaced) == (3, 1)
    scenes = {polygon["scene"] for polygon in read_polygons(out / "polygons.parquet")}
    assert scenes == {"tile_1", "tile_2"}


def test_scenes_without_polygons_and_no_scenes_at_all(out: Path, rows: list[dict]) -> None:
    # What the manifest says saves looking.
    (out / "items/tile_2/polygons.gpkg").unlink()
    assert run(out, [{**rows[2], "polygons": 0}]).items == 1
    assert read_polygons(out / "polygons.parquet") == []
    assert run(out, []) == Collected()
    assert list(pystac.Collection.from_file(str(out / "collection.json")).get_items()) == []


def test_earlier_files_stay_when_it_fails(
    out: Path, rows: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(out, rows)
    before = {name: (out / name).read_bytes() for name in ("collection.json", "polygons.parquet")}

    def fail(place: Place, source: Path, name: str) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr("changedet.batch.place.LocalPlace.put", fail)
    with pytest.raises(StorageError, match="no space"):
        run(out, rows[:1])
    assert {name: (out / name).read_bytes() for name in before} == before


def test_a_crs_that_is_none(out: Path, rows: list[dict]) -> None:
    with pytest.raises(DataError, match="there is no CRS 'EPSG:1'"):
        run(out, rows, crs="EPSG:1")
