"""Verdicts become labels: change, hard negatives, and what is left out."""

import uuid
from pathlib import Path

import numpy as np
import pytest

from changedet.data.index import index_pairs
from changedet.data.rasters.manifest import find_manifest, read_manifest
from changedet.errors import ConfigError, DataError
from changedet.view.training_data import write_training_data

from .conftest import serving

SQUARE = {"type": "Polygon", "coordinates": [[[60, 60], [75, 60], [75, 70], [60, 70], [60, 60]]]}


def judge(client, uid: str, body: dict) -> None:
    assert client.put(f"/api/items/0/review/verdicts/{uid}", body).status == 200


def painted(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Which pixels of the scene lie inside of a layer."""
    import pyogrio
    import shapely

    _, _, blobs, _ = pyogrio.raw.read(path)
    columns, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    inside = np.zeros(shape, bool)
    for polygon in shapely.from_wkb(blobs):
        inside |= shapely.contains_xy(polygon, 5e5 + columns / 2, 5e6 - rows / 2)
    return inside


def test_what_counts_as_change_and_what_does_not(client, scene: Path, tmp_path: Path) -> None:
    near = client.get("/api/items/0/candidates?window=0,0,210,60").json["candidates"]
    first, second, third = sorted(near, key=lambda one: one["bbox"][0])[-3:]
    window = [0, 0, 300, 100]
    judge(client, first["uid"], {"verdict": "accepted", "window": window})
    judge(client, second["uid"], {"verdict": "rejected"})
    judge(client, str(uuid.uuid4()), {"verdict": "drawn", "geometry": SQUARE})
    done = write_training_data([scene], tmp_path / "data")
    assert (done.scenes, done.change, done.rejected) == (1, 2, 1)
    manifest = read_manifest(find_manifest(tmp_path / "data"))
    (entry,) = manifest.scenes
    assert Path(entry.before) == scene.parent / "before.tif"
    assert manifest.bands == (1, 2, 3)
    change = painted(Path(entry.labels), (300, 400))
    area = painted(Path(entry.area), (300, 400))
    boxes = [[int(side) for side in one["bbox"]] for one in (first, second, third)]
    inside = [(slice(b[1] + 3, b[3] - 3), slice(b[0] + 3, b[2] - 3)) for b in boxes]
    assert change[inside[0]].all()
    assert area[inside[0]].all()
    # A hard negative.
    assert not change[inside[1]].any()
    assert area[inside[1]].all()
    # Nobody has judged it, although it was on the screen.
    assert not area[inside[2]].any()
    assert change[60:70, 60:75].all()
    # Looked at, and nothing there.
    assert area[90:100, 0:300].all()
    assert not change[90:100].any()
    assert not area[110:].any()


def test_scenes_are_read_for_training(client, scene: Path, tmp_path: Path) -> None:
    for one in client.get("/api/items/0/candidates").json["candidates"]:
        judge(client, one["uid"], {"verdict": "accepted", "window": [0, 0, 400, 300]})
    write_training_data([scene / "review.gpkg"], tmp_path / "data")
    index = index_pairs(tmp_path / "data")
    assert {split for split, pairs in index.splits.items() if pairs} == {"train", "val"}


def test_mistakes_are_one_line(client, scene: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="changedet view RESULT"):
        write_training_data([scene], tmp_path / "data")
    judge(client, "r1", {"verdict": "rejected", "window": [0, 0, 100, 100]})
    write_training_data([scene], tmp_path / "data")
    assert read_manifest(tmp_path / "data" / "scenes.yaml").scenes[0].unchanged
    with pytest.raises(ConfigError, match="existing"):
        write_training_data([scene], tmp_path / "data")
    write_training_data([scene], tmp_path / "data", existing="replace")
    with pytest.raises(DataError, match="changedet data review"):
        find_manifest(scene / "review.gpkg")
    (scene.parent / "after.tif").unlink()
    with pytest.raises(DataError, match="needs both dates"):
        write_training_data([scene], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_folders_of_results(scene: Path, pair: Path, tmp_path: Path) -> None:
    with serving(scene.parent) as client:
        ids = {one["name"]: one["id"] for one in client.get("/api/items").json["items"]}
        path = f"/api/items/{ids['pair']}/review/verdicts/r1"
        assert client.put(path, {"verdict": "accepted", "window": [0, 0, 90, 90]}).status == 200
    done = write_training_data([scene.parent], tmp_path / "data")
    assert (done.scenes, done.change) == (1, 1)
    (entry,) = read_manifest(tmp_path / "data" / "scenes.yaml").scenes
    assert entry.name == "pair"
