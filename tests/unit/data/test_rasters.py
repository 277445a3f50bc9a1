"""Scenes as data sets: what their blocks hold, and that nothing but windows is read."""

import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader

from changedet.data.index import index_pairs
from changedet.data.labels.scan import scan_labels
from changedet.data.statistics import measure_normalisation
from changedet.data.tools.check import check_pairs
from changedet.data.tools.prepare import prepare
from changedet.data.training.pairs import PairDataset, read_pair
from changedet.data.training.sampling import EpochSampler, SampleKey
from changedet.data.training.transforms import Augmentation
from changedet.errors import ConfigError, DataError
from changedet.raster.pair import RasterPair
from changedet.types import IGNORED, Normalisation


def set_scene(scene, **changes):
    """Rewrite the manifest's one scene, and settings beside it."""
    settings = changes.pop("settings", "split: {block_px: 64, gap_px: 4}")
    entry = {"name": "town", "before": "before.tif", "after": "after.tif", "labels": "labels.gpkg"}
    fields = ", ".join(f"{key}: {value}" for key, value in {**entry, **changes}.items())
    scene.manifest.write_text(f"scenes: [{{{fields}}}]\n{settings}\n")


def restore(scene, name, pixels, **options):
    """Write a raster of the scene anew."""
    import rasterio

    with rasterio.open(scene.folder / name) as file:
        profile = {**file.profile, **options}
    bands = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    profile |= {"count": len(bands), "dtype": pixels.dtype}
    with rasterio.open(scene.folder / name, "w", **profile) as file:
        file.write(bands)


def place_of(block):
    window = block.window
    return np.s_[window.top : window.bottom, window.left : window.right]


def test_blocks_hold_the_pixels_and_labels_of_their_place(write_scene):
    scene = write_scene()
    index = index_pairs(scene.folder)
    encoding = scan_labels(index.pairs).encoding

    assert index.layout == "scenes"
    assert list(index.splits) == ["train", "val", "test"]
    assert encoding.describe() == "inside a polygon = changed"
    for block in index.pairs:
        pair = read_pair(block, encoding=encoding)
        place = place_of(block)
        assert np.array_equal(pair.before, scene.before[place])
        assert np.array_equal(pair.after, scene.after[place])
        assert np.array_equal(pair.label, scene.truth[place])
        assert block.size() == pair.shape


def test_a_split_is_the_same_every_time_and_follows_the_seed(write_scene):
    scene = write_scene(shape=(320, 320))

    def splits():
        return {
            split: [block.name for block in blocks]
            for split, blocks in index_pairs(scene.manifest).splits.items()
        }

    first = splits()
    assert splits() == first
    set_scene(scene, settings="split: {block_px: 64, gap_px: 4, seed: 1}")
    assert splits() != first


def test_other_splits_keep_their_distance_from_training_pixels(write_scene):
    scene = write_scene(split="{block_px: 64, gap_px: 6}")
    split_of = np.zeros(scene.truth.shape, dtype=int)
    for number, blocks in enumerate(index_pairs(scene.folder).splits.values(), start=1):
        for block in blocks:
            assert not split_of[place_of(block)].any()
            split_of[place_of(block)] = number

    train = np.argwhere(split_of == 1)
    others = np.argwhere(split_of > 1)
    nearest = min(np.abs(train - other).max(axis=1).min() for other in others[::37])
    assert nearest > 6
    assert {1, 2, 3} <= set(np.unique(split_of))


def test_every_split_has_change_and_the_shares_are_said(write_scene):
    scene = write_scene()
    index = index_pairs(scene.folder)
    scan = scan_labels(index.pairs)

    assert all(scan.share_of(blocks) > 0 for blocks in index.splits.values())
    assert "blocks of up to 64 px: train" in index.notes[-1]
    assert "inset by 4 px" in index.notes[-1]


