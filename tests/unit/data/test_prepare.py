import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from changedet.data.index import index_pairs
from changedet.data.labels.scan import read_label, scan_labels
from changedet.data.tools.prepare import prepare
from changedet.errors import DataError, StorageError

CHANGED = np.zeros((32, 32), dtype=bool)
CHANGED[:16, :8] = True


def draw(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def fill(folder, names, stems, label_suffix):
    rng = np.random.default_rng(len(stems))
    for stem in stems:
        for name in names[:2]:
            draw(folder / name / f"{stem}.png", rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        draw(folder / names[2] / f"{stem}{label_suffix}", CHANGED.astype(np.uint8) * 255)


def seed_layout(root):
    """The seed's layout: lists, JPEG labels in OUT."""
    for split, stems in (("train", ("0", "1")), ("val", ("7",))):
        fill(root / split, ("A", "B", "OUT"), stems, ".jpg")
        lines = [f"{split}/A/{s}.png {split}/B/{s}.png {split}/OUT/{s}.jpg" for s in stems]
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


def split_folders(root):
    fill(root / "train", ("time1", "time2", "label"), ("0", "1"), ".png")
    fill(root / "val", ("time1", "time2", "label"), ("7",), ".png")
    return root


def unsplit(root):
    fill(root, ("A", "B", "label"), ("train_0", "train_1", "val_7"), ".png")
    return root


def snapshot(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


LAYOUTS = [seed_layout, split_folders, unsplit]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("images", ["refer", "copy"])
def test_every_layout_becomes_the_seeds_and_the_source_stays_as_it_was(tmp_path, layout, images):
    source = layout(tmp_path / "source")
    before = snapshot(source)
    out = tmp_path / "out"

    done = prepare(source, out, images=images)
    index = index_pairs(out)

    assert snapshot(source) == before
    assert sorted(path.name for path in out.glob("*.txt")) == ["train1.txt", "val1.txt"]
    assert [len(pairs) for pairs in index.splits.values()] == [2, 1]
    assert done.masks == 3
    assert done.changed_share["train"] == pytest.approx(CHANGED.mean(), abs=0.02)
    for old, new in zip(index_pairs(source).pairs, index.pairs, strict=True):
        assert new.before.read_bytes() == old.before.read_bytes()
        assert new.after.read_bytes() == old.after.read_bytes()
        with Image.open(new.label) as mask:
            assert (mask.format, mask.mode) == ("PNG", "L")
            assert np.array_equal(np.asarray(mask), CHANGED)


def test_lines_hold_paths_relative_to_the_list_where_they_can(tmp_path):
    source = seed_layout(tmp_path / "source")

    prepare(source, tmp_path / "copied", images="copy")
    prepare(source, tmp_path / "referred")

    copied = (tmp_path / "copied" / "val1.txt").read_text()
    assert copied == "val/A/7.png val/B/7.png val/OUT1/7.png\n"
    referred = (tmp_path / "referred" / "val1.txt").read_text()
    assert referred == f"{source}/val/A/7.png {source}/val/B/7.png val/OUT1/7.png\n"


def test_a_copied_data_set_can_be_moved(tmp_path):
    prepare(seed_layout(tmp_path / "source"), tmp_path / "out", images="copy")
    (tmp_path / "source").rename(tmp_path / "gone")
    (tmp_path / "out").rename(tmp_path / "moved")

    assert len(index_pairs(tmp_path / "moved").pairs) == 3


def test_relative_arguments_give_a_data_set_that_is_found_from_elsewhere(tmp_path, monkeypatch):

    seed_layout(tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    prepare(Path("source"), Path("out"))
    monkeypatch.chdir("/")

    assert len(index_pairs(tmp_path / "out").pairs) == 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_place_the_prepared_labels_stand_beside_the_original_ones(tmp_path, layout):
    source = layout(tmp_path / "source")
    before = snapshot(source)

    prepare(source, None)
    index = index_pairs(source)

    assert {path: snapshot(source)[path] for path in before} == before
    assert {pair.label.parent.name for pair in index.pairs} == {"OUT1"}
    assert scan_labels(index.pairs).encoding.changed == (1,)
    for pair in index.pairs:
        assert np.array_equal(read_label(pair.label, scan_labels(index.pairs).encoding), CHANGED)


@pytest.mark.parametrize("place", ["out", None])
def test_prepared_files_are_not_replaced_unless_told(tmp_path, place):
    source = seed_layout(tmp_path / "source")
    out = None if place is None else tmp_path / place
    prepare(source, out)
    target = source if out is None else out
    mask = target / "train" / "OUT1" / "0.png"
    mask.write_bytes(b"mine")

    with pytest.raises(DataError, match=r"exists \(and \d+ more\).*`existing=.replace.`"):
        prepare(source, out)
    assert mask.read_bytes() == b"mine"

    prepare(source, out, existing="replace")
    assert np.array_equal(np.asarray(Image.open(mask)), CHANGED)


def test_a_prepared_source_is_prepared_from_its_original_labels(tmp_path):
    source = seed_layout(tmp_path / "source")
    prepare(source, None)
    draw(source / "val" / "OUT" / "7.jpg", np.full((32, 32), 255, np.uint8))

    prepare(source, None, existing="replace")

    assert np.asarray(Image.open(source / "val" / "OUT1" / "7.png")).all()


def test_a_source_that_has_prepared_labels_only_is_copied(tmp_path):
    prepare(seed_layout(tmp_path / "source"), tmp_path / "once", images="copy")

    prepare(tmp_path / "once", tmp_path / "twice", images="copy")

    once, twice = snapshot(tmp_path / "once"), snapshot(tmp_path / "twice")
    assert [*once.values()] == [*twice.values()]


def test_lists_of_an_earlier_run_that_remain_are_told(tmp_path):
    source = seed_layout(tmp_path / "source")
    out = tmp_path / "out"
    out.mkdir()
    (out / "test1.txt").write_text("")

    with pytest.raises(DataError, match=r"test1\.txt exists"):
        prepare(source, out)
    done = prepare(source, out, existing="replace")
    assert any("test1.txt is left from an earlier run" in note for note in done.notes)


@pytest.mark.parametrize("inside", [".", "prepared", "train/new"])
def test_the_source_is_not_written_to_unless_told(tmp_path, inside):
    source = seed_layout(tmp_path / "source")
    before = snapshot(source)

    with pytest.raises(DataError, match="`out=None`"):
        prepare(source, source / inside)
    assert snapshot(source) == before


def test_a_file_in_place_of_the_out_folder_is_an_error(tmp_path):
    source = seed_layout(tmp_path / "source")
    (tmp_path / "out").write_text("")

    with pytest.raises(DataError, match="is a file"):
        prepare(source, tmp_path / "out")


def test_ignored_pixels_become_255_and_it_is_said(tmp_path):
    source = split_folders(tmp_path / "source")
    label = CHANGED.astype(np.uint8) * 255
    label[-1] = 9
    draw(source / "train" / "label" / "0.png", label)

    done = prepare(source, tmp_path / "out", ignore_value=9)

    mask = np.asarray(Image.open(tmp_path / "out" / "train" / "OUT1" / "0.png"))
    assert (mask[-1] == 255).all()
    assert set(np.unique(mask)) == {0, 1, 255}
    assert any("set data.ignore_value=255" in note for note in done.notes)
    scan = scan_labels(index_pairs(tmp_path / "out").pairs, ignore_value=255)
    assert scan.encoding.changed == (1,)


def test_a_broken_run_leaves_no_list(tmp_path, monkeypatch):
    source = seed_layout(tmp_path / "source")

    def full(path, content):
        raise StorageError(f"cannot write {path}: no space left")

    monkeypatch.setattr("changedet.data.tools.prepare.write_bytes", full)
    with pytest.raises(StorageError):
        prepare(source, tmp_path / "out")

    assert not list(tmp_path.glob("out/*.txt"))


def test_faults_of_the_source_stop_before_anything_is_written(tmp_path):
    source = split_folders(tmp_path / "source")
    (source / "train" / "time2" / "0.png").unlink()

    with pytest.raises(DataError, match="no partner"):
        prepare(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_paths_with_spaces_or_a_leading_hash_are_found_again(tmp_path):
    for folder in ("A", "B", "label"):
        draw(tmp_path / "my data" / "#1" / folder / "a b.png", np.eye(8, dtype=np.uint8))
    draw(tmp_path / "my data" / "x.png", np.eye(8, dtype=np.uint8))
    source = tmp_path / "my data"
    line = "\t".join(f"./#1/{folder}/a b.png" for folder in ("A", "B", "label"))
    (source / "train.txt").write_text(line)

    prepare(source, None)
    prepare(source, tmp_path / "out")

    for root in (source, tmp_path / "out"):
        assert index_pairs(root).split("train")[0].before == source / "#1" / "A" / "a b.png"


@pytest.mark.skipif(os.name == "nt", reason="such names cannot exist there")
def test_names_that_a_list_cannot_hold_are_refused(tmp_path):
    source = tmp_path / "source"
    fill(source / "train", ("A", "B", "label"), ("a\\b",), ".png")

    with pytest.raises(DataError, match="rename the file"):
        prepare(source, tmp_path / "out")


def test_in_place_labels_outside_the_source_are_refused(tmp_path):
    other = split_folders(tmp_path / "other")
    source = tmp_path / "source"
    source.mkdir()
    paths = [str(other / "val" / folder / "7.png") for folder in ("time1", "time2", "label")]
    (source / "train.txt").write_text(" ".join(paths))

    with pytest.raises(DataError, match=r"outside.*`out`"):
        prepare(source, None)


def test_in_place_two_labels_may_not_become_one_file(tmp_path):
    source = tmp_path / "source"
    fill(source, ("A", "B", "label"), ("1",), ".png")
    draw(source / "more" / "1.png", CHANGED.astype(np.uint8))
    (source / "train.txt").write_text("A/1.png B/1.png label/1.png\n")
    (source / "val.txt").write_text("A/1.png B/1.png more/1.png\n")

    with pytest.raises(DataError, match="would both become"):
        prepare(source, None)


@pytest.mark.parametrize("out", ["out", None])
def test_what_a_killed_run_left_is_replaced_by_the_next_one(tmp_path, out):
    source = split_folders(tmp_path / "source")
    target = None if out is None else tmp_path / out

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, target, progress=stop)
    done = prepare(source, target)
    assert done.masks == 3
    assert not [path for path in done.folder.rglob("*") if path.name.startswith(".")]
    with pytest.raises(DataError, match="exists"):
        prepare(source, target)


def test_a_name_that_a_list_cannot_hold_is_refused(tmp_path):
    source = tmp_path / "source"
    fill(source, ("A", "B", "label"), ("train_0", "val_\udcff"), ".png")
    with pytest.raises(DataError, match="has a meaning there; rename the file"):
        prepare(source, tmp_path / "out")
