"""What is found in the values of two rasters is done, and said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from changedet.errors import ConfigError
from changedet.raster.pair import PairOptions, RasterPair
from changedet.raster.remarks import Remark, remarks_on_reading

SIDE = 160
RGBA = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
METRE = Affine(1.0, 0.0, 500_000.0, 0.0, -1.0, 5_500_000.0)
COARSE = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 5_500_000.0)


def ground(low: float, high: float, dtype: str, *, side: int = SIDE, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).uniform(low, high, (3, side // 8, side // 8))
    return np.kron(coarse, np.ones((8, 8))).astype(dtype)


@pytest.fixture
def opened(write_raster: Callable[..., str]):
    def call(
        before: np.ndarray, after: np.ndarray, *, profiles: tuple[dict, dict] = ({}, {}), **options
    ) -> RasterPair:
        paths = [
            write_raster(f"{name}.tif", pixels, **profile)
            for name, pixels, profile in zip(
                ("before", "after"), (before, after), profiles, strict=True
            )
        ]
        return RasterPair(*paths, PairOptions(**options))

    return call


def said(pair: RasterPair, severity: str | None = None) -> list[str]:
    remarks: list[Remark] = list(remarks_on_reading(pair.facts))
    return [remark.text for remark in remarks if severity in (None, remark.severity)]


def declare(path: str, *, scale: float = 1.0, offset: float = 0.0) -> None:
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (scale,) * dataset.count
        dataset.offsets = (offset,) * dataset.count


def test_ordinary_pairs_have_nothing_to_remark(opened):
    for low, high, dtype in ((30, 200, "uint8"), (300, 3000, "uint16"), (0.01, 0.5, "float32")):
        pixels = ground(low, high, dtype)
        with opened(pixels, np.flip(pixels, 2), pixel_type=dtype) as pair:
            assert said(pair) == []
            np.testing.assert_array_equal(
                pair.read(pair.grid.window).before, pixels.transpose(1, 2, 0)
            )


@pytest.mark.parametrize("nodata", ["auto", -9999.0])
def test_undeclared_missing_pixels_are_left_out_of_everything(opened, nodata):
    pixels = ground(0.0, 0.4, "float32")
    holed = pixels.copy()
    holed[:, :, :20] = -9999
    options = {"stretch": "auto", "nodata": nodata}
    with opened(holed, pixels, **options) as pair:
        read = pair.read(pair.grid.window)
        limits = pair.stretch_used
        texts = said(pair)
        assert said(pair, "warning") == []
    expected = np.ones((SIDE, SIDE), bool)
    expected[:, :20] = False
    np.testing.assert_array_equal(read.valid, expected)
    assert limits[0] == pytest.approx((0.0, 0.4), abs=0.05)
    assert any("12.5 % of the sampled pixels hold -9999" in text for text in texts)
    with opened(holed, pixels, stretch="auto", nodata="none") as pair:
        assert pair.stretch_used[0][0] == -9999
        assert pair.read(pair.grid.window).valid.all()
        (warned,) = said(pair, "warning")
    assert "the stretch leaves the middle half of the values of" in warned


def test_missing_pixels_are_not_blended_into_their_neighbours(opened):
    # The later date is twice as coarse.
    fine = np.full((3, SIDE, SIDE), 100, np.uint8) + ground(0, 40, "uint8")
    coarse = np.full((3, SIDE // 2, SIDE // 2), 100, np.uint8) + ground(0, 40, "uint8", side=80)
    coarse[:, :, :10] = 0
    with opened(fine, coarse, profiles=({}, {"transform": METRE})) as pair:
        read = pair.read(pair.grid.window)
    assert not read.valid[:, :18].any()
    assert read.after[read.valid].min() >= 100


def test_a_finer_date_is_averaged_without_its_missing_pixels(opened):
    coarse = ground(100, 140, "uint8", side=80)
    fine = ground(100, 140, "uint8", side=320)
    fine[:, :, :82] = 0
    with opened(coarse, fine, profiles=({"transform": COARSE}, {})) as pair:
        read = pair.read(pair.grid.window)
    assert not read.valid[:, :20].any()
    assert read.valid[:, 21:].all()
    assert read.after[read.valid].min() >= 100


def test_a_value_that_is_set_counts_in_both_dates(opened):
    first, second = ground(30, 200, "uint8"), ground(30, 200, "uint8", seed=1)
    first[:, 40:60, 40:60] = 7
    second[:, 100:120] = 7
    with opened(first, second, nodata=7) as pair:
        valid = pair.read(pair.grid.window).valid
        assert len(said(pair, "note")) == 2
    assert not valid[40:60, 40:60].any()
    assert not valid[100:120].any()
    assert valid.mean() == pytest.approx(1 - (400 + 20 * SIDE) / SIDE**2)
    with opened(first, second, nodata=9) as pair:
        assert "marks no sampled pixel" in said(pair, "warning")[0]


def test_a_value_of_nodata_must_be_a_number(opened):
    pixels = ground(30, 200, "uint8")
    for wrong in (float("nan"), float("inf"), "maybe"):
        with pytest.raises(ConfigError, match="`nodata` must be"):
            opened(pixels, pixels, nodata=wrong)


def test_nan_in_a_float_raster_is_counted_and_said(opened):
    pixels = ground(0.0, 0.4, "float32")
    holed = pixels.copy()
    holed[1, :16] = np.nan
    holed[0, 16:32] = np.float32(-3.4e38)
    with opened(pixels, holed, pixel_type="float32") as pair:
        assert "20.0 % of the sampled pixels hold NaN, infinite" in " ".join(said(pair))
        assert pair.read(pair.grid.window).valid.mean() == pytest.approx(0.8)


def test_declared_missing_pixels_are_said_with_their_share(opened):
    pixels = ground(30, 200, "uint8")
    pixels[:, :40] = 0
    with opened(pixels, pixels, profiles=({"nodata": 0}, {"nodata": 0})) as pair:
        assert len(said(pair)) == 2
        assert "25.0 % of the sampled pixels have no data, as the file says" in said(pair)[0]


def test_infrared_that_is_tagged_as_alpha_is_no_mask(opened):
    pixels = ground(30, 200, "uint8")
    infrared = ground(0, 255, "uint8", seed=2)[:1]
    infrared[:, 40:80, 40:80] = 0
    tagged = np.concatenate([pixels, infrared])
    profiles = ({"colours": RGBA}, {"colours": RGBA})
    with opened(tagged, tagged, profiles=profiles) as pair:
        assert pair.read(pair.grid.window).valid.all()
        warned = said(pair, "warning")
    assert len(warned) == 2
    assert "band 4 is tagged as alpha, but has many values between 0 and opaque" in warned[0]
    assert "not used as a mask" in warned[0]
    with opened(tagged, tagged, profiles=profiles, alpha="mask") as pair:
        assert not pair.read(pair.grid.window).valid[40:80, 40:80].any()
    with opened(tagged, tagged, profiles=profiles, channels=4, bands=(1, 2, 3, 4)) as pair:
        assert said(pair) == []


def test_a_true_alpha_is_a_mask_also_with_soft_edges_and_in_one_date_alone(opened):
    pixels = ground(30, 200, "uint8")
    alpha = np.full((1, SIDE, SIDE), 255, np.uint8)
    alpha[:, :, :40] = 0
    alpha[:, :, 40:44] = np.array([50, 100, 150, 200])
    with opened(np.concatenate([pixels, alpha]), pixels, profiles=({"colours": RGBA}, {})) as pair:
        valid = pair.read(pair.grid.window).valid
        assert said(pair, "warning") == []
        assert any("only " in text and "has an alpha band" in text for text in said(pair))
    assert not valid[:, :40].any()
    assert valid[:, 40:].all()
    with opened(
        np.concatenate([pixels, alpha]), pixels, profiles=({"colours": RGBA}, {}), alpha="ignore"
    ) as pair:
        assert pair.read(pair.grid.window).valid.all()


def test_a_mask_that_is_asked_for_and_not_there_is_warned_of(opened):
    pixels = ground(30, 200, "uint8")
    with opened(pixels, np.flip(pixels, 2), alpha="mask") as pair:
        (text,) = said(pair, "warning")
        assert "neither raster has an alpha band" in text


def test_an_alpha_band_of_zeros_does_not_hide_the_image(opened):
    pixels = ground(30, 200, "uint8")
    empty = np.concatenate([pixels, np.zeros((1, SIDE, SIDE), np.uint8)])
    with opened(empty, pixels, profiles=({"colours": RGBA}, {})) as pair:
        assert pair.read(pair.grid.window).valid.all()
        assert "is 0 everywhere" in said(pair, "warning")[0]


@pytest.mark.parametrize("order", ["old first", "new first"])
def test_sentinel_2_from_before_and_after_baseline_4_shows_no_difference(
    write_raster: Callable[..., str],
    order: str,
):
    pixels = ground(300, 3000, "uint16")
    old, new = write_raster("old.tif", pixels), write_raster("new.tif", pixels + 1000)
    declare(old, scale=0.0001)
    declare(new, scale=0.0001, offset=-0.1)
    dates = (old, new) if order == "old first" else (new, old)
    with RasterPair(*dates, PairOptions(pixel_type="uint16")) as pair:
        read = pair.read(pair.grid.window)
        (text,) = said(pair)
    np.testing.assert_allclose(read.before, read.after, atol=0.01)
    np.testing.assert_allclose(read.before, pixels.transpose(1, 2, 0), atol=0.01)
    assert f"{new} are converted to those of {old} (value - 1000)" in text


def test_an_offset_in_the_metadata_of_the_product_counts(write_raster: Callable[..., str]):
    pixels = ground(300, 3000, "uint16")
    old = write_raster("old.tif", pixels)
    new = write_raster("new.tif", pixels + 1000, tags={"BOA_ADD_OFFSET": "-1000"})
    with RasterPair(old, new, PairOptions(pixel_type="uint16")) as pair:
        read = pair.read(pair.grid.window)
    np.testing.assert_array_equal(read.before, read.after)


def test_equal_units_leave_values_as_they_are_stored(write_raster: Callable[..., str]):
    pixels = ground(300, 3000, "uint16")
    paths = [write_raster(f"{name}.tif", pixels) for name in "ab"]
    for path in paths:
        declare(path, scale=0.0001, offset=-0.1)
    with RasterPair(paths[0], paths[1], PairOptions(pixel_type="uint16")) as pair:
        assert said(pair) == []
        np.testing.assert_array_equal(pair.read(pair.grid.window).after, pixels.transpose(1, 2, 0))


def test_values_1000_apart_that_nothing_explains_are_warned_of(opened):
    pixels = ground(300, 3000, "uint16")
    with opened(pixels, pixels + 1000, pixel_type="uint16") as pair:
        (text,) = said(pair, "warning")
    assert "lie about 1000 above the other date" in text
    assert "gdal_edit.py -offset -1000" in text


def test_limits_of_a_stretch_are_said_with_what_they_clip(opened):
    pixels = ground(200, 3260, "uint16")
    with opened(pixels, pixels, stretch=(200.0, 3260.0)) as pair:
        assert said(pair, "warning") == []
        assert "200 to 3260 become 0 to 255; 0.0 % of the values are clipped" in said(pair)[0]
    with opened(pixels, pixels, stretch=(0.0, 255.0)) as pair:
        warned = said(pair, "warning")
    assert len(warned) == 2
    assert "of its values lie between 2" in warned[0]
    with opened(pixels, pixels, stretch=(0.0, 65535.0)) as pair:
        assert "of 255 levels" in said(pair, "warning")[0]


def test_a_date_without_an_image_in_it_is_warned_of(opened):
    pixels = ground(30, 200, "uint8")
    for options in ({}, {"pixel_type": "any"}):
        with opened(pixels, np.zeros_like(pixels), **options) as pair:
            (text, *_) = said(pair, "warning")
            assert "after.tif: all sampled pixels with data are alike (0)" in text
            assert "`nodata=0`" in text


def test_numbers_in_a_palette_are_warned_of(opened):
    pixels = ground(0, 20, "uint8")[:1]
    profile = {"colours": (ColorInterp.palette,)}
    with opened(pixels, np.flip(pixels, 2), profiles=(profile, {}), channels=1) as pair:
        (text,) = said(pair, "warning")
        assert "before.tif: its values are numbers in a colour palette" in text
        assert "gdal_translate -expand rgb" in text


def test_a_channel_of_one_value_is_warned_of(opened):
    pixels = ground(30, 200, "uint8")
    dead = pixels.copy()
    dead[1] = 255
    with opened(dead, pixels) as pair:
        (text, *_) = said(pair, "warning")
        assert "before.tif: channel 2 holds 255 in all sampled pixels" in text


@pytest.mark.parametrize(
    ("factor", "dtype", "pixel_type"),
    [(5, "uint16", "uint16"), (0.0001, "float32", "float32"), (0.2, "uint8", "uint8")],
)
def test_values_that_differ_wildly_between_the_dates_are_warned_of(
    opened, factor: float, dtype: str, pixel_type: str
):
    pixels = ground(30, 250, "uint8" if dtype == "uint8" else "float32") * 10
    pixels = pixels if dtype != "uint8" else ground(30, 250, "uint8")
    other = (pixels * factor).astype(dtype)
    first = pixels.astype("uint8" if dtype == "uint8" else "float32")
    if dtype == "uint16":
        first = first.astype(dtype)
    with opened(first, other, pixel_type=pixel_type) as pair:
        (text,) = said(pair, "warning")
    assert "differ by a factor of about" in text


def test_bands_in_another_order_are_warned_of(opened):
    pixels = ground(30, 200, "uint8")
    profiles = ({"colours": RGBA[:3]}, {"colours": RGBA[2::-1]})
    with opened(pixels, pixels[::-1], profiles=profiles) as pair:
        (text,) = said(pair, "warning")
    assert "channel 1 is red in" in text
    assert "`bands_after`" in text
    with opened(
        pixels, pixels[::-1], profiles=profiles, bands=(1, 2, 3), bands_after=(3, 2, 1)
    ) as pair:
        assert said(pair) == []


def test_a_pair_that_was_looked_at_before_is_not_looked_at_again(
    write_raster: Callable[..., str], tmp_path: Path
):
    holed = ground(0.0, 0.4, "float32")
    holed[:, :, :20] = -9999
    path = write_raster("a.tif", holed)
    with RasterPair(path, path, PairOptions(pixel_type="float32")) as pair:
        rules = pair.rules
        expected = pair.read(pair.grid.window)
    with RasterPair(path, path, PairOptions(pixel_type="float32", rules=rules)) as pair:
        assert pair.facts.values is None
        np.testing.assert_array_equal(pair.read(pair.grid.window).valid, expected.valid)
