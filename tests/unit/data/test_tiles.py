"""Pairs whose images are rasters: GeoTIFF tiles with any bands, gaps and a place."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.enums import ColorInterp

from changedet.data.index import BandChoice, index_pairs
from changedet.data.labelled import read_pair
from changedet.data.labels.scan import scan_labels
from changedet.data.statistics import measure_normalisation
from changedet.data.tools.check import check_pairs
from changedet.data.tools.prepare import prepare
from changedet.data.training.pairs import PairDataset
from changedet.data.training.sampling import SampleKey
from changedet.errors import ConfigError, DataError
from changedet.types import IGNORED, Normalisation
from conftest import write_raster

SIDE = 16
PLACE = Affine(10.0, 0.0, 200_000.0, 0.0, -10.0, 2_700_000.0)


def pixels(bands=4, dtype="uint8", *, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 200, (SIDE, SIDE, bands)).astype(dtype)


def tile(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"tiled": False, "blockxsize": SIDE, "blockysize": 1, "transform": PLACE, **options}
    write_raster(path, values, **options)


@pytest.fixture
def tiles(tmp_path):
    """Make a function that writes split folders of one tile each: before, after and label."""

    def write(*, bands=4, dtype="uint8", splits=("train", "val"), label="uint8", **options):
        for number, split in enumerate(splits):
            folder = tmp_path / "data" / split
            tile(folder / "A/1.tif", pixels(bands, dtype, seed=number), **options)
            tile(folder / "B/1.tif", pixels(bands, dtype, seed=number + 9), **options)
            truth = np.zeros((SIDE, SIDE), label)
            truth[:4] = 1
            tile(folder / "label/1.tif", truth)
        return tmp_path / "data"

    return write


def opened(folder, split="train", *, fill=None, **options):
    index = index_pairs(folder, channels=None, **options)
    encoding = scan_labels(index.pairs).encoding
    [pair] = index.split(split)
    return read_pair(pair, encoding=encoding, channels=index.channels, fill=fill)


def test_all_bands_are_read_as_they_are_stored(tiles):
    folder = tiles(bands=9)
    index = index_pairs(folder, channels=None)

    assert (index.channels, index.bands, index.pixel_type) == (9, tuple(range(1, 10)), "uint8")
    assert np.array_equal(opened(folder).before, pixels(9))


def test_chosen_bands_come_in_their_order_and_may_differ_by_date(tiles):
    choice = BandChoice((3, 2, 1), (4, 3, 2))

    pair = opened(tiles(), bands=choice)

    assert np.array_equal(pair.before, pixels()[..., [2, 1, 0]])
    assert np.array_equal(pair.after, pixels(seed=9)[..., [3, 2, 1]])


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("uint16", "uint16"), ("int16", "float32"), ("float32", "float32"), ("uint32", "float32")],
)
def test_values_of_any_type_are_read_and_their_kind_is_known(tiles, dtype, kind):
    folder = tiles(dtype=dtype)
    index = index_pairs(folder, channels=None)

    assert index.pixel_type == kind
    assert np.array_equal(opened(folder).before, pixels(dtype=dtype))
    stats = measure_normalisation(index.split("train"), channels=4)
    assert stats.mean_before == pytest.approx(pixels().reshape(-1, 4).mean(axis=0))
    assert stats.std_after == pytest.approx(pixels(seed=9).reshape(-1, 4).std(axis=0))


def test_two_bands_of_radar_in_decibels_keep_their_sign(tiles, tmp_path):
    folder = tiles(bands=2, dtype="float32")
    decibels = -pixels(2, "float32") / 10
    tile(folder / "train/A/1.tif", decibels)

    assert np.array_equal(opened(folder).before, decibels)


def test_pixels_without_data_do_not_count_and_show_the_mean(tiles):
    folder = tiles(dtype="float32")
    holes = pixels(dtype="float32", seed=9)
    holes[5, 6, 1], holes[5, 7] = np.nan, -9999
    tile(folder / "train/B/1.tif", holes, nodata=-9999)
    fill = Normalisation((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0), (1.0,) * 4, (1.0,) * 4)

    pair = opened(folder, fill=fill)

    assert np.argwhere(pair.label == IGNORED).tolist() == [[5, 6], [5, 7]]
    assert pair.before[5, 6].tolist() == [1, 2, 3, 4]
    assert pair.after[5, 7].tolist() == [5, 6, 7, 8]
    index = index_pairs(folder, channels=None)
    scan = scan_labels(index.pairs)
    count = scan.counts[index.split("train")[0]]
    assert (count.changed, count.unchanged, count.ignored) == (64, 190, 2)
    before, _ = index.split("train")[0].sum_pixels(channels=4)
    assert before.pixels == SIDE**2 - 2
    assert "0.39% of the pixels are ignored" in " ".join(check_pairs(folder).notes)


def test_an_alpha_band_is_a_mask_and_no_band(tiles):
    folder = tiles(bands=3)
    rgba = np.dstack([pixels(3), np.full((SIDE, SIDE), 255, np.uint8)])
    rgba[0, 0, 3] = 0
    tile(folder / "train/A/1.tif", rgba)
    with rasterio.open(folder / "train/A/1.tif", "r+") as file:
        file.colorinterp = [
            getattr(ColorInterp, name) for name in ("red", "green", "blue", "alpha")
        ]

    pair = opened(folder)

    assert pair.before.shape == (SIDE, SIDE, 3)
    assert np.argwhere(pair.label == IGNORED).tolist() == [[0, 0]]


def test_an_infrared_band_tagged_as_alpha_is_no_mask_and_said(tiles):
    folder = tiles(bands=3)
    for part in ("train/A", "train/B", "val/A", "val/B"):
        shades = pixels(4, seed=3)
        shades[:3, :3, 3] = 0
        path = folder / part / "1.tif"
        tile(path, shades)
        with rasterio.open(path, "r+") as file:
            file.colorinterp = [
                getattr(ColorInterp, name) for name in ("red", "green", "blue", "alpha")
            ]

    index = index_pairs(folder, channels=None)

    assert index.channels == 3
    [said] = [note for note in index.notes if "tagged as alpha" in note]
    assert "band 4 is tagged as alpha, but has many values like data" in said
    assert (opened(folder).label != IGNORED).all()


def test_further_pages_of_tiles_are_said(tiles):
    folder = tiles(bands=3)
    for part in ("train/A", "val/B"):
        pages = [Image.fromarray(pixels(3, seed=number)) for number in range(2)]
        pages[0].save(folder / part / "1.tif", save_all=True, append_images=pages[1:])

    [said] = [note for note in index_pairs(folder, channels=None).notes if "2 images" in note]

    assert "holds 2 images, of which only the first is read (2 of the sampled files" in said


def test_a_crop_without_an_image_is_drawn_again(tiles):
    folder = tiles(dtype="uint16", nodata=0)
    empty = pixels(dtype="uint16")
    empty[:, :15] = 0
    tile(folder / "train/A/1.tif", empty, nodata=0)
    index = index_pairs(folder, channels=None)
    dataset = PairDataset(
        index.split("train"),
        encoding=scan_labels(index.pairs).encoding,
        crop_px=2,
        seed=0,
        channels=4,
        pixel_type="uint16",
    )

    crops = [dataset[SampleKey(epoch, 0)] for epoch in range(12)]

    # One place in fifteen shows the column that holds an image: ten draws find it more often.
    shown = sum(bool((crop.label != IGNORED).any()) for crop in crops)
    assert shown > len(crops) / 4


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "int32", "uint32", "uint16"])
def test_a_label_of_any_type_is_read_where_its_values_are_whole(tiles, dtype):
    label = opened(tiles(label=dtype)).label

    assert label[:4].min() == 1
    assert label[4:].max() == 0


def test_a_label_that_is_not_whole_says_its_type_and_how_to_write_it(tiles):
    folder = tiles()
    tile(folder / "train/label/1.tif", np.full((SIDE, SIDE), 0.25))

    with pytest.raises(DataError, match=r"float64, .*not whole.*0\.25.*gdal_rasterize -ot Byte"):
        scan_labels(index_pairs(folder, channels=None).pairs)
    [fault] = check_pairs(folder).errors
    assert "damaged" not in fault


def test_nodata_of_a_label_is_ignored(tiles):
    folder = tiles()
    truth = np.zeros((SIDE, SIDE), np.uint8)
    truth[:4], truth[10:] = 1, 255
    tile(folder / "train/label/1.tif", truth, nodata=255)

    label = opened(folder).label

    assert (label == IGNORED).sum() == 6 * SIDE
    assert (label == 1).sum() == 4 * SIDE


def test_a_nodata_value_that_hides_a_class_is_refused_with_the_remedy(tiles):
    folder = tiles(splits=("train",))
    truth = np.zeros((SIDE, SIDE), np.uint8)
    truth[:4] = 1
    tile(folder / "train/label/1.tif", truth, nodata=0)

    with pytest.raises(DataError, match=r"known to be unchanged; .*gdal_edit.py -unsetnodata"):
        scan_labels(index_pairs(folder, channels=None).pairs)


@pytest.mark.parametrize("part", ["B", "label"])
@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"transform": PLACE @ Affine.translation(3, 0)}, "up to 3.0 pixels away"),
        ({"crs": "EPSG:32632"}, "another coordinate reference system"),
    ],
)
def test_parts_of_a_tile_that_lie_apart_are_named_with_the_command(tiles, part, place, words):
    folder = tiles()
    path = folder / f"val/{part}/1.tif"
    tile(path, pixels(seed=10) if part == "B" else np.eye(SIDE, dtype=np.uint8), **place)

    with pytest.raises(DataError, match=words) as error:
        opened(folder, "val")
    assert str(path) in str(error.value)
    assert "gdalwarp" in str(error.value)
    [fault] = check_pairs(folder).errors
    assert words in fault


def test_a_part_without_a_place_is_taken_to_lie_on_the_others(tiles):
    folder = tiles()
    (folder / "train/label/1.tif").unlink()
    Image.fromarray(np.eye(SIDE, dtype=np.uint8)).save(folder / "train/label/1.png")

    assert np.array_equal(opened(folder).label, np.eye(SIDE))


def test_tiles_of_different_sizes_are_named(tiles):
    folder = tiles()
    tile(folder / "train/B/1.tif", pixels()[:8])

    with pytest.raises(DataError, match=r"B/1.tif is 16x8 pixels, but .*A/1.tif is 16x16"):
        opened(folder)


def test_splits_with_other_numbers_of_bands_need_a_choice(tiles):
    folder = tiles()
    for part in ("A", "B"):
        tile(folder / f"val/{part}/1.tif", pixels(3))

    with pytest.raises(DataError, match=r"val/A/1.tif: has 3 bands .*`bands=\(1,2,3,1\)`"):
        index_pairs(folder, channels=None)
    faults = " ".join(check_pairs(folder).errors)
    assert "val/A/1.tif: has 3 bands" in faults
    assert "damaged" not in faults
    assert opened(folder, "val", bands=BandChoice((3, 2, 1))).before.shape[2] == 3


def test_tiles_of_different_types_are_refused_by_name(tiles):
    folder = tiles()
    tile(folder / "train/B/1.tif", pixels(dtype="uint16"))

    with pytest.raises(DataError, match=r"train/A/1.tif uint8, .*train/B/1.tif uint16"):
        index_pairs(folder, channels=None)
    report = check_pairs(folder)
    assert len(report.errors) == 1
    assert report.splits["val"].pairs == 1


def test_complex_numbers_are_refused(tiles):
    folder = tiles(dtype="complex64")

    with pytest.raises(DataError, match=r"complex64.*gdal_calc"):
        index_pairs(folder, channels=None)


def test_a_palette_gives_its_colours(tiles, tmp_path):
    folder = tiles(bands=3)
    indices = pixels(1)[..., 0] % 3
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    path = folder / "train/A/1.tif"
    tile(path, indices, photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {n: (*colour, 255) for n, colour in enumerate(colours.tolist())})

    assert np.array_equal(opened(folder).before, colours[indices])


def test_upper_case_names_and_big_files_are_tiles_too(tiles):
    folder = tiles()
    (folder / "train/A/1.tif").rename(folder / "train/A/1.TIF")
    tile(folder / "train/B/1.tif", pixels(seed=9), BIGTIFF="YES")

    assert np.array_equal(opened(folder).after, pixels(seed=9))


def test_a_picture_among_tiles_is_read_like_them(tiles):
    folder = tiles(bands=3)
    (folder / "train/A/1.tif").unlink()
    Image.fromarray(pixels(3)).save(folder / "train/A/1.png")

    assert np.array_equal(opened(folder).before, pixels(3))
    with pytest.raises(DataError, match=r"1.png: is a picture of 3 bands"):
        index_pairs(folder, channels=None, bands=BandChoice((4,)))


def test_a_tiff_that_is_only_a_picture_is_read_as_one(tmp_path):
    for part in ("A", "B"):
        (tmp_path / f"train/{part}").mkdir(parents=True)
        Image.fromarray(pixels(3)).save(tmp_path / f"train/{part}/1.tif")
    (tmp_path / "train/label").mkdir()
    Image.fromarray(np.eye(SIDE, dtype=bool)).save(tmp_path / "train/label/1.tif")

    index = index_pairs(tmp_path)

    assert index.bands is None
    assert index.pairs[0].reading is None
    assert np.array_equal(opened(tmp_path).before, pixels(3))


def test_a_manifest_lists_its_bands_itself(write_scene):
    scene = write_scene(shape=(64, 64))

    with pytest.raises(ConfigError, match="listed in their manifest"):
        index_pairs(scene.manifest, bands=BandChoice((3, 2, 1)))


def test_masks_of_tiles_are_prepared_like_those_of_pictures(tiles, tmp_path):
    folder = tiles(bands=9, label="float64")

    prepared = prepare(folder, tmp_path / "prepared")

    assert prepared.masks == 2
    assert np.array_equal(opened(prepared.folder).before, pixels(9))
    assert opened(prepared.folder).label[:4].min() == 1


def test_a_marker_that_no_file_declares_is_no_data_and_said(tiles):
    folder = tiles(dtype="float32", bands=2)
    holes = pixels(2, "float32") / 1000
    holes[:6, :9] = -9999
    for part in ("train/A", "train/B", "val/A", "val/B"):
        tile(folder / part / "1.tif", holes)

    index = index_pairs(folder, channels=None)

    assert any("-9999" in note and "no data" in note for note in index.notes)
    assert (opened(folder).label == IGNORED).sum() == 6 * 9
    stats = measure_normalisation(index.split("train"), channels=2)
    assert min(stats.mean_before) > 0.0


def test_offsets_that_differ_between_the_dates_are_applied_and_said(tiles):
    folder = tiles(dtype="uint16")
    for split in ("train", "val"):
        for part, added in (("A", 0), ("B", 1000)):
            path = folder / split / part / "1.tif"
            tile(path, pixels(dtype="uint16") + added)
            with rasterio.open(path, "r+") as file:
                file.scales, file.offsets = (0.0001,) * 4, (-added * 0.0001,) * 4

    pair = opened(folder)

    np.testing.assert_allclose(pair.after, pair.before, atol=1e-2)
    assert pair.before.max() < 1000
    report = check_pairs(folder)
    assert any("scales or offsets" in note for note in report.notes)
    np.testing.assert_allclose(report.dates["after"].mean, report.dates["before"].mean, rtol=1e-4)
