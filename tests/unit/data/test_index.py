import pickle
from pathlib import Path

import pytest

from changedet.data.index import PairPaths, index_pairs, survey
from changedet.data.layouts import UNDERSTOOD
from changedet.errors import DataError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def tree(root, folders=("A", "B", "label"), stems=("1", "2"), suffixes=(".png",) * 3):
    for folder, suffix in zip(folders, suffixes, strict=False):
        touch(root, *(f"{folder}/{stem}{suffix}" for stem in stems))


def names(index):
    return {split: [pair.name for pair in pairs] for split, pairs in index.splits.items()}


@pytest.mark.parametrize("dates", [("A", "B"), ("time1", "time2"), ("im1", "im2"), ("T1", "T2")])
@pytest.mark.parametrize("label", ["label", "OUT", "OUT1", "mask", "GT"])
def test_every_layout_is_found_in_split_folders(tmp_path, dates, label):
    for split in ("train", "val", "test"):
        tree(tmp_path / split, folders=(*dates, label))

    index = index_pairs(tmp_path)

    assert names(index) == {split: ["1", "2"] for split in ("train", "val", "test")}
    assert index.split("val")[0] == PairPaths(
        "1",
        tmp_path / "val" / dates[0] / "1.png",
        tmp_path / "val" / dates[1] / "1.png",
        tmp_path / "val" / label / "1.png",
    )
    assert "/".join((*dates, label)) in index.layout
    assert index.name == tmp_path.name


def test_upper_and_lower_case_of_folders_do_not_matter(tmp_path):
    tree(tmp_path / "Train", folders=("t1", "t2", "Mask"))
    tree(tmp_path / "Valid", folders=("a", "b", "LABEL"))

    assert names(index_pairs(tmp_path)) == {"train": ["1", "2"], "val": ["1", "2"]}


def test_files_are_matched_by_stem_whatever_their_extensions(tmp_path):
    tree(tmp_path / "train", suffixes=(".jpg", ".tif", ".PNG"), stems=("b.1", "a"))

    pairs = index_pairs(tmp_path).split("train")

    assert [pair.name for pair in pairs] == ["a", "b.1"]
    assert [path.suffix for path in pairs[0][1:4]] == [".jpg", ".tif", ".PNG"]


def test_hidden_files_thumbnails_and_side_files_are_not_images(tmp_path):
    tree(tmp_path / "train")
    touch(tmp_path / "train", "A/.DS_Store", "A/Thumbs.db", "A/1.tfw", "B/1.aux.xml", "B/._1.png")

    assert len(index_pairs(tmp_path).pairs) == 2


def test_prepared_masks_win_over_the_original_ones_and_it_is_said(tmp_path):
    tree(tmp_path / "train", folders=("A", "B", "OUT"))
    tree(tmp_path / "train", folders=("OUT1",))

    index = index_pairs(tmp_path)

    assert index.pairs[0].label == tmp_path / "train" / "OUT1" / "1.png"
    assert index.notes == ("using the labels in train/OUT1, not those in OUT",)
    original = survey(tmp_path, prefer="original")
    assert original.splits["train"][0].label == tmp_path / "train" / "OUT" / "1.png"


def test_without_splits_the_beginning_of_the_stems_tells_them(tmp_path):
    tree(tmp_path, stems=("train_1", "train_2", "val_1", "test-9"))

    index = index_pairs(tmp_path)

    assert names(index) == {"train": ["train_1", "train_2"], "val": ["val_1"], "test": ["test-9"]}
    assert "prefix of the names (train 2, val 1, test 1)" in index.notes[0]


def test_without_splits_a_hash_draws_70_15_15_and_it_is_said(tmp_path):
    tree(tmp_path, stems=[f"{number:03}" for number in range(100)])

    index = index_pairs(tmp_path)

    assert {split: len(pairs) for split, pairs in index.splits.items()} == {
        "train": 70,
        "val": 15,
        "test": 15,
    }
    assert len({pair.name for pair in index.pairs}) == 100
    assert "hash of the names (train 70, val 15, test 15)" in index.notes[0]


