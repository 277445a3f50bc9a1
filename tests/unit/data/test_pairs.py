import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from changedet.data.index import PairPaths
from changedet.data.labels.scan import scan_labels
from changedet.data.training.pairs import PairDataset, read_pair
from changedet.data.training.sampling import EpochSampler, SampleKey
from changedet.data.training.transforms import Augmentation
from changedet.errors import ConfigError, DataError

EVERYTHING = Augmentation(
    horizontal_flip=0.5,
    vertical_flip=0.5,
    quarter_turns=0.5,
    scale=(0.8, 1.5),
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    hue=0.05,
    swap_dates=0.5,
    shift_px=1.0,
    match_histograms=0.3,
    paste=0.5,
    sensor=0.5,
)


def write_pair(folder, name, *, size=(48, 40), seed=0, label_size=None, after_size=None):
    """A pair of (width, height) pixels, its label half changed and half not."""
    generator = np.random.default_rng(seed)
    paths = PairPaths(name, *(folder / f"{name}_{part}.png" for part in ("before", "after", "gt")))
    for path, (width, height) in ((paths.before, size), (paths.after, after_size or size)):
        Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8)).save(path)
    width, height = label_size or size
    label = np.zeros((height, width), np.uint8)
    label[:, : width // 2] = 255
    Image.fromarray(label).save(paths.label)
    return paths


@pytest.fixture
def pairs(tmp_path):
    return [write_pair(tmp_path, f"{number:02d}", seed=number) for number in range(7)]


def dataset_of(pairs, **options):
    settings = {"crop_px": 32, "seed": 11} | options
    if "encoding" not in settings:
        settings["encoding"] = scan_labels(pairs).encoding
    return PairDataset(pairs, **settings)


def batches(dataset, *, start=0, epoch=3, workers=0):
    sampler = EpochSampler(len(dataset), seed=11)
    sampler.set_epoch(epoch, start=start)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=workers)
    return list(loader)


