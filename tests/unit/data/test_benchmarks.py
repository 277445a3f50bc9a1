import pytest

from changedet.data.benchmarks import BENCHMARKS, LISTS, differences, find_benchmark
from changedet.data.index import index_pairs
from changedet.data.layouts import LAYOUTS
from changedet.errors import ConfigError, DataError


def tree(root, folders, number=2):
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for stem in range(number):
            (root / folder / f"{stem}.png").write_bytes(b"")


def test_the_named_benchmarks_are_all_there():
    names = [row.name for row in BENCHMARKS]

    assert names == [
        "CDD",
        "LEVIR-CD",
        "LEVIR-CD+",
        "WHU-CD",
        "CLCD",
        "SYSU-CD",
        "DSIFN-CD",
        "GZ-CD",
    ]


@pytest.mark.parametrize("row", BENCHMARKS, ids=lambda row: row.name)
def test_a_row_names_known_layouts_only(row):
    assert set(row.layouts) <= {LISTS, *(layout.name for layout in LAYOUTS)}
    assert row.citation
    assert all(min(edition.pairs.values()) > 0 for edition in row.editions)


@pytest.mark.parametrize(
    ("text", "name"), [("levir-cd", "LEVIR-CD"), ("LEVIR_CD+", "LEVIR-CD+"), ("gz cd", "GZ-CD")]
)
def test_spelling_of_case_and_dashes_does_not_matter(text, name):
    assert find_benchmark(text).name == name


def test_an_unknown_benchmark_is_an_error_with_the_nearest_name(tmp_path):
    with pytest.raises(ConfigError, match=r"'LEVIR-DC'; did you mean 'LEVIR-CD'"):
        index_pairs(tmp_path, benchmark="LEVIR-DC")
    with pytest.raises(ConfigError, match="Known: CDD, LEVIR-CD"):
        find_benchmark("???")


def test_a_benchmark_gives_its_name_and_says_how_the_numbers_differ(tmp_path):
    tree(tmp_path / "train", ("time1", "time2", "label"))

    index = index_pairs(tmp_path, benchmark="clcd")

    assert index.name == "CLCD"
    assert "CLCD as published has train 360" in index.notes[0]
    assert "but this one has train 2" in index.notes[0]


def test_a_benchmark_in_another_layout_is_an_error(tmp_path):
    tree(tmp_path / "train", ("im1", "im2", "label"))

    with pytest.raises(DataError, match=r"im1/im2/label in split folders, but CLCD comes as"):
        index_pairs(tmp_path, benchmark="CLCD")


def test_the_folders_of_the_published_archive_are_entered(tmp_path):
    tree(tmp_path / "Real" / "subset" / "train", ("A", "B", "OUT"))

    assert index_pairs(tmp_path, benchmark="CDD").root == tmp_path / "Real" / "subset"


def test_the_numbers_of_any_edition_are_right_also_without_all_splits():
    row = find_benchmark("LEVIR-CD")

    assert differences(row, {"train": 445, "val": 64, "test": 128}) is None
    assert differences(row, {"train": 7120, "test": 2048}) is None
    assert differences(row, {"train": 445, "test": 2048}) is not None
    assert differences(find_benchmark("WHU-CD"), {"train": 5}) is None
