"""A training on review.gpkg: its labels lie in the folder of the run."""

import json
import shutil
from pathlib import Path

import pytest
import shapely
import yaml

from changedet.data.file_names import is_review
from changedet.data.index import index_pairs
from changedet.errors import ConfigError, DataError
from changedet.training.run_folder import check_free, find_data, remove_run
from changedet.view.collection import Collection
from changedet.view.review_of_run import data_of_run
from changedet.view.verdicts import NewVerdict

WHOLE = (0.0, 0.0, 400.0, 300.0)


def judge(result: Path, *, accepted: int | None = None, rejected: int = 0) -> Path:
    """Judge the polygons of a scene in their order, without a server."""
    collection = Collection(result)
    opened = collection.get("0")
    found = opened.candidates(collection.handles)
    numbers = found.ids.tolist()
    for place, (number, polygon) in enumerate(zip(numbers, found.geometry, strict=True)):
        if accepted is not None and place >= accepted + rejected:
            break
        verdict = "rejected" if place < rejected else "accepted"
        new = NewVerdict(verdict, polygon, result_id=number, window=WHOLE)
        opened.store.put(f"r{number}", new, known_revision=None)
    collection.close()
    return result / "review.gpkg"


def record(out: Path, data: Path) -> None:
    """Leave what a run writes when it begins."""
    content = {"kind": "training", "data": str(data.resolve())}
    (out / "run.json").write_text(json.dumps(content))


def test_a_review_becomes_the_data_set_of_the_run(scene: Path, tmp_path: Path) -> None:
    review, out, said = judge(scene, rejected=2), tmp_path / "run", []
    with data_of_run(review, out, mode="new", say=said.append) as data:
        assert data.parent == out / "reviewed"
        index = index_pairs(data)
        assert {split for split, pairs in index.splits.items() if pairs} == {"train", "val"}
        record(out, data)
    assert data.is_dir()
    assert "1 scene" in said[-1]
    assert "2 rejected" in said[-1]


def test_the_same_verdicts_give_the_same_labels(scene: Path, tmp_path: Path) -> None:
    review = judge(scene, accepted=6)
    names, texts = [], []
    for run in ("one", "two"):
        with data_of_run(review, tmp_path / run, mode="new") as data:
            names.append(data.name)
            texts.append((data / "scenes.yaml").read_text())
    assert names[0] == names[1]
    assert texts[0] == texts[1]
    (scene / "review.gpkg").unlink()
    judge(scene, accepted=7)
    with data_of_run(review, tmp_path / "one", mode="new") as data:
        assert data.name != names[0]


def test_nothing_is_left_of_a_training_that_does_not_begin(scene: Path, tmp_path: Path) -> None:
    review, out = judge(scene), tmp_path / "run"
    with pytest.raises(ConfigError), data_of_run(review, out, mode="new"):
        raise ConfigError("a setting is wrong")
    assert not out.exists()


def test_what_a_kill_leaves_is_replaced(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    (out / "reviewed" / "scene_0a1b2c3d").mkdir(parents=True)
    check_free(out, mode="new")
    with data_of_run(judge(scene), out, mode="new") as data:
        remove_run(out, data=data)
        assert [path.name for path in (out / "reviewed").iterdir()] == [data.name]
        record(out, data)
    # That one had no checkpoint either.
    check_free(out, mode="new")


def test_what_the_user_keeps_there_stays(tmp_path: Path) -> None:
    mine = tmp_path / "reviewed" / "scenes.yaml"
    mine.parent.mkdir()
    mine.touch()
    with pytest.raises(ConfigError, match="not a run"):
        check_free(tmp_path, mode="new")
    remove_run(tmp_path, data=None)
    assert mine.is_file()


def test_a_resumed_run_keeps_its_verdicts(scene: Path, tmp_path: Path) -> None:
    review, out, said = judge(scene, accepted=6), tmp_path / "run", []
    with data_of_run(review, out, mode="new") as data:
        record(out, data)
    with data_of_run(review, out, mode="resume", say=said.append) as again:
        assert again is None
    assert "the run began with" in said[0]
    # The labels go along when the folder of the run is moved.
    shutil.move(out, tmp_path / "moved")
    found = find_data(tmp_path / "moved", data.resolve())
    assert found == tmp_path / "moved" / "reviewed" / data.name
    assert yaml.safe_load((found / "scenes.yaml").read_text())["scenes"]


def test_change_in_one_place_is_refused(scene: Path, tmp_path: Path) -> None:
    review = judge(scene, accepted=0, rejected=3)
    with (
        pytest.raises(DataError, match="accept or draw more change"),
        data_of_run(review, tmp_path / "run", mode="new"),
    ):
        pass
    assert not (tmp_path / "run").exists()


def test_small_reviews_are_cut_into_smaller_blocks(scene: Path, tmp_path: Path) -> None:
    # Two neighbours: blocks of 256 px show both of them in one.
    with data_of_run(judge(scene, accepted=2), tmp_path / "run", mode="new") as data:
        assert yaml.safe_load((data / "scenes.yaml").read_text())["split"]["block_px"] < 256
        splits = index_pairs(data).splits
        changed = {
            split: any(pair.mask.counts.get(1, 0) for pair in pairs)
            for split, pairs in splits.items()
        }
        assert changed == {"train": True, "val": True}


def test_what_is_a_review(scene: Path, tmp_path: Path) -> None:
    assert not is_review(scene)
    review = judge(scene, accepted=1)
    assert is_review(review)
    assert is_review(scene)
    assert not is_review(tmp_path / "review.gpkg")
    (scene / "scenes.yaml").touch()
    assert not is_review(scene)


def test_a_review_that_has_not_begun_is_told(scene: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="the first verdict makes it: changedet view"),
        data_of_run(scene / "review.gpkg", tmp_path / "run", mode="new"),
    ):
        pass


def test_other_data_sets_pass_through(tmp_path: Path) -> None:
    with data_of_run(tmp_path, tmp_path / "run", mode="new") as data:
        assert data == tmp_path


def test_labels_are_those_of_the_verdicts(scene: Path, tmp_path: Path) -> None:
    import pyogrio

    with data_of_run(judge(scene, rejected=1), tmp_path / "run", mode="new") as data:
        (change,) = data.glob("*_change.gpkg")
        _, _, blobs, _ = pyogrio.raw.read(change)
    summary = json.loads((scene / "summary.json").read_text())
    assert len(shapely.from_wkb(blobs)) == summary["polygons"]["count"] - 1
