"""Several data sets as one: the file, the pairs, what each label says of which kind."""

import numpy as np
import pytest
import torch
from affine import Affine
from PIL import Image

from changedet.data.index import index_pairs
from changedet.data.labelled import read_pair
from changedet.data.labels.scan import scan_labels
from changedet.data.mixture import member_of
from changedet.data.mixture_file import kinds_of, read_mixture
from changedet.data.rasters.manifest import find_manifest
from changedet.data.tools.check import check_pairs
from changedet.data.tools.leaks import find_leaks
from changedet.data.training.augmentation import Augmentation
from changedet.data.training.pairs import PairDataset
from changedet.data.training.sampling import SampleKey
from changedet.errors import ConfigError, DataError
from changedet.evaluation.benchmark.request import AccuracyRequest
from changedet.evaluation.gsd_curve.request import GsdCurveRequest
from changedet.types import IGNORED
from conftest import write_pair, write_raster, write_split_folders


@pytest.fixture
def folder(tmp_path):
    write_split_folders(tmp_path / "towns", counts=(4, 2, 1))
    write_split_folders(tmp_path / "fields", counts=(3, 1, 1), size_px=96)
    return tmp_path


def write(folder, text):
    path = folder / "mixture.yaml"
    path.write_text(text)
    return path


TWO = """
sets:
  towns: {data: towns, kind: building, also_changed: any, gsd_m: 0.5, weight: 2.5}
  fields: {data: fields, kind: cropland, gsd_m: 2, directed: true}
"""


def test_pairs_of_all_sets_are_joined_under_names_of_their_own(folder):
    index = index_pairs(write(folder, TWO))
    assert {split: len(pairs) for split, pairs in index.splits.items()} == {
        "train": 7,
        "val": 3,
        "test": 2,
    }
    names = [pair.name for pair in index.splits["train"]]
    assert names[0] == "towns/000"
    assert names[-1] == "fields/002"
    assert len(set(names)) == 7
    assert index.mixture.kinds == ("any", "building", "cropland")
    member = member_of(index.splits["train"][-1])
    assert (member.name, member.gsd_m, member.directed) == ("fields", 2.0, True)
    assert find_manifest(folder) is None
    assert index_pairs(folder).splits.keys() == index.splits.keys()


def test_labels_of_every_set_are_read_by_their_own_encoding(folder):
    for path in (folder / "fields").glob("*/label/*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 255).save(path)
    index = index_pairs(write(folder, TWO))
    scan = scan_labels(index.pairs)
    for pair in index.splits["train"]:
        label = pair.open(encoding=scan.encoding, channels=3).label
        assert set(np.unique(label)) == {0, 1}
        assert scan.share_of([pair]) == pytest.approx((label == 1).mean())


def test_the_same_picture_in_two_sets_and_splits_is_a_leak(folder):
    first, other = folder / "towns" / "train", folder / "fields" / "val"
    for part in ("A", "B", "label"):
        (other / part / "000.png").write_bytes((first / part / "001.png").read_bytes())
    index = index_pairs(write(folder, TWO))
    encoding = scan_labels(index.pairs).encoding
    (leak,) = find_leaks(index.splits, encoding=encoding)
    assert (leak.name, leak.training) == ("fields/000", "towns/001")


def test_patterns_and_splits_choose_pairs(folder):
    path = write(
        folder,
        "sets:\n"
        "  a: {data: towns, kind: any, include: '00[01]', splits: [train]}\n"
        "  b: {data: towns, kind: any, exclude: ['000', '001']}\n",
    )
    splits = index_pairs(path).splits
    assert [pair.name for pair in splits["train"]] == ["a/000", "a/001", "b/002", "b/003"]
    assert "val" not in splits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sets: {a: {data: nowhere, kind: any}}", r"data set of a, .*nowhere, is not there; give"),
        ("sets: {a: {data: towns}}", r"sets\.a\.kind"),
        ("sets: {a: {data: towns, kind: any, weight: 0}}", r"weight must be above 0 .*, got 0"),
        ("sets: {a: {data: towns, kind: any, weigth: 2}}", r"unknown key 'weigth'.*'weight'"),
        ("sets: {a: {data: towns, kind: any, gsd_m: -1}}", r"gsd_m must be a ground sample"),
        ("sets: {a: {data: towns, kind: Any kind}}", r"kind must name a kind of change"),
        ("sets: {a: {data: towns, kind: any, include: x*}}", r"no pair of a is left.*'000'"),
        ("sets: {a: {data: towns, kind: any, splits: [dev]}}", r"no split 'dev'"),
        ("sets: {}", r"sets must name data sets"),
        ("sets: [towns]", r"sets must name data sets"),
    ],
)
def test_a_faulty_mixture_is_one_clear_line(folder, text, message):
    with pytest.raises(DataError, match=message) as error:
        index_pairs(write(folder, text))
    assert "\n" not in str(error.value)


