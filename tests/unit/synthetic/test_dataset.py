import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from changedet import _version
from changedet.data.index import index_pairs
from changedet.data.labels.scan import read_label, scan_labels
from changedet.errors import ConfigError, DataError, StorageError
from changedet.synthetic.dataset import generate_pair, write_sample

SMALL = {"train": 3, "val": 2, "test": 1, "size_px": 48}

DIGEST = """
import hashlib
from changedet.synthetic.dataset import generate_pair
pair = generate_pair(7, size_px=96)
print(hashlib.sha256(b"".join(part.tobytes() for part in pair)).hexdigest())
"""


def digest(pair):
    return hashlib.sha256(b"".join(part.tobytes() for part in pair)).hexdigest()


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def pairs():
    return [generate_pair(seed) for seed in range(30)]


def test_the_same_seed_gives_the_same_bits_in_any_process():
    here = digest(generate_pair(7, size_px=96))
    assert here == digest(generate_pair(7, size_px=96))
    there = subprocess.run(
        [sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here
    assert here != digest(generate_pair(8, size_px=96))


@pytest.mark.parametrize("size_px", [32, 97])
def test_a_pair_has_the_size_and_types_that_were_asked_for(size_px):
    pair = generate_pair(1, size_px=size_px)
    assert pair.before.shape == pair.after.shape == (size_px, size_px, 3)
    assert pair.label.shape == (size_px, size_px)
    assert pair.before.dtype == pair.after.dtype == pair.label.dtype == np.uint8


def test_some_pairs_have_no_change_and_none_is_all_change(pairs):
    shares = np.array([pair.label.mean() for pair in pairs])
    assert {value for pair in pairs for value in np.unique(pair.label).tolist()} == {0, 1}
    assert 0 < (shares == 0).sum() < len(pairs) / 2
    assert 0.01 < shares.mean() < 0.2
    assert shares.max() < 0.7


def test_pairs_differ_everywhere_although_little_is_labelled(pairs):
    for pair in pairs:
        difference = np.abs(pair.before.astype(int) - pair.after).mean(axis=2)
        assert difference[pair.label == 0].mean() > 4


def test_a_plain_difference_of_the_images_does_not_find_the_changes(pairs):
    label = np.stack([pair.label for pair in pairs]).astype(bool)
    difference = np.stack(
        [np.abs(pair.before.astype(int) - pair.after).mean(axis=2) for pair in pairs]
    )
    best = 0.0
    for threshold in range(2, 200, 2):
        found = difference >= threshold
        best = max(best, 2 * (found & label).sum() / (found.sum() + label.sum()))
    assert 0.05 < best < 0.5


def test_the_sample_is_a_data_set_that_the_readers_understand(tmp_path):
    told = []
    write_sample(tmp_path / "s", **SMALL, progress=lambda done, total: told.append((done, total)))
    index = index_pairs(tmp_path / "s")
    assert {name: len(index.split(name)) for name in index.splits} == {
        "train": 3,
        "val": 2,
        "test": 1,
    }
    pairs = [pair for split in index.splits.values() for pair in split]
    encoding = scan_labels(pairs).encoding
    for pair in pairs:
        with Image.open(pair.label) as image:
            assert set(np.unique(np.asarray(image)).tolist()) <= {0, 255}
        assert set(np.unique(read_label(pair.label, encoding)).tolist()) <= {0, 1}
    assert told == [(done, 6) for done in range(1, 7)]


def test_the_same_seed_writes_the_same_files_and_no_scene_twice(tmp_path):
    for name, seed in (("one", 5), ("same", 5), ("other", 6)):
        write_sample(tmp_path / name, **SMALL, seed=seed)
    one, same, other = (files_of(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    images = [content for files in (one, other) for name, content in files.items() if "/A/" in name]
    assert len(set(images)) == len(images) == 12


def test_more_pairs_leave_the_first_ones_as_they_were(tmp_path):
    write_sample(tmp_path / "few", **SMALL)
    write_sample(tmp_path / "many", **(SMALL | {"train": 4, "test": 2}))
    few, many = files_of(tmp_path / "few"), files_of(tmp_path / "many")
    assert all(many[name] == content for name, content in few.items() if name != "README.txt")


def test_the_readme_says_how_the_sample_was_made(tmp_path):
    write_sample(tmp_path / "s", **SMALL, seed=5)
    text = (tmp_path / "s" / "README.txt").read_text()
    for fact in ("changedet", _version.__version__, "seed 5", "train 3, val 2, test 1", "48 x 48"):
        assert fact in text


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"mine")
    for existing in ("refuse", "replace"):
        with pytest.raises(DataError, match=r"not empty.*something else.*another folder"):
            write_sample(tmp_path, **SMALL, existing=existing)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_an_earlier_sample_is_replaced_only_if_asked(tmp_path):
    out = tmp_path / "s"
    write_sample(out, **(SMALL | {"train": 5}))
    with pytest.raises(
        DataError, match=r"an earlier sample; use `existing=.replace.` to replace it"
    ):
        write_sample(out, **SMALL)
    write_sample(out, **SMALL, seed=1, existing="replace")
    write_sample(tmp_path / "fresh", **SMALL, seed=1)
    assert files_of(out) == files_of(tmp_path / "fresh")


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="is a file"):
        write_sample(tmp_path / "file", **SMALL)
    with pytest.raises(StorageError, match=r"cannot write to .*below"):
        write_sample(tmp_path / "file" / "below", **SMALL)


@pytest.mark.parametrize(
    ("name", "value"), [("train", 0), ("val", -1), ("test", 0), ("seed", -1), ("size_px", 31)]
)
def test_a_number_out_of_range_is_refused_before_anything_is_written(tmp_path, name, value):
    with pytest.raises(ConfigError, match=rf"{name} must be.*got {value}"):
        write_sample(tmp_path / "s", **(SMALL | {name: value}))
    assert not (tmp_path / "s").exists()


def test_a_pair_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="seed"):
        generate_pair(-1)
    with pytest.raises(ConfigError, match="size_px"):
        generate_pair(0, size_px=8)


def test_a_sample_that_a_kill_left_half_made_is_replaced(tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "half", **SMALL, progress=stop)
    write_sample(tmp_path / "half", **SMALL)
    assert len(list((tmp_path / "half").rglob("*.png"))) == 18
    with pytest.raises(DataError, match="an earlier sample"):
        write_sample(tmp_path / "half", **SMALL)