def test_the_scan_counts_what_the_blocks_decode_to(write_scene):
    scene = write_scene(labels="label.tif")
    index = index_pairs(scene.folder)
    scan = scan_labels(index.pairs)

    assert scan.encoding.changed == (255,)
    for block in index.pairs:
        label = read_pair(block, encoding=scan.encoding).label
        assert np.array_equal(label, scene.truth[place_of(block)])
        assert scan.counts[block].changed == (label == 1).sum()
        assert scan.counts[block].unchanged == (label == 0).sum()
        assert scan.counts[block].ignored == (label == IGNORED).sum()


def test_pixels_without_image_or_outside_of_the_labelled_area_are_ignored(write_scene):
    import shapely

    scene = write_scene()
    after = scene.after.copy()
    after[:50, :90] = 0
    restore(scene, "after.tif", after, nodata=0)
    area = shapely.box(5e5, 5e6 - 0.5 * 200, 5e5 + 0.5 * 300, 5e6)
    (scene.folder / "area.geojson").write_text(
        '{"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": '
        '"urn:ogc:def:crs:EPSG::32631"}}, "features": [{"type": "Feature", "properties": {}, '
        f'"geometry": {shapely.to_geojson(area)}}}]}}'
    )
    set_scene(scene, area="area.geojson")
    index = index_pairs(scene.folder)
    scan = scan_labels(index.pairs)

    expected = scene.truth.copy()
    expected[200:] = IGNORED
    expected[:, 300:] = IGNORED
    expected[(after == 0).any(axis=2)] = IGNORED
    for block in index.pairs:
        assert np.array_equal(
            read_pair(block, encoding=scan.encoding).label, expected[place_of(block)]
        )
    counted = sum(count.changed + count.unchanged for count in scan.counts.values())
    assert counted == sum((expected[place_of(block)] != IGNORED).sum() for block in index.pairs)
    # The first block, rows 0 to 63 and columns 0 to 63, keeps its labelled part.
    assert any(block.window.top < 50 and block.window.left < 90 for block in index.pairs)


def test_blocks_without_an_image_are_left_out(write_scene):
    scene = write_scene()
    after = scene.after.copy()
    after[:, :192] = 0
    restore(scene, "after.tif", after, nodata=0)
    index = index_pairs(scene.folder)

    assert "12 of 20 blocks have no labelled pixel" in " ".join(index.notes)
    assert min(block.window.left for block in index.pairs) >= 192