def test_sets_of_other_bands_are_named(folder):
    for split in ("train", "val"):
        for part in ("A", "B"):
            (folder / "bands" / split / part).mkdir(parents=True)
            pixels = np.ones((64, 64, 5), np.uint8)
            write_raster(folder / "bands" / split / part / "0.tif", pixels)
        (folder / "bands" / split / "label").mkdir()
        Image.new("L", (64, 64)).save(folder / "bands" / split / "label" / "0.png")
    path = write(
        folder,
        "sets:\n  rgb: {data: towns, kind: any}\n  nine: {data: bands, kind: any}\n",
    )
    with pytest.raises(DataError, match=r"nine has images of 5 bands.*but rgb of 3"):
        index_pairs(path, channels=None)


def test_a_benchmark_is_named_in_the_file(folder):
    with pytest.raises(ConfigError, match="cannot be combined with a mixture"):
        index_pairs(write(folder, TWO), benchmark="clcd")


def test_kinds_are_listed_with_any_first(folder):
    assert kinds_of(read_mixture(write(folder, TWO))) == ("any", "building", "cropland")


def dataset(path, **options):
    index = index_pairs(path)
    settings = {"crop_px": 64, "seed": 3, "kinds": index.mixture.kinds, **options}
    encoding = scan_labels(index.pairs).encoding
    return PairDataset(index.splits["train"], encoding=encoding, **settings), index


def test_a_label_says_nothing_of_kinds_that_its_set_does_not_label(folder):
    data, _ = dataset(write(folder, TWO))
    for place, name in ((0, "towns"), (len(data) - 1, "fields")):
        label = data[SampleKey(1, place)].label
        of_any, building, cropland = label
        assert label.shape == (3, 64, 64)
        if name == "towns":
            assert set(building.unique().tolist()) == {0, 1}
            assert torch.equal(of_any == 1, building == 1)
            assert set(of_any.unique().tolist()) == {1, IGNORED}
            assert (cropland == IGNORED).all()
        else:
            assert (building == IGNORED).all()
            assert (of_any == IGNORED).all()
            assert not (cropland == IGNORED).any()


def test_a_weight_is_how_often_a_set_is_seen(folder):
    data, _ = dataset(write(folder, TWO))
    assert len(data) == 10 + 3
    seen = [int(data[SampleKey(1, place)].index) for place in range(len(data))]
    counts = np.bincount(seen, minlength=7)
    assert sorted(counts[:4]) == [2, 2, 3, 3]
    assert list(counts[4:]) == [1, 1, 1]
    again = [int(dataset(folder / "mixture.yaml")[0][SampleKey(1, p)].index) for p in range(13)]
    assert again == seen


