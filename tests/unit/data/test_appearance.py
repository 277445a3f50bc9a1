"""How training images look, and how far others are from that."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from scipy.ndimage import gaussian_filter

from changedet.data.appearance import (
    FAR,
    compare,
    describe_appearance,
    distance_of,
    distances_from,
    features_of_images,
    read_features,
)
from changedet.data.domain import measure_sets
from changedet.data.index import index_pairs
from changedet.data.labelled import BothDates
from changedet.data.window_features import (
    features_of,
    grid_windows,
    side_px,
    window_features,
    zoomed,
)
from changedet.domain import Appearance, Domain, ValueRange

UNITS = (ValueRange(20.0, 100.0, 230.0),) * 3


def both_dates(seed, *, side=64, blur=1.0, contrast=30.0, level=100.0, channels=3, differ=8.0):
    """Blurred noise at two dates that differ a little: as a sensor might show some ground."""
    rng = np.random.default_rng(seed)

    def smooth(strength):
        noise = gaussian_filter(rng.normal(size=(side, side, channels)), (blur, blur, 0))
        return noise / noise.std() * strength

    ground = smooth(contrast) * rng.uniform(0.8, 1.2) + level + rng.normal(0, 5)
    dates = (ground + smooth(differ) for _ in range(2))
    return BothDates(*(np.clip(date, 0, 255).astype(np.uint8) for date in dates))


def look(seeds, **options):
    return [features_of([both_dates(seed, **options)], UNITS) for seed in seeds]


HOME = describe_appearance("home", bands=3, pairs=look(range(60)), held_out=look(range(60, 100)))
OTHER = describe_appearance(
    "other",
    bands=3,
    pairs=look(range(60), blur=3.0, level=140.0),
    held_out=look(range(60, 100), blur=3.0, level=140.0),
)


def test_windows_of_the_same_kind_are_within_the_usual_distance():
    assert HOME is not None
    assert (HOME.windows, HOME.held_out, HOME.bands) == (60, 40, 3)
    distances = distances_from(HOME, np.concatenate(look(range(200, 300))))
    assert np.mean(distances <= HOME.usual) > 0.85
    assert np.median(distances) == pytest.approx(HOME.middle, rel=0.2)


@pytest.mark.parametrize(
    "strange",
    [
        {"blur": 3.0},
        {"blur": 0.3},
        {"contrast": 8.0},
        {"level": 180.0},
        {"differ": 60.0},
        {"differ": 0.0},
    ],
)
def test_another_sharpness_contrast_brightness_or_difference_of_dates_is_beyond_it(strange):
    found = [compare(features, [HOME]) for features in look(range(200, 210), **strange)]
    assert all(one.verdict != "within" for one in found)


def test_swapped_bands_are_told_where_bands_differ():
    def coloured(seed):
        pair = both_dates(seed)
        shades = np.array([0.6, 0.8, 1.0])
        return BothDates(*((date * shades).astype(np.uint8) for date in pair[:2]))

    pairs = [features_of([coloured(seed)], UNITS) for seed in range(60)]
    home = describe_appearance("home", bands=3, pairs=pairs[:40], held_out=pairs[40:])
    same = coloured(200)
    swapped = BothDates(same.before[..., ::-1], same.after[..., ::-1])
    assert compare(features_of([same], UNITS), [home]).verdict == "within"
    assert compare(features_of([swapped], UNITS), [home]).verdict != "within"


def test_the_order_of_the_dates_does_not_matter():
    pair = both_dates(3)
    turned = BothDates(pair.after, pair.before)
    assert window_features(pair, UNITS) == pytest.approx(window_features(turned, UNITS))


def test_the_nearest_set_is_named_with_all_ratios():
    found = compare(np.concatenate(look(range(200, 216), blur=3.0, level=140.0)), [HOME, OTHER])
    assert (found.nearest, found.verdict, found.windows) == ("other", "within", 16)
    assert found.usual == OTHER.usual
    assert found.ratios["other"] == pytest.approx(found.distance / found.usual, abs=1e-3)
    assert found.ratios["home"] > 1.0 > found.ratios["other"]


def test_far_is_half_as_far_again_as_usual():
    features = np.concatenate(look(range(200, 216)))
    middle = float(np.median(distances_from(HOME, features)))

    def verdict(usual):
        return compare(features, [dataclasses.replace(HOME, usual=usual, middle=0.1)]).verdict

    assert verdict(middle * 1.01) == "within"
    assert verdict(middle * 0.99) == "beyond"
    assert verdict(middle / FAR * 1.01) == "beyond"
    assert verdict(middle / FAR * 0.99) == "far"


def test_without_held_out_pairs_training_pairs_are_held_out_in_turn():
    alone = describe_appearance("home", bands=3, pairs=look(range(60)), held_out=[])
    assert (alone.windows, alone.held_out) == (60, 60)
    assert alone.mean == HOME.mean
    assert alone.usual == pytest.approx(HOME.usual, rel=0.35)
    # What is held out is not what it is compared to.
    own = distances_from(alone, np.concatenate(look(range(60))))
    assert alone.middle > np.median(own)


@pytest.mark.parametrize("pairs", [0, 1, 15])
def test_few_windows_describe_no_set(pairs):
    assert describe_appearance("few", bands=3, pairs=look(range(pairs)), held_out=[]) is None


def test_pictures_that_are_all_the_same_describe_no_set():
    same = look([1] * 40)
    assert describe_appearance("same", bands=3, pairs=same[:20], held_out=same[20:]) is None


def test_small_windows_and_those_with_little_of_an_image_do_not_count():
    pair = both_dates(1)
    assert window_features(both_dates(1, side=31), UNITS) is None
    some = np.zeros((64, 64), np.bool_)
    some[:20] = True
    assert window_features(pair._replace(valid=some), UNITS) is None
    assert features_of([pair._replace(valid=some)], UNITS).shape == (0, 0)


def test_what_holds_no_image_does_not_matter():
    pair = both_dates(1)
    valid = np.ones((64, 64), np.bool_)
    valid[:16] = False
    dark = BothDates(pair.before.copy(), pair.after.copy(), valid)
    dark.before[:16] = dark.after[:16] = 0
    bright = BothDates(pair.before.copy(), pair.after.copy(), valid)
    bright.before[:16] = bright.after[:16] = 255
    assert window_features(dark, UNITS) == pytest.approx(window_features(bright, UNITS))
    assert compare(features_of([dark], UNITS), [HOME]).verdict == "within"


@pytest.mark.parametrize("value", [0, 255])
def test_an_empty_image_has_figures_but_looks_like_nothing(value):
    empty = np.full((64, 64, 3), value, np.uint8)
    features = features_of([BothDates(empty, empty)], UNITS)
    assert np.isfinite(features).all()
    assert compare(features, [HOME]).verdict == "far"


def test_values_beyond_all_measure_are_far_and_such_as_are_no_numbers_do_not_count():
    wide = np.full((64, 64, 3), 3e38, np.float32)
    wide[::2] *= -1
    assert compare(features_of([BothDates(wide, wide)], UNITS), [HOME]).verdict == "far"
    wide[5, 5] = np.nan
    assert window_features(BothDates(wide, wide), UNITS) is None


@pytest.mark.parametrize(("channels", "features"), [(1, 12), (3, 18), (9, 30), (40, 44)])
def test_any_number_of_bands_has_a_bounded_number_of_figures(channels, features):
    units = (ValueRange(20.0, 100.0, 230.0),) * channels
    found = features_of([both_dates(1, channels=channels)], units)
    assert found.shape == (1, features)


def test_units_do_not_matter_if_those_of_the_training_are_the_same():
    pair = both_dates(1)
    wide = BothDates(*(date.astype(np.float32) * 40 - 300 for date in pair[:2]))
    units = tuple(
        ValueRange(one.low * 40 - 300, one.middle * 40 - 300, one.high * 40 - 300) for one in UNITS
    )
    assert window_features(wide, units) == pytest.approx(window_features(pair, UNITS), abs=1e-3)


def test_images_of_other_bands_are_not_compared():
    four = features_of([both_dates(1, channels=4)], (UNITS[0],) * 4)
    assert compare(four, [HOME]) is None
    assert compare(features_of([], UNITS), [HOME]) is None
    domain = Domain(values=UNITS, sets=(HOME,))
    assert features_of_images(both_dates(1, channels=4), domain) is None
    assert features_of_images(both_dates(1), Domain(values=UNITS)) is None
    assert features_of_images(both_dates(1), None) is None
    assert distance_of([None, None], domain) is None


def test_windows_lie_from_edge_to_edge_without_much_overlap():
    assert [tuple(one) for one in grid_windows((64, 64), side_px=256, along_axis=2)] == [
        (0, 0, 64, 64)
    ]
    assert [tuple(one) for one in grid_windows((300, 512), side_px=256, along_axis=2)] == [
        (22, 0, 256, 256),
        (22, 256, 256, 256),
    ]
    assert len(grid_windows((1024, 1024), side_px=256, along_axis=2)) == 4
    assert len(grid_windows((1024, 1024), side_px=256, along_axis=9)) == 16


def test_a_model_that_resamples_sees_larger_windows_smaller():
    assert side_px(0.5) == 512
    # What is stored at half the length of a pixel looks alike once it is shrunk.
    fine = both_dates(1, side=128, blur=2.0)
    shown = zoomed(fine, 0.5)
    assert shown.before.shape == (64, 64, 3)
    assert compare(features_of([fine], UNITS), [HOME]).verdict != "within"
    assert compare(features_of([fine], UNITS, zoom=0.5), [HOME]).ratios["home"] < 1.3
    part = zoomed(fine._replace(valid=np.arange(128)[:, None] < np.full(128, 64)), 0.5)
    assert part.valid.mean() == pytest.approx(0.5, abs=0.02)


def write_pairs(root: Path, seeds, **options) -> Path:
    for seed in seeds:
        pair = both_dates(seed, **options)
        mask = np.zeros(pair.before.shape[:2], np.uint8)
        mask[:4] = 255
        for folder, pixels in (("A", pair.before), ("B", pair.after), ("label", mask)):
            path = root / folder / f"{seed:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


def test_pairs_of_files_are_described_as_arrays_are(tmp_path: Path):
    write_pairs(tmp_path / "train", [5])
    (pair,) = index_pairs(tmp_path).split("train")
    assert read_features(pair, UNITS) == pytest.approx(look([5])[0])


def test_rasters_are_described_where_they_hold_an_image(tmp_path: Path):
    pair = both_dates(5)
    stored = [date.copy() for date in pair[:2]]
    for date in stored:
        date[:10] = 0
    mask = np.zeros((64, 64, 1), np.uint8)
    mask[30:40] = 255
    for folder, pixels in (("A", stored[0]), ("B", stored[1]), ("label", mask)):
        path = tmp_path / "train" / folder / "one.tif"
        path.parent.mkdir(parents=True)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=64,
            height=64,
            count=pixels.shape[2],
            dtype="uint8",
            nodata=None if folder == "label" else 0,
            crs="EPSG:32633",
            transform=Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 5_400_000.0),
        ) as raster:
            raster.write(pixels.transpose(2, 0, 1))
    (found,) = index_pairs(tmp_path).split("train")
    valid = (stored[0] > 0).all(axis=2) & (stored[1] > 0).all(axis=2)
    expected = features_of([BothDates(*stored, valid)], UNITS)
    assert read_features(found, UNITS) == pytest.approx(expected)


def test_an_appearance_has_plain_finite_numbers():
    assert isinstance(HOME, Appearance)
    assert all(type(number) is float for number in (*HOME.mean, *HOME.whitening, HOME.usual))


def test_each_set_of_a_mixture_is_described_as_the_network_sees_it(tmp_path: Path):
    fine, coarse = tmp_path / "fine", tmp_path / "coarse"
    for root, side, blur in ((fine, 128, 2.0), (coarse, 64, 1.0)):
        write_pairs(root / "train", range(20), side=side, blur=blur)
        write_pairs(root / "val", range(20, 29), side=side, blur=blur)
    (tmp_path / "mixture.yaml").write_text(
        "sets:\n"
        "  fine: {data: fine, kind: any, gsd_m: 0.5}\n"
        "  coarse: {data: coarse, kind: building, gsd_m: 1.0}\n"
    )
    index = index_pairs(tmp_path / "mixture.yaml")
    train, val = index.split("train"), index.split("val")

    def measured(working_gsd_m):
        sets = measure_sets("all", train, val, units=UNITS, working_gsd_m=working_gsd_m)
        assert [(one.name, one.windows, one.held_out) for one in sets] == [
            ("fine", 20, 9),
            ("coarse", 20, 9),
        ]
        return {one.name: np.array(one.mean) for one in sets}

    apart, alike = measured(None), measured((1.0, 2.0))
    assert np.array_equal(apart["coarse"], alike["coarse"])
    # Once the finer images are shrunk, both look much the same.
    gap = np.abs(alike["fine"] - alike["coarse"]).max()
    assert gap < 0.3 < np.abs(apart["fine"] - apart["coarse"]).max()


def test_without_a_range_of_values_nothing_is_measured(tmp_path: Path):
    write_pairs(tmp_path / "train", [5])
    assert measure_sets("few", index_pairs(tmp_path).split("train"), [], units=None) == ()
    assert measure_sets("few", index_pairs(tmp_path).split("train"), [], units=UNITS) == ()