def test_the_hash_split_is_the_same_for_every_place_and_order(tmp_path):
    stems = [f"tile{number}" for number in range(12)]
    tree(tmp_path / "here", stems=stems)
    tree(tmp_path / "there", stems=stems[::-1])

    here, there = index_pairs(tmp_path / "here"), index_pairs(tmp_path / "there")

    assert names(here) == names(there)
    # Pinned: a release that draws otherwise would mix training and test pairs of older models.
    assert names(here)["test"] == ["tile3", "tile7"]


@pytest.mark.parametrize(
    ("number", "sizes"), [(1, [1]), (2, [1, 1]), (3, [1, 1, 1]), (4, [2, 1, 1]), (7, [5, 1, 1])]
)
def test_small_sets_have_a_pair_in_every_split_as_soon_as_they_can(tmp_path, number, sizes):
    tree(tmp_path, stems=[str(stem) for stem in range(number)])

    assert [len(pairs) for pairs in index_pairs(tmp_path).splits.values()] == sizes


def test_a_split_that_does_not_exist_is_named_with_those_that_do(tmp_path):
    tree(tmp_path / "train")
    tree(tmp_path / "val")

    with pytest.raises(DataError, match=r"no split 'test'; choose one of: train, val"):
        index_pairs(tmp_path).split("test")


def test_labels_are_optional_where_they_are_not_needed(tmp_path):
    tree(tmp_path / "train", folders=("A", "B"))
    tree(tmp_path / "val")
    (tmp_path / "val" / "label" / "2.png").unlink()

    index = index_pairs(tmp_path, labelled=False)

    assert [pair.label for pair in index.split("train")] == [None, None]
    assert [pair.label is None for pair in index.split("val")] == [False, True]


def test_a_split_without_labels_is_left_out_and_it_is_said(tmp_path):
    tree(tmp_path / "train")
    tree(tmp_path / "test", folders=("A", "B"))

    index = index_pairs(tmp_path)

    assert list(index.splits) == ["train"]
    assert index.notes == ("test has no label folder and is skipped",)


def test_no_labels_at_all_is_an_error(tmp_path):
    tree(tmp_path / "train", folders=("A", "B"))

    with pytest.raises(DataError, match="no label folder"):
        index_pairs(tmp_path)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("A/2.png", "A: no partner for 2 of after"),
        ("B/2.png", "B: no partner for 2 of before"),
        ("label/2.png", "label: no label for 2"),
    ],
)
def test_a_missing_partner_is_an_error_that_names_it(tmp_path, lost, message):
    tree(tmp_path / "train")
    (tmp_path / "train" / lost).unlink()

    with pytest.raises(DataError, match=message):
        index_pairs(tmp_path)


def test_a_label_without_images_is_an_error(tmp_path):
    tree(tmp_path / "train")
    touch(tmp_path, "train/label/9.png")

    with pytest.raises(DataError, match="no images for label 9"):
        index_pairs(tmp_path)


def test_of_many_faults_the_first_is_told_and_the_others_counted(tmp_path):
    tree(tmp_path / "train")
    tree(tmp_path / "val")
    (tmp_path / "train" / "A" / "1.png").unlink()
    (tmp_path / "val" / "B" / "1.png").unlink()

    with pytest.raises(DataError, match=r"and 1 more; changedet data check"):
        index_pairs(tmp_path)
    assert len(survey(tmp_path).faults) == 2


def test_two_files_of_one_stem_are_an_error(tmp_path):
    tree(tmp_path / "train")
    touch(tmp_path, "train/A/1.jpg")

    with pytest.raises(DataError, match=r"1\.jpg and 1\.png have the same stem"):
        index_pairs(tmp_path)