def test_statistics_are_those_of_the_valid_training_pixels(write_scene):
    scene = write_scene(bands=4, dtype="uint16")
    after = scene.after.copy()
    after[30:90, 100:200] = 0
    restore(scene, "after.tif", after, nodata=0)
    index = index_pairs(scene.folder, channels=4)
    train = index.split("train")

    found = measure_normalisation(train, channels=4)

    used = np.zeros(scene.truth.shape, bool)
    for block in train:
        used[place_of(block)] = True
    used &= (after != 0).all(axis=2)
    assert index.pixel_type == "uint16"
    for date, pixels in (("before", scene.before), ("after", after)):
        values = pixels[used].astype(np.float64)
        np.testing.assert_allclose(getattr(found, f"mean_{date}"), values.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(getattr(found, f"std_{date}"), values.std(axis=0), rtol=1e-10)


VARIED = Augmentation(
    horizontal_flip=0.5,
    quarter_turns=0.5,
    scale=(0.8, 1.3),
    brightness=0.2,
    contrast=0.2,
    shift_px=1,
)


def dataset_of(index, **options):
    encoding = options.pop("encoding", None) or scan_labels(index.pairs).encoding
    settings = {"crop_px": 32, "seed": 3, "channels": 4, "pixel_type": index.pixel_type}
    settings["encoding"] = encoding
    return PairDataset(index.split("train"), **{**settings, **options})


def test_training_reads_windows_alone_and_takes_as_many_crops_as_fit(write_scene, monkeypatch):
    index = index_pairs(write_scene(bands=4).folder, channels=4)
    dataset = dataset_of(index, augmentation=VARIED)
    read = []
    whole = RasterPair.read
    monkeypatch.setattr(
        RasterPair, "read", lambda self, window: read.append(window) or whole(self, window)
    )

    samples = [dataset[key] for key in EpochSampler(len(dataset), seed=0)]

    area = sum(block.window.height * block.window.width for block in index.split("train"))
    assert len(dataset) == pytest.approx(area / 32**2, rel=0.02)
    assert len(read) == len(dataset)
    assert max(max(window.shape) for window in read) <= 32 / 0.8
    assert {int(sample.index) for sample in samples} == set(range(len(index.split("train"))))
    assert all(sample.before.shape == (4, 32, 32) for sample in samples)
    for window in read:
        assert any(window.intersect(block.window) == window for block in index.split("train"))


def write_area(scene, *, bottom, right):
    """Say that the labels are complete in the first rows and columns only."""
    import shapely

    area = shapely.box(5e5, 5e6 - 0.5 * bottom, 5e5 + 0.5 * right, 5e6)
    (scene.folder / "area.geojson").write_text(
        '{"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": '
        '"urn:ogc:def:crs:EPSG::32631"}}, "features": [{"type": "Feature", "properties": {}, '
        f'"geometry": {shapely.to_geojson(area)}}}]}}'
    )
    set_scene(scene, area="area.geojson", split="train", settings="split: {block_px: 256}")


def epoch_of(dataset, epoch=0):
    sampler = EpochSampler(len(dataset), seed=0)
    sampler.set_epoch(epoch)
    return list(DataLoader(dataset, batch_size=None, sampler=sampler))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_training_shows_the_mean_where_there_is_no_image(write_scene, dtype):
    scene = write_scene(dtype=dtype)
    after = scene.after.copy()
    after[::3, ::5] = 0
    restore(scene, "after.tif", after, nodata=0)
    index = index_pairs(scene.folder)
    stats = Normalisation(
        (101.2, 102.2, 103.8), (111.2, 112.2, 113.8), (9.0,) * 3, (9.0,) * 3, bands="bgr"
    )

    dataset = dataset_of(index, channels=3, fill=stats)
    seen = 0
    for sample in epoch_of(dataset):
        # Nothing else is ignored in this scene.
        gap = (sample.label == IGNORED).numpy()
        seen += gap.sum()
        for image, mean in ((sample.before, stats.mean_before), (sample.after, stats.mean_after)):
            expected = np.array(mean[::-1])
            if dtype == "uint8":
                expected = expected.round()
            assert (image.numpy()[:, gap] == expected.astype(dtype)[:, None]).all()
    assert seen > 0
    # Without statistics a gap holds zeros.
    unfilled = dataset_of(index, channels=3)[SampleKey(0, 0)]
    assert not unfilled.after.numpy()[:, (unfilled.label == IGNORED).numpy()].any()


def test_crops_are_counted_by_labelled_pixels_and_each_holds_some(write_scene, monkeypatch):
    scene = write_scene()
    write_area(scene, bottom=256, right=72)
    index = index_pairs(scene.folder)
    dataset = dataset_of(index, channels=3)
    read = []
    whole = RasterPair.read
    monkeypatch.setattr(
        RasterPair, "read", lambda self, window: read.append(window) or whole(self, window)
    )

    samples = [sample for epoch in range(3) for sample in epoch_of(dataset, epoch)]

    assert len(dataset) == round(256 * 72 / 32**2)
    assert all((sample.label != IGNORED).any() for sample in samples)
    # Windows that are rejected by their label cost no image.
    assert len(read) == len(samples)


def test_crops_without_an_image_are_drawn_again(write_scene):
    scene = write_scene()
    after = scene.after.copy()
    after[:, 90:] = 0
    restore(scene, "after.tif", after, nodata=0)
    set_scene(scene, split="train", settings="split: {block_px: 256}")
    dataset = dataset_of(index_pairs(scene.folder), channels=3)

    assert len(dataset) == round(256 * 90 / 32**2)
    assert all((sample.label != IGNORED).any() for sample in epoch_of(dataset))


def test_crops_of_an_ignored_value_alone_are_drawn_again(write_scene):
    scene = write_scene(labels="label.tif")
    label = scene.truth * np.uint8(255)
    label[128:] = 7
    restore(scene, "label.tif", label)
    set_scene(scene, labels="label.tif", split="train", settings="split: {block_px: 256}")
    index = index_pairs(scene.folder)
    dataset = dataset_of(
        index, channels=3, encoding=scan_labels(index.pairs, ignore_value=7).encoding
    )
    assert len(dataset) == 2 * round(128 * 160 / 32**2)
    assert all((sample.label != IGNORED).any() for sample in epoch_of(dataset))


def test_a_crop_is_drawn_a_few_times_and_then_taken_as_it_is(write_scene, monkeypatch):
    scene = write_scene()
    write_area(scene, bottom=1, right=1)
    index = index_pairs(scene.folder)
    dataset = dataset_of(index, channels=3, crop_px=16)
    read = []
    whole = RasterPair.read
    monkeypatch.setattr(
        RasterPair, "read", lambda self, window: read.append(window) or whole(self, window)
    )
    sample = dataset[SampleKey(0, 0)]

    assert len(dataset) == 1
    assert len(read) == 1
    assert (sample.label == IGNORED).all()
    assert sample.before.float().std() > 0


def test_samples_of_partly_labelled_scenes_do_not_depend_on_workers(write_scene):
    scene = write_scene()
    write_area(scene, bottom=200, right=70)
    dataset = dataset_of(index_pairs(scene.folder), channels=3, augmentation=VARIED)

    def epoch(workers):
        sampler = EpochSampler(len(dataset), seed=0)
        return list(DataLoader(dataset, batch_size=4, sampler=sampler, num_workers=workers))

    for alone, helped in zip(epoch(0), epoch(2), strict=True):
        assert all(one.equal(other) for one, other in zip(alone, helped, strict=True))


def test_samples_of_scenes_do_not_depend_on_workers(write_scene):
    index = index_pairs(write_scene(bands=4, dtype="uint16").folder, channels=4)
    dataset = dataset_of(index, augmentation=VARIED)

    def epoch(workers):
        sampler = EpochSampler(len(dataset), seed=0)
        return list(DataLoader(dataset, batch_size=16, sampler=sampler, num_workers=workers))

    for alone, helped in zip(epoch(0), epoch(2), strict=True):
        for one, other in zip(alone, helped, strict=True):
            assert one.equal(other)
    assert epoch(0)[0].before.dtype.is_floating_point


def test_a_block_travels_to_another_process_without_open_files(write_scene):
    index = index_pairs(write_scene().folder)
    encoding = scan_labels(index.pairs).encoding
    block = index.split("val")[0]
    first = read_pair(block, encoding=encoding)

    sent = pickle.dumps(block)
    again = read_pair(pickle.loads(sent), encoding=encoding)

    # Places, and what was found out about the pixels of both dates; no pixels, no files.
    assert len(sent) < 20_000
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def test_a_scene_can_go_to_one_split_as_a_whole(write_scene):
    scene = write_scene()
    set_scene(scene, split="test")
    index = index_pairs(scene.folder)

    assert list(index.splits) == ["test"]
    assert sum(b.window.height * b.window.width for b in index.pairs) == scene.truth.size


def test_scenes_of_the_same_ground_are_warned_of(write_scene):
    scene = write_scene()
    entry = "before: before.tif, after: after.tif, labels: labels.gpkg"
    text = (
        f"scenes: [{{name: a, {entry}}}, {{name: b, {entry}}}]\nsplit: {{block_px: 64, gap_px: 4}}"
    )
    scene.manifest.write_text(text)
    assert "a and b overlap on the ground" in " ".join(index_pairs(scene.folder).notes)

    scene.manifest.write_text(text.replace("gpkg}", "gpkg, split: train}"))
    assert "overlap" not in " ".join(index_pairs(scene.folder).notes)


def test_bands_are_chosen_in_the_manifest(write_scene):
    scene = write_scene(bands=5)
    set_scene(scene, settings="bands: [5, 1, 2]\nsplit: {block_px: 64, gap_px: 4}")
    index = index_pairs(scene.folder)
    block = index.split("train")[0]

    pair = read_pair(block, encoding=scan_labels(index.pairs).encoding)

    assert np.array_equal(pair.before, scene.before[place_of(block)][..., [4, 0, 1]])
    with pytest.raises(ConfigError, match="read with 3 bands, but 4 are requested"):
        read_pair(block, encoding=scan_labels(index.pairs).encoding, channels=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"before": "no.tif"}, r"scene 'town': .*no\.tif.*no such file"),
        ({"labels": "no.gpkg"}, r"scene 'town': .*no\.gpkg"),
        ({"area": "before.tif"}, r"before\.tif: expected a polygon file"),
        ({"settings": "bands: [1, 2, 9]"}, "there is no band 9.*in the manifest"),
        ({"settings": "bands: [1, 2]"}, "2 bands, but the model takes 3.*model.in_channels"),
        ({"settings": "split: {block_px: 320}"}, "1 block.*too few to split"),
    ],
)
def test_faults_of_a_scene_are_told_in_one_line(write_scene, changes, message):
    scene = write_scene(shape=(96, 96))
    set_scene(scene, **changes)
    with pytest.raises((DataError, ConfigError), match=message) as caught:
        index_pairs(scene.folder)
    assert "\n" not in str(caught.value)


