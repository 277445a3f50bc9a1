"""Processes that see different data are refused."""

import shutil
from types import SimpleNamespace

import pytest

from changedet.data.index import index_pairs
from changedet.errors import DataError
from changedet.training.config import ExperimentConfig
from changedet.training.ranks import OneProcess
from changedet.training.same_data import check_same_data, check_same_files

CONFIG = ExperimentConfig()


class Two(OneProcess):
    """The second of two processes, where the first one has said ``first``."""

    rank, world, is_main = 1, 2, False

    def __init__(self, first=None):
        self.first = first
        self.said = None

    def gather(self, value):
        self.said = value
        return [value if self.first is None else self.first, value]


def seen(root):
    ranks = Two()
    check_same_data(index_pairs(root), CONFIG, ranks)
    return ranks.said


def check(root, first):
    check_same_data(index_pairs(root), CONFIG, Two(first))


def test_the_same_files_elsewhere_are_the_same_data(pairs_folder, tmp_path):
    copy = shutil.copytree(pairs_folder, tmp_path / "copy")
    check(copy, seen(pairs_folder))


def test_a_missing_pair_is_counted(own_pairs_folder):
    first = seen(own_pairs_folder)
    for part in ("A", "B", "label"):
        (own_pairs_folder / "val" / part / "001.png").unlink()
    with pytest.raises(DataError, match=r"process 1 .* in the split 'val' 1 pairs instead of 2"):
        check(own_pairs_folder, first)


def test_a_file_of_another_size_or_name_is_found(own_pairs_folder):
    first = seen(own_pairs_folder)
    for part in ("A", "B", "label"):
        folder = own_pairs_folder / "train" / part
        (folder / "001.png").rename(folder / "renamed.png")
    with pytest.raises(DataError, match="in the split 'train' pairs of other names"):
        check(own_pairs_folder, first)
    first = seen(own_pairs_folder)
    label = own_pairs_folder / "train" / "label" / "002.png"
    label.write_bytes(label.read_bytes() + b"more")
    with pytest.raises(DataError, match="files of other sizes"):
        check(own_pairs_folder, first)


def test_one_process_asks_nobody(pairs_folder):
    ranks = SimpleNamespace(world=1)
    check_same_data(index_pairs(pairs_folder), CONFIG, ranks)
    check_same_files(ranks, pairs_folder)


def test_a_checkpoint_must_be_seen_by_all(tmp_path):
    last = tmp_path / "last.safetensors"
    with pytest.raises(DataError, match=r"process 1 \(on .*\) does not see .*`out` must be a fold"):
        check_same_files(Two((7, "first")), last)
    last.write_bytes(b"1234567")
    check_same_files(Two((7, "first")), last)
    last.write_bytes(b"1234")
    with pytest.raises(DataError, match="does not see"):
        check_same_files(Two((7, "first")), last)