def test_what_a_fraction_leaves_over_changes_with_the_epoch(folder):
    path = write(folder, "sets: {a: {data: towns, kind: any, weight: 0.5}}")
    data, _ = dataset(path)
    assert len(data) == 2
    drawn = {
        tuple(int(data[SampleKey(epoch, place)].index) for place in range(2))
        for epoch in range(1, 20)
    }
    assert len(drawn) > 3
    assert all(first != second for first, second in drawn)


def test_images_are_brought_to_the_working_range_before_they_are_varied(folder):
    """A crop of 32 px of images at half the range's lower end shows twice the ground."""
    path = write(folder, "sets: {a: {data: towns, kind: any, gsd_m: 0.5}}")
    finer, index = dataset(path, crop_px=32, working_gsd_m=(1.0, 2.0))
    pair = index.splits["train"][0]
    whole = pair.open(encoding=finer._encoding, channels=3).before
    shrunk = finer[SampleKey(1, 0)].before
    # Twice the crop is the whole image of 64 px.
    assert shrunk.float().mean() == pytest.approx(whole.mean(), abs=1.0)
    inside, _ = dataset(path, crop_px=32, working_gsd_m=(0.25, 2.0))
    plain, _ = dataset(path, crop_px=32)
    assert torch.equal(inside[SampleKey(1, 0)].before, plain[SampleKey(1, 0)].before)


def test_dates_of_a_directed_set_are_never_swapped(folder):
    data, _ = dataset(write(folder, TWO), augmentation=Augmentation(swap_dates=1.0))
    plain, _ = dataset(folder / "mixture.yaml")
    towns, fields = SampleKey(1, 0), SampleKey(1, len(data) - 1)
    assert torch.equal(data[towns].before, plain[towns].after)
    assert torch.equal(data[fields].before, plain[fields].before)


def test_what_is_pasted_keeps_the_kinds_of_its_own_set(folder):
    data, _ = dataset(write(folder, TWO), augmentation=Augmentation(paste=1.0))
    mixed = 0
    for epoch in range(1, 4):
        for place in range(len(data)):
            of_any, building, cropland = data[SampleKey(epoch, place)].label
            is_town = building != IGNORED
            assert torch.equal(is_town, cropland == IGNORED)
            assert (of_any[~is_town] == IGNORED).all()
            mixed += bool(is_town.any() and not is_town.all())
    assert mixed > 5


def test_a_pair_needs_a_label(folder):
    write_pair(folder / "towns" / "train", "009", seed=1)
    (folder / "towns" / "train" / "label" / "009.png").unlink()
    with pytest.raises(DataError, match="009"):
        index_pairs(write(folder, TWO))


def test_each_set_can_read_other_bands(folder):
    for split in ("train", "val"):
        for part in ("A", "B"):
            (folder / "bands" / split / part).mkdir(parents=True)
            pixels = np.full((64, 64, 5), 7, np.uint8)
            pixels[..., 3] = 200
            write_raster(folder / "bands" / split / part / "0.tif", pixels)
        (folder / "bands" / split / "label").mkdir()
        Image.new("L", (64, 64)).save(folder / "bands" / split / "label" / "0.png")
    path = write(
        folder,
        "sets:\n"
        "  rgb: {data: towns, kind: any}\n"
        "  five: {data: bands, kind: any, bands: [4, 1, 2]}\n",
    )
    index = index_pairs(path, channels=None)
    assert (index.channels, index.bands) == (3, None)
    pair = next(pair for pair in index.splits["train"] if pair.name == "five/0")
    before = read_pair(pair, encoding=member_of(pair).encoding).before
    assert before[0, 0].tolist() == [200, 7, 7]


def test_checking_a_mixture_names_its_sets(folder):
    with pytest.raises(DataError, match=r"is a mixture of data sets.*give one of them: .*towns"):
        check_pairs(write(folder, TWO))


def test_some_training_pairs_can_validate_instead(folder):
    path = write(folder, "sets: {a: {data: towns, kind: any, validate: '00[23]'}}")
    splits = index_pairs(path).splits
    assert [pair.name for pair in splits["train"]] == ["a/000", "a/001"]
    names = sorted(pair.name for pair in splits["val"])
    assert names == ["a/000", "a/001", "a/train_002", "a/train_003"]