def test_blocks_that_the_inset_leaves_nothing_of_are_told_with_the_gap(write_scene):
    scene = write_scene(shape=(96, 96))
    # Blocks of 48 px, of which nothing is left.
    set_scene(scene, settings="split: {block_px: 90, gap_px: 24}")
    with pytest.raises(DataError, match=r"only 0 of 4 blocks are left after the inset of 24 px"):
        index_pairs(scene.folder)
    set_scene(scene, settings="split: {block_px: 90, gap_px: 24, shares: {train: 1}}")
    assert list(index_pairs(scene.folder).splits) == ["train"]


def test_a_scene_whose_dates_hold_values_of_two_kinds_is_refused(write_scene):
    scene = write_scene()
    restore(scene, "after.tif", scene.after.astype(np.uint16))
    with pytest.raises(DataError, match=r"before\.tif has uint8 and .*after\.tif uint16"):
        index_pairs(scene.folder)


def test_a_label_of_too_many_or_of_wild_values_is_refused(write_scene):
    scene = write_scene(labels="label.tif")
    many = np.arange(scene.truth.size, dtype=np.int32).reshape(scene.truth.shape)
    restore(scene, "label.tif", many % 5000)
    with pytest.raises(DataError, match="different values are too many"):
        index_pairs(scene.folder)
    restore(scene, "label.tif", scene.truth.astype(np.int16) * -3)
    with pytest.raises(DataError, match=r"from -3 to 0 are outside 0\.\.65535"):
        index_pairs(scene.folder)


