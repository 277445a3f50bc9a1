"""What is missing, moved or damaged is told in one line, and the rest goes on working."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from changedet.cli.wording import with_options
from changedet.errors import ChangeDetError, DataError, ResultsError
from changedet.view.collection import Collection
from changedet.view.results_at import find_results

from .conftest import serving

ITEM = "/api/items/0"


def move_inputs(result: Path, to: Path) -> None:
    to.mkdir()
    for name in ("before.tif", "after.tif"):
        (result.parent / name).rename(to / name)


def test_folder_without_result(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no result of changedet predict.*`out`"):
        Collection(tmp_path)
    with pytest.raises(DataError, match="no file or folder"):
        Collection(tmp_path / "nowhere")


def test_a_file_that_is_no_part_of_a_result(scene: Path) -> None:
    with pytest.raises(DataError, match="no part of a result"):
        find_results(scene.parent / "before.tif")
    assert [place.folder for place in find_results(scene / "score.tif")] == [scene]


def test_results_of_another_command(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"kind": "evaluation"}))
    with pytest.raises(ResultsError, match="changedet predict"):
        Collection(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(ResultsError, match="damaged"):
        Collection(tmp_path)


def test_scores_that_are_cut_short_or_gone(scene: Path) -> None:
    path = scene / "score.tif"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ChangeDetError, match=r"score\.tif"):
        Collection(scene)
    path.unlink()
    with pytest.raises(DataError, match=r"score.tif: no such file.*predict again"):
        Collection(scene)


def test_messages_come_in_the_words_of_the_user(scene: Path, tmp_path: Path) -> None:
    move_inputs(scene, tmp_path / "archive")
    with serving(scene, wording=with_options) as client:
        assert "(--before, --after)" in client.get(ITEM).json["problems"][0]
        told = client.get(f"{ITEM}/tiles/before/0/0/0.webp").json["error"]
        assert "(--before, --after)" in told
        (scene / "score.tif").rename(scene / "elsewhere.tif")
        told = client.get(f"{ITEM}/tiles/score/0/0/0.png").json["error"]
        assert told.endswith("put the file back, or predict again")


def test_input_that_was_moved_before(scene: Path, tmp_path: Path) -> None:
    move_inputs(scene, tmp_path / "archive")
    with serving(scene) as client:
        about = client.get(ITEM).json
        assert about["missing"] == ["before", "after"]
        assert "(`before`, `after`)" in about["problems"][0]
        assert client.get(f"{ITEM}/tiles/before/0/0/0.webp").status == 410
        assert client.get(f"{ITEM}/tiles/score/0/0/0.png").status == 200
        assert client.get(f"{ITEM}/values?x=60&y=60").json["before"] is None
        assert client.put(f"{ITEM}/review/verdicts/r1", {"verdict": "accepted"}).status == 200
    moved = {name: str(tmp_path / "archive" / f"{name}.tif") for name in ("before", "after")}
    found = Collection(scene, moved=moved).get("0")
    assert found.problems(Collection(scene).handles) == {}
    with pytest.raises(DataError, match="`before`"):
        Collection(scene, moved={"before": "/nowhere.tif"})


def test_input_beside_the_result_is_found(scene: Path) -> None:
    content = json.loads((scene / "summary.json").read_text())
    for date in ("before", "after"):
        content["inputs"][date]["location"] = f"data/{date}.tif"
    (scene / "summary.json").write_text(json.dumps(content))
    collection = Collection(scene)
    assert collection.get("0").problems(collection.handles) == {}


def test_input_that_vanishes_meanwhile(client, scene: Path) -> None:
    tile = f"{ITEM}/tiles/before/1/1/0.webp"
    content = client.get(tile).body
    before = scene.parent / "before.tif"
    before.rename(scene.parent / "away.tif")
    gone = client.get(tile)
    assert (gone.status, "before.tif" in gone.json["error"]) == (410, True)
    assert client.get(ITEM).json["missing"] == ["before"]
    assert client.get(f"{ITEM}/tiles/after/1/1/0.webp").status == 200
    (scene.parent / "away.tif").rename(before)
    assert client.get(tile).body == content


def test_input_that_is_replaced_by_another_image(client, scene: Path) -> None:
    shutil.copy(scene.parent / "after.tif", scene.parent / "before.tif")
    answer = client.get(f"{ITEM}/tiles/before/1/1/0.webp")
    assert (answer.status, "another file" in answer.json["error"]) == (410, True)


def test_polygons_that_are_gone(client, scene: Path) -> None:
    (scene / "polygons.gpkg").unlink()
    answer = client.get(f"{ITEM}/candidates")
    assert (answer.status, "polygons.gpkg" in answer.json["error"]) == (410, True)
    (scene / "polygons.gpkg").write_bytes(b"SQLite format 3\0" + bytes(1000))
    assert client.get(f"{ITEM}/candidates").status == 410
    assert client.get(f"{ITEM}/tiles/score/1/0/0.png").status == 200


def test_folder_of_results_with_a_bad_one(scene: Path, pair: Path) -> None:
    root = scene.parent
    bad = root / "bad"
    bad.mkdir()
    (bad / "summary.json").write_text("{")
    assert [place.name for place in find_results(root)] == ["bad", "pair", "scene"]
    with serving(root) as client:
        listed = client.get("/api/items").json
        assert listed["total"] == 3
        assert "damaged" in listed["items"][0]["problem"]
        assert client.get("/api/items/0").status == 410
        assert client.get("/api/items/1").json["kind"] == "image_pair"
        client.put("/api/items/2/review/verdicts/r1", {"verdict": "accepted"})
        client.put("/api/items/1/review/verdicts/r1", {"verdict": "rejected"})
        told = client.get("/api/review/statistics").json
        assert [one["id"] for one in told["items"]] == ["1", "2"]
        assert told["statistics"]["precision"] == 0.5
        page = client.get("/api/items?offset=1&limit=1").json
        assert [one["id"] for one in page["items"]] == ["1"]


def test_review_of_another_result_in_a_folder_is_for_looking(scene: Path, pair: Path) -> None:
    with serving(scene) as client:
        client.put(f"{ITEM}/review/verdicts/r1", {"verdict": "accepted"})
    shutil.copy(scene / "review.gpkg", pair / "review.gpkg")
    with serving(scene.parent) as client:
        about = client.get("/api/items/0").json
        assert (about["writable"], "another result" in about["read_only_reason"]) == (False, True)
        body = {"verdict": "accepted"}
        assert client.put("/api/items/0/review/verdicts/r1", body).status == 409
        assert client.get("/api/items/1/review").json["statistics"]["reviewed"] == 1


def test_folders_of_images_list_their_pairs(tmp_path: Path) -> None:
    content = {"kind": "images", "pairs": [{"name": "a"}, {"name": "b"}]}
    (tmp_path / "summary.json").write_text(json.dumps(content))
    assert [place.folder for place in find_results(tmp_path)] == [tmp_path / "a", tmp_path / "b"]
    content["pairs"].append({"name": "../../etc"})
    (tmp_path / "summary.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="no name of a folder"):
        find_results(tmp_path)


def test_stretch_of_16_bit_is_settled_once(scene: Path) -> None:
    import rasterio

    from changedet.view.pictures import measure_stretch

    path = scene.parent / "before.tif"
    with rasterio.open(path) as file:
        profile, values = file.profile, file.read().astype(np.uint16) * 30
    path.unlink()
    with rasterio.open(path, "w", **{**profile, "dtype": "uint16"}) as file:
        file.write(values)
    collection = Collection(scene)
    item = collection.get("0").item
    found = measure_stretch(collection.handles.get(item, "before"), item.grid.window)
    shown = values[:, (values > 0).any(axis=0)]
    assert found == pytest.approx(np.percentile(shown, (2, 98)), rel=0.05)
