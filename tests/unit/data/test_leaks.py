"""Pairs of other splits that are training pairs, too."""

import shutil

import numpy as np
from PIL import Image

from changedet.data.index import index_pairs
from changedet.data.labels.scan import scan_labels
from changedet.data.tools import leaks
from changedet.data.tools.leaks import Leak, describe_leaks, find_leaks


def found_in(folder, **options):
    index = index_pairs(folder)
    encoding = scan_labels(index.pairs).encoding
    return find_leaks(index.splits, encoding=encoding, **options)


def test_pairs_of_other_places_are_no_leak(own_pairs_folder):
    assert found_in(own_pairs_folder) == ()


def test_a_copied_image_is_a_leak_whatever_it_is_called(own_pairs_folder):
    # The second date of a test pair is the first date of a training pair.
    shutil.copy(own_pairs_folder / "train/A/002.png", own_pairs_folder / "test/B/000.png")

    found = found_in(own_pairs_folder)

    assert found == (Leak("test", "000", "002", "identical"),)
    assert describe_leaks(found, pairs={"train": 4, "val": 2, "test": 1}) == [
        "leak: test: 1 of 1 pairs have an image in common with training pairs (000 = 002); "
        "figures on this split will be too good"
    ]


def test_a_copy_stored_again_at_another_quality_looks_alike(own_pairs_folder, monkeypatch):
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((64, 64))
    coarse.save(own_pairs_folder / "train/A/001.png")
    (own_pairs_folder / "val/A/000.png").unlink()
    coarse.save(own_pairs_folder / "val/A/000.jpg", quality=80)

    assert found_in(own_pairs_folder) == (Leak("val", "000", "001", "look alike"),)
    # In a data set that takes long to read, only equal files are looked for.
    monkeypatch.setattr(leaks, "_CHEAP_PIXELS", 1)
    assert found_in(own_pairs_folder) == ()


def test_files_whose_size_is_unique_are_not_read(own_pairs_folder, monkeypatch):
    read = []
    monkeypatch.setattr(leaks, "_CHEAP_PIXELS", 0)
    monkeypatch.setattr(leaks, "_digest", lambda path: read.append(path) or path.read_bytes())
    for number, path in enumerate(sorted(own_pairs_folder.rglob("[AB]/*.png"))):
        path.write_bytes(path.read_bytes() + bytes(5000 * number))

    assert found_in(own_pairs_folder) == ()
    assert read == []