def test_scenes_that_show_nothing_are_refused(write_scene):
    scene = write_scene()
    restore(scene, "after.tif", np.zeros_like(scene.after), nodata=0)
    with pytest.raises(DataError, match="no pixel has both an image and a label"):
        index_pairs(scene.folder)


def test_a_check_reports_scenes_and_all_their_faults(write_scene):
    scene = write_scene()
    report = check_pairs(scene.folder)

    assert report.passed
    assert report.encoding == "inside a polygon = changed"
    assert report.splits["train"].changed_share > 0
    assert report.dates["before"].mean == pytest.approx((89.5,) * 3, abs=1)
    assert sum(report.sizes.values()) == 20

    entry = "{name: %s, before: %s.tif, after: after.tif, labels: labels.gpkg}"
    scenes = ", ".join(entry % names for names in (("a", "x"), ("b", "before"), ("c", "y")))
    scene.manifest.write_text(f"scenes: [{scenes}]")
    broken = check_pairs(scene.folder)
    assert not broken.passed
    assert len(broken.errors) == 2
    assert "'c'" in broken.errors[1]


def test_scenes_are_not_prepared_and_are_no_benchmark(write_scene, tmp_path):
    scene = write_scene()
    with pytest.raises(DataError, match="scenes, which need no preparation"):
        prepare(scene.folder, tmp_path.parent / "elsewhere")
    with pytest.raises(ConfigError, match=r"benchmark \(CDD\) cannot be combined with a raster"):
        index_pairs(scene.folder, benchmark="CDD")