def test_a_folder_without_images_is_an_error_that_says_what_is_there(tmp_path):
    tree(tmp_path / "train", suffixes=(".npy", ".png", ".png"))

    with pytest.raises(DataError, match=r"A has no images \(only files of \.npy\)"):
        index_pairs(tmp_path)


@pytest.mark.parametrize("present", ["A", "B"])
@pytest.mark.parametrize("split", ["", "train"])
def test_a_folder_of_just_one_date_is_an_error_that_names_what_is_understood(
    tmp_path, present, split
):
    touch(tmp_path / split, f"{present}/1.png")

    with pytest.raises(DataError) as error:
        index_pairs(tmp_path)
    assert f"has {present} but no {'B' if present == 'A' else 'A'}" in str(error.value)
    assert UNDERSTOOD in str(error.value)


def test_half_a_split_beside_a_whole_one_is_an_error(tmp_path):
    tree(tmp_path / "train")
    touch(tmp_path, "val/A/1.png")

    with pytest.raises(DataError, match="has A but no B"):
        index_pairs(tmp_path)


def test_a_split_folder_of_something_else_is_left_out_and_it_is_said(tmp_path):
    tree(tmp_path / "train")
    touch(tmp_path, "test/readme.md")

    assert "test has no folders of two dates and is skipped" in index_pairs(tmp_path).notes[0]


def test_the_folder_above_the_data_set_gets_a_hint(tmp_path):
    tree(tmp_path / "CLCD" / "train")

    with pytest.raises(DataError, match=r"did you mean .*CLCD\?"):
        index_pairs(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_wrong_path_is_an_error(tmp_path, name):
    touch(tmp_path, "file")

    with pytest.raises(DataError, match=r"give the folder of a data set"):
        index_pairs(tmp_path / name)


def test_an_index_travels_to_worker_processes(tmp_path):
    tree(tmp_path / "train")
    index = index_pairs(tmp_path)

    assert pickle.loads(pickle.dumps(index)) == index


def test_a_relative_root_gives_relative_paths(tmp_path, monkeypatch):
    tree(tmp_path / "data" / "train")
    monkeypatch.chdir(tmp_path)

    index = index_pairs(Path("data"))

    assert index.pairs[0].before == Path("data/train/A/1.png")
    assert index.name == "data"


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"cannot list .*: Permission denied"):
        index_pairs(tmp_path)


@pytest.mark.parametrize(("right_px", "is_apart"), [(0.0, False), (0.2, False), (32.0, True)])
def test_pictures_that_their_world_files_place_apart_are_named(
    own_pairs_folder, right_px, is_apart
):
    for part, moved in (("A", 0.0), ("B", right_px)):
        world = own_pairs_folder / f"train/{part}/000.pgw"
        world.write_text(f"0.5\n0\n0\n-0.5\n{500000 + 0.5 * moved}\n5000000\n")

    if is_apart:
        with pytest.raises(DataError, match=r"B/000.png lies up to 32.0 pixels away from .*A/000"):
            index_pairs(own_pairs_folder)
    else:
        assert len(index_pairs(own_pairs_folder).split("train")) == 4


def test_both_dates_in_one_folder_are_told_by_the_ends_of_their_names(tmp_path):
    touch(
        tmp_path / "train",
        *(f"images/flood_{n}_{date}_disaster.png" for n in (1, 2) for date in ("pre", "post")),
        *(
            f"targets/flood_{n}_{date}_disaster_target.png"
            for n in (1, 2)
            for date in ("pre", "post")
        ),
    )

    pairs = index_pairs(tmp_path).split("train")

    assert [pair.name for pair in pairs] == ["flood_1", "flood_2"]
    assert pairs[0].before.name == "flood_1_pre_disaster.png"
    assert pairs[0].after.name == "flood_1_post_disaster.png"
    assert pairs[0].label.name == "flood_1_post_disaster_target.png"