def test_benchmarks_take_one_data_set_of_a_mixture(tmp_path):
    path = tmp_path / "mixture.yaml"
    (tmp_path / "towns").mkdir()
    path.write_text("sets: {towns: {data: towns, kind: building}}")
    out = tmp_path / "out"
    for request in (
        AccuracyRequest(data=path, out=out, methods=("baseline:difference",)),
        GsdCurveRequest(model="m.safetensors", data=path, out=out),
    ):
        with pytest.raises(DataError, match=r"is a mixture .* give one of them: .*towns"):
            request.check()


def write_georeferenced(folder, name, metres):
    """Write one training and one validation pair of GeoTIFFs with pixels of some metres."""
    place = Affine(metres, 0.0, 500_000.0, 0.0, -metres, 5_000_000.0)
    for split in ("train", "val"):
        drawn = np.random.default_rng(len(name))
        for part in ("A", "B"):
            (folder / name / split / part).mkdir(parents=True)
            pixels = drawn.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            write_raster(folder / name / split / part / "0.tif", pixels, transform=place)
        (folder / name / split / "label").mkdir()
        label = np.zeros((64, 64), np.uint8)
        label[:20] = 255
        Image.fromarray(label).save(folder / name / split / "label" / "0.png")


def test_the_georeference_says_the_length_of_a_set_that_states_none(tmp_path):
    write_georeferenced(tmp_path, "silent", 0.5)
    path = write(tmp_path, "sets: {a: {data: silent, kind: any}}")
    index = index_pairs(path)
    [member] = index.mixture.sets
    assert member.gsd_m == pytest.approx(0.5, rel=1e-3)
    assert (member.gsd_is_measured, member.stated_gsd_m) == (True, None)
    assert any("by the georeference" in note for note in index.notes)
    measured, _ = dataset(path, crop_px=32, working_gsd_m=(1.0, 2.0))
    stated, other = dataset(
        write(tmp_path, "sets: {a: {data: silent, kind: any, gsd_m: 0.5}}"),
        crop_px=32,
        working_gsd_m=(1.0, 2.0),
    )
    assert other.mixture.sets[0].stated_gsd_m == 0.5
    plain, _ = dataset(path, crop_px=32)
    ours, theirs = (data[SampleKey(1, 0)].before for data in (measured, stated))
    # Lengths in a projection differ a little from those on the ground.
    assert (ours.float() - theirs.float()).abs().mean() < 2.0
    assert (ours.float() - plain[SampleKey(1, 0)].before.float()).abs().mean() > 20.0


def test_one_data_set_is_brought_to_the_working_range_like_those_of_a_mixture(folder):
    path = write(folder, "sets: {a: {data: towns, kind: any, gsd_m: 0.5}}")
    of_mixture, _ = dataset(path, crop_px=32, working_gsd_m=(1.0, 2.0))
    index = index_pairs(folder / "towns")
    alone = PairDataset(
        index.splits["train"],
        encoding=scan_labels(index.pairs).encoding,
        crop_px=32,
        seed=3,
        gsd_m=0.5,
        working_gsd_m=(1.0, 2.0),
    )
    key = SampleKey(1, 0)
    assert torch.equal(alone[key].before, of_mixture[key].before)


def test_training_enlarges_no_more_than_prediction(folder):
    """Images of 8 m are treated like those of 4 m: both are brought to 1 m as far as it goes."""
    far, limit = (
        dataset(
            write(folder, f"sets: {{a: {{data: towns, kind: any, gsd_m: {metres}}}}}"),
            crop_px=32,
            working_gsd_m=(0.5, 1.0),
        )[0]
        for metres in (8, 4)
    )
    key = SampleKey(1, 0)
    assert torch.equal(far[key].before, limit[key].before)