def test_polygons_hold_no_values_to_declare(write_scene):
    index = index_pairs(write_scene().folder)
    with pytest.raises(DataError, match="polygons, which have no values"):
        scan_labels(index.pairs, ignore_value=255)


def test_polygons_and_label_rasters_may_be_mixed(write_scene):
    scene = write_scene()
    restore(scene, "before.tif", scene.before)
    import shutil

    for name in ("before", "after"):
        shutil.copy(scene.folder / f"{name}.tif", scene.folder / f"{name}2.tif")
    shutil.copy(scene.folder / "before.tif", scene.folder / "label2.tif")
    inverted = (1 - scene.truth) * np.uint8(255)
    restore(scene, "label2.tif", inverted, photometric="minisblack")
    scene.manifest.write_text(
        "scenes:\n"
        "  - {before: before.tif, after: after.tif, labels: labels.gpkg}\n"
        "  - {before: before2.tif, after: after2.tif, labels: label2.tif}\n"
        "split: {block_px: 64, gap_px: 4}\n"
    )
    index = index_pairs(scene.folder)
    encoding = scan_labels(index.pairs, changed_values=(0,)).encoding

    assert {block.scene.kind for block in index.pairs} == {"polygons", "raster"}
    for block in index.pairs:
        label = read_pair(block, encoding=encoding).label
        assert np.array_equal(label, scene.truth[place_of(block)])


def test_rasters_without_georeference_take_a_label_raster_of_their_size(write_scene):
    from PIL import Image

    scene = write_scene()
    for name, pixels in (("before", scene.before), ("after", scene.after), ("label", scene.truth)):
        Image.fromarray(pixels * np.uint8(255 if name == "label" else 1)).save(
            scene.folder / f"{name}.png"
        )
    set_scene(scene, before="before.png", after="after.png", labels="label.png")
    index = index_pairs(scene.folder)
    encoding = scan_labels(index.pairs).encoding

    assert any("pixel by pixel" in note for note in index.notes)
    for block in index.pairs:
        pair = read_pair(block, encoding=encoding)
        assert np.array_equal(pair.before, scene.before[place_of(block)])
        assert np.array_equal(pair.label, scene.truth[place_of(block)])


def test_a_raster_that_is_cut_short_is_named(write_scene):
    scene = write_scene()
    path = scene.folder / "after.tif"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"scene 'town': .*after\.tif") as caught:
        index_pairs(scene.folder)
    assert "\n" not in str(caught.value)


def test_scenes_whose_values_are_of_two_kinds_are_refused(write_scene):
    scene = write_scene()
    for name in ("before", "after"):
        (scene.folder / f"{name}2.tif").write_bytes((scene.folder / f"{name}.tif").read_bytes())
        restore(scene, f"{name}2.tif", scene.before.astype(np.uint16))
    scene.manifest.write_text(
        "scenes:\n"
        "  - {before: before.tif, after: after.tif, labels: labels.gpkg}\n"
        "  - {before: before2.tif, after: after2.tif, labels: labels.gpkg}\n"
    )
    with pytest.raises(DataError, match="scene 'before2': its values are uint16, those of before"):
        index_pairs(scene.folder)


def test_the_second_date_may_number_its_bands_otherwise(write_scene):
    scene = write_scene()
    restore(scene, "after.tif", scene.after[..., ::-1])
    set_scene(
        scene,
        settings="bands: [1, 2, 3]\nbands_after: [3, 2, 1]\nsplit: {block_px: 64, gap_px: 4}",
    )
    index = index_pairs(scene.folder)
    block = index.split("train")[0]
    pair = read_pair(block, encoding=scan_labels(index.pairs).encoding)
    assert np.array_equal(pair.after, scene.after[place_of(block)])
