import pytest

from changedet.data.index import index_pairs, survey
from changedet.data.lists import read_list
from changedet.errors import DataError

FOLDERS = ("A", "B", "OUT")


def seed_layout(root, stems=("1", "2")):
    for split in ("train", "val", "test"):
        for folder in FOLDERS:
            for stem in stems:
                path = root / split / folder / f"{stem}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
        lines = [" ".join(f"{split}/{folder}/{s}.jpg" for folder in FOLDERS) for s in stems]
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


def test_the_seeds_lists_are_read_in_their_order(tmp_path):
    seed_layout(tmp_path, stems=("2", "1"))

    index = index_pairs(tmp_path)

    assert index.layout == "list files"
    assert list(index.splits) == ["train", "val", "test"]
    assert [pair.name for pair in index.split("val")] == ["2", "1"]
    assert index.split("val")[0].label == tmp_path / "val" / "OUT" / "2.jpg"
    assert index.notes == ()


def test_a_prepared_list_wins_and_it_is_said(tmp_path):
    seed_layout(tmp_path)
    (tmp_path / "train1.txt").write_text("train/A/2.jpg train/B/2.jpg train/OUT/2.jpg\n")

    index = index_pairs(tmp_path)

    assert [pair.name for pair in index.split("train")] == ["2"]
    assert index.notes == ("train1.txt is used, not train.txt",)
    assert len(survey(tmp_path, prefer="original").splits["train"]) == 2


def test_comments_blank_lines_tabs_backslashes_and_a_byte_order_mark_are_tolerated(tmp_path):
    seed_layout(tmp_path)
    (tmp_path / "val.txt").write_text(
        "\ufeff# list of validation\r\n\r\n"
        "val\\A\\1.jpg\tval\\B\\1.jpg\tval\\OUT\\1.jpg\r\n"
        "  val/A/2.jpg   val/B/2.jpg val/OUT/2.jpg  \r\n",
        encoding="utf-8",
    )

    assert [pair.name for pair in index_pairs(tmp_path).split("val")] == ["1", "2"]


def test_tabs_allow_spaces_in_paths(tmp_path):
    for name in ("the a.png", "the b.png", "the label.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "train.txt").write_text("the a.png\tthe b.png\tthe label.png\n")

    assert index_pairs(tmp_path).pairs[0].after == tmp_path / "the b.png"


def test_absolute_paths_are_taken_as_they_are(tmp_path):
    source = seed_layout(tmp_path / "source")
    other = tmp_path / "other"
    other.mkdir()
    paths = [str(source / "train" / folder / "1.jpg") for folder in FOLDERS]
    (other / "train.txt").write_text(" ".join(paths))

    assert index_pairs(other).pairs[0].before == source / "train" / "A" / "1.jpg"


def test_lists_in_a_folder_of_their_own_may_be_relative_to_the_data_set(tmp_path):
    seed_layout(tmp_path)
    (tmp_path / "list").mkdir()
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.txt").rename(tmp_path / "list" / f"{split}.txt")

    assert len(index_pairs(tmp_path).pairs) == 6


def test_lists_of_names_are_looked_up_in_the_folders(tmp_path):
    for folder in ("A", "B", "label"):
        (tmp_path / folder).mkdir()
        for stem in ("x.1", "y", "z"):
            (tmp_path / folder / f"{stem}.png").write_bytes(b"")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "train.txt").write_text("z.png\nx.1\n")

    index = index_pairs(tmp_path)

    assert [pair.name for pair in index.split("train")] == ["z", "x.1"]
    assert index.split("train")[1].label == tmp_path / "label" / "x.1.png"


def test_a_name_that_is_in_no_folder_or_repeated_is_an_error(tmp_path):
    for folder in ("A", "B", "label"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "y.png").write_bytes(b"")
    (tmp_path / "train.txt").write_text("y\nghost\n")

    with pytest.raises(DataError, match="ghost of the list: no image"):
        index_pairs(tmp_path)

    (tmp_path / "train.txt").write_text("y\ny.png\n")
    with pytest.raises(DataError, match="lists y more than once"):
        index_pairs(tmp_path)


