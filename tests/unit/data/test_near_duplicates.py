from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from changedet.data.index import index_pairs
from changedet.data.labelled import DecodedPair
from changedet.data.labels.scan import scan_labels
from changedet.data.tools.near_duplicates import (
    Thumbnails,
    find_near_duplicates,
    make_thumbnails,
    thumbnail,
)
from changedet.errors import ConfigError, DataError


def scene(seed, side=128):
    """Ground with structures of many sizes, (side, side, 3)."""
    rng = np.random.default_rng(seed)
    layers = [
        np.kron(rng.normal(0.0, 25.0, (cells, cells)), np.ones((side // cells,) * 2))
        for cells in (4, 8, 16, 32)
    ]
    grey = 120.0 + np.sum(layers, axis=0)
    return np.repeat(grey[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


def other_date(image, seed, contrast=0.7):
    """The same ground in other light, with noise."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, 8.0, image.shape)
    return (40.0 + contrast * image + noise).clip(0, 255).astype(np.uint8)


def thumbnails(*pairs, prefix="p"):
    return Thumbnails(
        tuple(f"{prefix}{number}" for number in range(len(pairs))),
        np.array([[thumbnail(before), thumbnail(after)] for before, after in pairs]),
        ((None, None),) * len(pairs),
    )


def pair_of(seed):
    ground = scene(seed)
    return ground, other_date(ground, seed + 1000)


def compare(pair, other, **options):
    return find_near_duplicates(
        thumbnails(pair), thumbnails(*[pair_of(s) for s in (90, 91)], other), **options
    )


def test_different_places_are_no_near_duplicates():
    first = thumbnails(*[pair_of(seed) for seed in range(6)])
    second = thumbnails(*[pair_of(seed) for seed in range(6, 12)])
    assert find_near_duplicates(first, second) == []


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_a_turned_and_relit_copy_is_found(mirrored, quarters):
    before, after = pair_of(1)
    copies = [np.rot90(image[:, ::-1] if mirrored else image, quarters) for image in pair_of(1)]
    relit = [other_date(image, 7) for image in copies]
    (found,) = compare((before, after), relit, shifts="none")
    assert (found.index, found.name, found.other) == (0, "p0", "p2")
    assert (found.relation, found.overlap) == ("same frame", 1.0)
    assert 0.9 <= found.correlation <= 1.0


def test_one_date_in_common_is_enough_in_the_same_frame():
    before, after = pair_of(1)
    (found,) = compare((before, after), (scene(2), other_date(before, 3)), shifts="none")
    assert found.relation == "same frame"


def test_frames_that_overlap_are_found_where_they_are_searched():
    ground = scene(5, side=256)
    later = other_date(ground, 6)
    ours = ground[:128, :128], later[:128, :128]
    # The dates change places, too.
    theirs = other_date(later[32:160, 16:144], 8), other_date(ground[32:160, 16:144], 9)
    (found,) = compare(ours, theirs)
    assert found.relation == "shifted"
    assert found.overlap == pytest.approx(0.75 * 0.875)
    assert compare(ours, theirs, shifts="none") == []


def test_one_date_in_common_is_not_enough_in_shifted_frames():
    ground = scene(5, side=256)
    ours = ground[:128, :128], other_date(ground[:128, :128], 6)
    theirs = ground[32:160, 16:144], scene(8)
    assert compare(ours, theirs) == []


def test_the_limit_decides():
    before, after = pair_of(1)
    similar = other_date(before, 3, contrast=0.05), scene(4)
    (found,) = compare((before, after), similar, limit=0.5, shifts="none")
    just_below, just_above = found.correlation - 0.01, found.correlation + 0.005
    assert len(compare((before, after), similar, limit=just_below, shifts="none")) == 1
    assert compare((before, after), similar, limit=just_above, shifts="none") == []
    for wrong in (0.0, 1.1):
        with pytest.raises(ConfigError, match=r"in \(0, 1\], got"):
            compare((before, after), similar, limit=wrong)


def test_images_without_structure_are_like_none():
    flat = np.full((64, 64, 3), 90, dtype=np.uint8)
    assert compare((flat, flat), (flat, flat)) == []


def test_nothing_to_compare_gives_nothing():
    none = Thumbnails((), np.zeros((0, 2, 16, 16), np.float32), ())
    some = thumbnails(pair_of(1))
    assert find_near_duplicates(none, some) == find_near_duplicates(some, none) == []


def test_the_most_alike_come_first_for_each_pair():
    before, after = pair_of(1)
    alike = other_date(before, 2, contrast=0.3), other_date(after, 3, contrast=0.3)
    found = find_near_duplicates(
        thumbnails(pair_of(4), (before, after)),
        thumbnails(alike, (before, after), pair_of(4)),
        shifts="none",
    )
    assert [(one.name, one.other) for one in found] == [("p0", "p2"), ("p1", "p1"), ("p1", "p0")]
    assert found[1].correlation > found[2].correlation
    assert found[1].to_dict()["relation"] == "same frame"


@pytest.mark.parametrize("side", [8, 16, 50, 300])
def test_a_thumbnail_is_the_mean_of_what_it_covers(side):
    ramp = np.tile(np.linspace(0, 200, side).astype(np.float32)[None, :, None], (side, 1, 3))
    small = thumbnail(ramp)
    assert small.shape == (16, 16)
    assert small.mean() == pytest.approx(100.0, abs=1.0)
    assert (np.diff(small, axis=1) >= 0).all()


def write(root, split, name, before, after):
    label = np.zeros(before.shape[:2], np.uint8)
    label[:8, :8] = 255
    for folder, pixels in (("A", before), ("B", after), ("label", label)):
        path = root / split / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, compress_level=1 if split == "train" else 9)


def read_thumbnails(root: Path, split):
    index = index_pairs(root)
    encoding = scan_labels(index.pairs).encoding
    seen = []
    made = make_thumbnails(
        index.split(split), encoding=encoding, progress=lambda done, total: seen.append(done)
    )
    assert seen == list(range(1, len(made.names) + 1))
    return made


def test_the_same_pixels_in_another_file_are_identical_and_blank_ones_are_not(tmp_path):
    before, after = pair_of(1)
    blank = np.zeros_like(before)
    write(tmp_path, "train", "a", before, after)
    write(tmp_path, "train", "blank", blank, scene(7))
    write(tmp_path, "test", "b", scene(2), before)
    write(tmp_path, "test", "other", blank, scene(3))
    ours, theirs = read_thumbnails(tmp_path, "test"), read_thumbnails(tmp_path, "train")
    found = find_near_duplicates(ours, theirs)
    assert [(one.name, one.other, one.relation) for one in found] == [("b", "a", "identical")]
    assert found[0].correlation == pytest.approx(1.0, abs=1e-3)


def test_pixels_that_are_no_numbers_are_refused(tmp_path, monkeypatch):
    write(tmp_path, "train", "a", *pair_of(1))
    pixels = np.full((16, 16, 3), np.nan, dtype=np.float32)
    broken = DecodedPair(pixels, pixels, np.zeros((16, 16), np.uint8))
    monkeypatch.setattr("changedet.data.tools.near_duplicates.read_pair", lambda pair, **_: broken)
    with pytest.raises(DataError, match=r"a\.png .* has NaN values"):
        read_thumbnails(tmp_path, "train")


def test_no_pairs_give_no_thumbnails():
    assert make_thumbnails([], encoding=None).grey.shape == (0, 2, 16, 16)