def assert_equal_batches(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_epoch_may_take_several_crops_of_each_pair(pairs):
    dataset = dataset_of(pairs, crop_px=16, crops_per_pair=3)
    assert len(dataset) == 3 * len(pairs)
    samples = [dataset[SampleKey(epoch=1, index=index)] for index in range(3)]
    assert [int(sample.index) for sample in samples] == [0, 0, 0]
    assert not torch.equal(samples[0].before, samples[1].before)
    assert torch.equal(samples[0].before, dataset_of(pairs, crop_px=16)[SampleKey(1, 0)].before)


def test_no_crop_at_all_is_refused(pairs):
    with pytest.raises(ConfigError, match="crops_per_pair must be at least 1"):
        dataset_of(pairs, crops_per_pair=0)


def test_a_batch_has_the_types_and_shapes_that_training_expects(pairs):
    batch = batches(dataset_of(pairs))[0]
    assert batch.before.shape == batch.after.shape == (2, 3, 32, 32)
    assert batch.label.shape == (2, 32, 32)
    assert batch.before.dtype == batch.after.dtype == batch.label.dtype == torch.uint8
    assert batch.index.dtype == torch.int64
    assert set(batch.label.unique().tolist()) <= {0, 1}


def test_a_crop_shows_the_stored_pixels_of_the_pair_it_names(pairs):
    dataset = dataset_of(pairs, crop_px=40)
    sample = dataset[SampleKey(0, 5)]
    with Image.open(pairs[5].before) as image:
        stored = np.asarray(image).transpose(2, 0, 1)
    windows = [stored[:, :, left : left + 40] for left in range(9)]
    assert any(np.array_equal(sample.before.numpy(), window) for window in windows)
    assert int(sample.index) == 5
    assert 0 < sample.label.float().mean() < 1


def test_worker_count_changes_nothing(pairs):
    dataset = dataset_of(pairs, augmentation=EVERYTHING)
    assert_equal_batches(batches(dataset), batches(dataset, workers=2))


def test_resuming_gives_the_batches_that_were_left(pairs):
    whole = batches(dataset_of(pairs, augmentation=EVERYTHING))
    rest = batches(dataset_of(pairs, augmentation=EVERYTHING), start=4)
    assert_equal_batches(whole[2:], rest)


def test_another_epoch_or_seed_gives_another_sample(pairs):
    dataset = dataset_of(pairs, augmentation=EVERYTHING)
    sample = dataset[SampleKey(0, 2)]
    again = dataset[SampleKey(0, 2)]
    assert torch.equal(sample.before, again.before)
    assert not torch.equal(sample.before, dataset[SampleKey(1, 2)].before)
    other = dataset_of(pairs, augmentation=EVERYTHING, seed=12)
    assert not torch.equal(sample.before, other[SampleKey(0, 2)].before)


def test_the_cache_changes_nothing_and_reads_each_file_once(pairs):
    plain = dataset_of(pairs, augmentation=EVERYTHING)
    cached = dataset_of(pairs, augmentation=EVERYTHING, cache="memory")
    assert_equal_batches(batches(plain), batches(cached))
    for pair in pairs:
        pair.before.unlink()
    assert_equal_batches(batches(cached), batches(cached))


def test_writing_into_a_sample_does_not_reach_the_cache(pairs):
    dataset = dataset_of(pairs, crop_px=16, cache="memory")
    sample = dataset[SampleKey(0, 0)]
    expected = sample.before.clone()
    sample.before.zero_()
    assert torch.equal(dataset[SampleKey(0, 0)].before, expected)


def test_grey_images_give_one_channel(tmp_path):
    pair = write_pair(tmp_path, "grey")
    for path in (pair.before, pair.after):
        with Image.open(path) as image:
            grey = image.convert("L")
        grey.save(path)
    assert dataset_of([pair], channels=1)[SampleKey(0, 0)].before.shape == (1, 32, 32)


@pytest.mark.parametrize("part", ["after", "label"])
def test_a_file_of_another_size_is_named_with_both_sizes(tmp_path, part):
    good = write_pair(tmp_path, "good")
    bad = write_pair(tmp_path, "bad", **{f"{part}_size": (47, 40)})
    with pytest.raises(DataError, match=r"47x40.*48x40") as caught:
        read_pair(bad, encoding=scan_labels([good]).encoding)
    assert str(getattr(bad, part)) in str(caught.value)
    assert str(bad.before) in str(caught.value)


def test_bad_settings_are_refused_at_once(pairs):
    encoding = scan_labels(pairs).encoding
    with pytest.raises(DataError, match="no pairs"):
        PairDataset([], encoding=encoding, crop_px=32, seed=0)
    with pytest.raises(DataError, match="'03' has no label"):
        dataset_of([*pairs[:3], pairs[3]._replace(label=None)], encoding=encoding)
    with pytest.raises(DataError, match="has no label"):
        read_pair(pairs[0]._replace(label=None), encoding=encoding)
    with pytest.raises(ConfigError, match="crop_px"):
        dataset_of(pairs, crop_px=0)
    with pytest.raises(ConfigError, match="seed"):
        dataset_of(pairs, seed=-1)
    with pytest.raises(ConfigError, match=r"cache.*'disk'"):
        dataset_of(pairs, cache="disk")
    with pytest.raises(ConfigError, match=r"augmentation\.hue"):
        dataset_of(pairs, channels=1, augmentation=Augmentation(hue=0.1))


def corner_change(folder, *, seed=0):
    """A pair whose top left 20 of 96 pixels have changed along each side."""
    paths = write_pair(folder, f"corner{seed}", size=(96, 96), seed=seed)
    label = np.zeros((96, 96), np.uint8)
    label[:20, :20] = 255
    Image.fromarray(label).save(paths.label)
    return paths


def share_with_change(dataset, epochs=60):
    shown = [
        bool((dataset[SampleKey(epoch, 0)].label == 1).any()) for epoch in range(1, epochs + 1)
    ]
    return sum(shown) / epochs


def test_crops_are_balanced_towards_change(tmp_path):
    pairs = [corner_change(tmp_path)]
    plain = share_with_change(dataset_of(pairs))
    balanced = share_with_change(dataset_of(pairs, augmentation=Augmentation(changed_crops=1.0)))
    assert plain < 0.4
    assert balanced > plain + 0.3


def test_a_pair_without_change_is_not_searched_for_ever(tmp_path):
    pairs = [corner_change(tmp_path), write_pair(tmp_path, "none", size=(96, 96))]
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(pairs[1].label)
    dataset = dataset_of(pairs, augmentation=Augmentation(changed_crops=1.0))
    assert dataset[SampleKey(1, 1)].label.max() == 0


def test_a_paste_brings_both_dates_and_the_label_of_another_pair(tmp_path):
    pairs = [write_pair(tmp_path, f"{i}", size=(32, 32), seed=i) for i in range(2)]
    for number, pair in enumerate(pairs):
        Image.new("RGB", (32, 32), (number * 100,) * 3).save(pair.before)
        Image.new("RGB", (32, 32), (number * 100 + 50,) * 3).save(pair.after)
        Image.new("L", (32, 32), number * 255).save(pair.label)
    dataset = dataset_of(pairs, augmentation=Augmentation(paste=1.0))
    mixed = 0
    for epoch in range(1, 30):
        sample = dataset[SampleKey(epoch, 0)]
        assert torch.equal(sample.before[0] == 100, sample.label == 1)
        assert torch.equal(sample.after[0] == 150, sample.label == 1)
        mixed += int(0 < (sample.label == 1).sum() < 32 * 32)
    # Half of the donors are the pair itself.
    assert 5 < mixed < 25


def test_the_same_sample_is_pasted_again_when_a_run_is_resumed(tmp_path):
    pairs = [corner_change(tmp_path, seed=seed) for seed in range(3)]
    varied = Augmentation(paste=1.0, changed_crops=0.5, match_histograms=0.5)
    first, second = (dataset_of(pairs, augmentation=varied)[SampleKey(4, 1)] for _ in range(2))
    assert torch.equal(first.before, second.before)
    assert torch.equal(first.label, second.label)


def test_an_image_smaller_than_the_crop_keeps_its_ignored_margin_through_all(tmp_path):
    pairs = [write_pair(tmp_path, f"{seed}", size=(20, 28), seed=seed) for seed in range(2)]
    everything = Augmentation(sensor=1.0, brightness=0.4)
    sample = dataset_of(pairs, augmentation=everything)[SampleKey(1, 0)]
    assert torch.equal(sample.label, dataset_of(pairs)[SampleKey(1, 0)].label)
    assert (sample.label[28:] == 255).all()


def test_another_sensor_is_refused_for_wide_values(pairs):
    with pytest.raises(ConfigError, match=r"augmentation\.sensor: only 8-bit images"):
        dataset_of(pairs, pixel_type="uint16", augmentation=Augmentation(sensor=0.5))