def test_a_list_of_names_without_folders_is_an_error(tmp_path):
    (tmp_path / "train.txt").write_text("y\n")

    with pytest.raises(DataError, match=r"line 1: 'y' is a name.*write BEFORE AFTER LABEL"):
        index_pairs(tmp_path)


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n"])
def test_an_empty_list_is_an_error(tmp_path, content):
    seed_layout(tmp_path)
    (tmp_path / "val.txt").write_text(content)

    with pytest.raises(DataError, match=r"val\.txt is empty"):
        index_pairs(tmp_path)


def test_a_missing_file_is_an_error_with_list_line_and_path(tmp_path):
    seed_layout(tmp_path)
    (tmp_path / "val" / "B" / "2.jpg").unlink()

    with pytest.raises(DataError) as error:
        index_pairs(tmp_path)
    assert f"{tmp_path / 'val.txt'}, line 2: {tmp_path / 'val/B/2.jpg'} does not exist" in str(
        error.value
    )


@pytest.mark.parametrize(
    ("line", "columns"), [("train/A/1.jpg train/B/1.jpg", 2), ("a b c d e", 5)]
)
def test_a_line_of_other_columns_is_an_error(tmp_path, line, columns):
    seed_layout(tmp_path)
    (tmp_path / "train.txt").write_text(line)

    with pytest.raises(DataError, match=f"expected BEFORE AFTER LABEL, got {columns} columns"):
        index_pairs(tmp_path)


def test_labels_in_lists_are_optional_where_they_are_not_needed(tmp_path):
    seed_layout(tmp_path)
    (tmp_path / "train.txt").write_text(
        "train/A/1.jpg train/B/1.jpg\ntrain/A/2.jpg train/B/2.jpg train/OUT/2.jpg\n"
    )

    pairs = index_pairs(tmp_path, labelled=False).split("train")

    assert [pair.label is None for pair in pairs] == [True, False]


def test_a_repeated_line_is_an_error(tmp_path):
    seed_layout(tmp_path)
    line = "train/A/1.jpg train/B/1.jpg train/OUT/1.jpg\n"
    (tmp_path / "train.txt").write_text(line * 2)

    with pytest.raises(DataError, match=r"train_A_1 more than once"):
        index_pairs(tmp_path)


def test_one_stem_from_two_folders_gives_two_names(tmp_path):
    seed_layout(tmp_path)
    lines = [" ".join(f"{split}/{f}/1.jpg" for f in FOLDERS) for split in ("train", "val")]
    (tmp_path / "train.txt").write_text("\n".join(lines))

    names = [pair.name for pair in index_pairs(tmp_path).split("train")]

    assert names == ["train_A_1", "val_A_1"]


def test_a_list_that_is_no_text_is_an_error(tmp_path):
    seed_layout(tmp_path)
    (tmp_path / "train.txt").write_bytes(b"\xfe\xfd\x00\x80")

    with pytest.raises(DataError, match="as UTF-8 text"):
        index_pairs(tmp_path)


def test_faults_of_all_lists_are_collected(tmp_path):
    seed_layout(tmp_path)
    (tmp_path / "train" / "A" / "1.jpg").unlink()
    (tmp_path / "val" / "B" / "2.jpg").unlink()

    found = survey(tmp_path)

    assert len(found.faults) == 2
    assert [pair.name for pair in found.splits["train"]] == ["2"]


def test_a_name_that_no_file_can_have_is_a_fault_of_its_line(tmp_path):
    seed_layout(tmp_path)
    (tmp_path / "train.txt").write_text(f"{'a' * 300}.png b.png c.png\n")
    found = read_list(tmp_path / "train.txt", root=tmp_path, labelled=True)
    assert "line 1" in found.faults[0]
    assert "does not exist" in found.faults[0]
