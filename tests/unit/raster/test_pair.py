import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from scipy import ndimage

from changedet.errors import ConfigError, DataError, ImageError
from changedet.raster import readers
from changedet.raster.bands import count_common_bands
from changedet.raster.geo_grid import Window
from changedet.raster.pair import PairOptions, RasterPair
from changedet.raster.pixel_rules import PixelRules
from changedet.raster.remarks import remarks_on_reading

UTM = "EPSG:32633"
PLACE = Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 5_500_000.0)
DEFAULT = PairOptions()


def read_all(before: str, after: str, options: PairOptions = DEFAULT) -> Any:
    with RasterPair(before, after, options) as pair:
        return pair.read(pair.grid.window)


def said(pair: RasterPair) -> list[str]:
    return [remark.text for remark in remarks_on_reading(pair.facts)]


def smooth(shape: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(1, *shape))
    blurred = ndimage.gaussian_filter(noise, (0, 4, 4))
    return (128 + 400 * blurred).astype(np.float32)


def test_rasters_on_one_grid_are_read_as_they_are(
    write_raster: Callable[..., str], texture: np.ndarray
):
    before = write_raster("b.tif", texture)
    after = write_raster("a.tif", texture[::-1])
    with RasterPair(before, after, DEFAULT) as pair:
        pixels = pair.read(Window(10, 20, 100, 90))
        assert said(pair) == []
        assert pair.stretch_used is None
        assert (pair.coverage.before, pair.coverage.after) == (1.0, 1.0)
        assert pair.grid.shape == (300, 280)
        assert pair.grid.transform == PLACE
    part = np.s_[:, 10:110, 20:110]
    np.testing.assert_array_equal(pixels.before, texture[part].transpose(1, 2, 0))
    np.testing.assert_array_equal(pixels.after, texture[::-1][part].transpose(1, 2, 0))
    assert pixels.valid.all()
    assert pixels.before.flags["C_CONTIGUOUS"]
    assert pixels.before.dtype == np.uint8


def test_only_the_common_area_of_shifted_grids_is_read(
    write_raster: Callable[..., str], texture: np.ndarray
):
    before = write_raster(
        "b.tif", texture[:, 50:, 30:], transform=PLACE @ Affine.translation(30, 50)
    )
    after = write_raster("a.tif", texture[:, :200, :250])
    with RasterPair(before, after, DEFAULT) as pair:
        assert pair.grid.transform == PLACE @ Affine.translation(30, 50)
        assert pair.grid.shape == (150, 220)
        assert pair.coverage.before == pytest.approx(150 * 220 / (250 * 250))
        assert pair.coverage.after == pytest.approx(150 * 220 / (200 * 250))
        pixels = pair.read(pair.grid.window)
    np.testing.assert_array_equal(pixels.before, pixels.after)
    assert pixels.valid.all()


def test_a_rotated_later_raster_covers_what_lies_under_it(write_raster: Callable[..., str]):
    place = PLACE @ Affine.translation(100, 100) @ Affine.rotation(45)
    before = write_raster("b.tif", np.ones((1, 300, 300), np.uint8))
    after = write_raster("a.tif", np.ones((1, 100, 100), np.uint8), transform=place)
    with RasterPair(before, after, PairOptions(channels=1)) as pair:
        valid = pair.read(pair.grid.window).valid
        assert pair.coverage.after == pytest.approx(1.0, abs=1e-6)
        assert pair.coverage.before == pytest.approx(100 * 100 / 300**2, rel=1e-3)
    # A diamond fills half of its bounding square.
    assert valid.mean() == pytest.approx(0.5, abs=0.02)
    assert valid.any(axis=0)[1:-1].all()
    assert valid.any(axis=1)[1:-1].all()


def test_a_pixel_counts_only_if_both_dates_hold_data(write_raster: Callable[..., str]):
    first, second = np.full((2, 1, 40, 40), 9, np.uint8)
    first[0, 3, 4] = second[0, 20, 21] = 0
    paths = [write_raster(f"{i}.tif", a, nodata=0) for i, a in enumerate((first, second))]
    pixels = read_all(*paths, PairOptions(channels=1))
    missing = {(int(row), int(column)) for row, column in np.argwhere(~pixels.valid)}
    assert missing == {(3, 4), (20, 21)}
    for date in (pixels.before, pixels.after):
        assert (date[~pixels.valid] == 0).all()
        assert (date[pixels.valid] == 9).all()


@pytest.mark.parametrize("shift", [(3.0, -2.0), (2.4, -1.7)])
def test_a_known_shift_is_taken_back(write_raster: Callable[..., str], shift: tuple[float, float]):
    scene = smooth((200, 200))
    moved = ndimage.shift(scene, (0, *shift), order=3, mode="nearest")
    before, after = write_raster("b.tif", scene), write_raster("a.tif", moved)
    options = PairOptions(channels=1, pixel_type="float32", shift_px=shift)
    pixels = read_all(before, after, options)
    inner = np.s_[10:-10, 10:-10]
    assert np.abs(pixels.before - pixels.after)[inner].max() < 1.5
    assert np.abs(scene - moved)[0][inner].max() > 15
    # What would have to come from beyond the edge is missing.
    assert pixels.valid[10:-10, 10:-10].all()
    assert not pixels.valid[-1].any()
    assert not pixels.valid[:, 0].any()


def test_another_shift_keeps_the_grid_and_needs_no_new_pair(
    write_raster: Callable[..., str], texture: np.ndarray
):
    before = write_raster("b.tif", texture)
    after = write_raster("a.tif", np.roll(texture, (4, 5), (1, 2)))
    with RasterPair(before, after, DEFAULT) as pair:
        with pair.with_shift((4.0, 5.0)) as corrected:
            assert corrected.grid == pair.grid
            pixels = corrected.read(pair.grid.window)
            assert said(corrected) == []
        with pair.with_shift((0.3, 0.0)) as corrected:
            assert "resampled (bilinear)" in said(corrected)[0]
        assert pair.read(pair.grid.window).valid.all()
    np.testing.assert_array_equal(pixels.before[pixels.valid], pixels.after[pixels.valid])
    assert pixels.valid.mean() == pytest.approx(296 * 275 / (300 * 280))


def test_a_shift_beyond_the_scene_leaves_nothing_valid(
    write_raster: Callable[..., str], texture: np.ndarray
):
    path = write_raster("b.tif", texture)
    assert not read_all(path, path, PairOptions(shift_px=(400.0, 0.0))).valid.any()
    assert not read_all(path, path, PairOptions(shift_px=(0.5, -400.5))).valid.any()


def test_a_shift_out_of_this_world_leaves_nothing_valid(write_raster: Callable[..., str]):
    before = write_raster("b.tif", np.ones((1, 40, 40), np.uint8))
    place = Affine(1e-5, 0, 14.999, 0, -1e-5, 49.653)
    after = write_raster(
        "a.tif", np.ones((1, 200, 200), np.uint8), crs="EPSG:4326", transform=place
    )
    options = PairOptions(channels=1, shift_px=(1e300, 0.0))
    assert not read_all(before, after, options).valid.any()


def test_a_later_date_without_data_leaves_nothing_valid(write_raster: Callable[..., str]):
    before = write_raster("b.tif", np.ones((1, 40, 40), np.uint8))
    after = write_raster("a.tif", np.zeros((1, 40, 40), np.uint8), nodata=0)
    for shift in ((0.0, 0.0), (0.5, 0.5)):
        pixels = read_all(before, after, PairOptions(channels=1, shift_px=shift))
        assert not pixels.valid.any()
        assert not pixels.before.any()


def test_threads_read_what_one_thread_reads(
    write_raster: Callable[..., str], texture: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    opened: list[Any] = []
    real = readers.open_raster
    monkeypatch.setattr(
        readers, "open_raster", lambda name: opened.append(real(name)) or opened[-1]
    )
    before = write_raster("b.tif", texture, tiled=True, blockxsize=64, blockysize=64)
    # A transform that is turned a little makes every window a warped one.
    after = write_raster("a.tif", texture, transform=PLACE @ Affine.rotation(2))
    windows = [Window(top, left, 60, 60) for top in range(0, 200, 25) for left in range(0, 200, 40)]
    with RasterPair(before, after, DEFAULT) as pair:
        alone = [pair.read(window) for window in windows]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(pair.read, windows * 3))
    for index, pixels in enumerate(together):
        for got, expected in zip(pixels, alone[index % len(windows)], strict=True):
            np.testing.assert_array_equal(got, expected)
    assert len(opened) >= 4
    assert all(dataset.closed for dataset in opened)


def test_another_process_opens_its_own_files(
    write_raster: Callable[..., str], texture: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    path = write_raster("b.tif", texture)
    pair = RasterPair(path, path, DEFAULT)
    first = pair.read(Window(0, 0, 50, 50))
    opened = []
    real = readers.open_raster
    monkeypatch.setattr(readers, "open_raster", lambda name: opened.append(name) or real(name))
    pair.read(Window(0, 0, 50, 50))
    assert opened == []
    # What a forked child sees: the parent's handles under another process number.
    monkeypatch.setattr(readers.os, "getpid", lambda: -1)
    second = pair.read(Window(0, 0, 50, 50))
    assert len(opened) == 2
    np.testing.assert_array_equal(first.before, second.before)
    pair.close()
    monkeypatch.undo()
    pair.close()


def test_a_closed_pair_and_a_window_outside_are_refused(
    write_raster: Callable[..., str], texture: np.ndarray
):
    path = write_raster("b.tif", texture)
    with RasterPair(path, path, DEFAULT) as pair, pytest.raises(ValueError, match="inside a grid"):
        pair.read(Window(290, 0, 20, 20))
    with pytest.raises(ValueError, match="closed"):
        pair.read(Window(0, 0, 20, 20))


def test_without_a_crs_equal_sizes_are_compared_pixel_by_pixel(
    write_raster: Callable[..., str], texture: np.ndarray
):
    before = write_raster("b.tif", texture, crs=None, transform=None)
    after = write_raster("a.tif", np.roll(texture, 2, 1), crs=None, transform=None)
    with RasterPair(before, after, PairOptions(shift_px=(2.0, 0.0))) as pair:
        assert pair.grid.crs is None
        assert pair.grid.transform == Affine.identity()
        assert "pixel by pixel" in said(pair)[0]
        assert pair.before.gsd_m is None
        pixels = pair.read(pair.grid.window)
    np.testing.assert_array_equal(pixels.before[:-2], pixels.after[:-2])
    halfway = read_all(before, before, PairOptions(shift_px=(0.0, 0.5)))
    mean = (texture[:, :, :-1].astype(float) + texture[:, :, 1:]) / 2
    difference = halfway.after[:, :-1] - mean.transpose(1, 2, 0)
    assert np.abs(difference).max() <= 0.5


def test_16_bit_and_float_values_arrive_as_float(write_raster: Callable[..., str]):
    stored = np.arange(40 * 40, dtype=np.uint16).reshape(1, 40, 40) * 40
    path = write_raster("b.tif", stored)
    pixels = read_all(path, path, PairOptions(channels=1, pixel_type="uint16"))
    assert pixels.before.dtype == np.float32
    np.testing.assert_array_equal(pixels.before[..., 0], stored[0])


def test_values_of_another_type_than_the_model_saw_are_noted(write_raster: Callable[..., str]):
    path = write_raster("b.tif", np.ones((1, 40, 40), np.float32))
    with RasterPair(path, path, PairOptions(channels=1, pixel_type="uint16")) as pair:
        assert "trained on uint16" in said(pair)[0]
        assert "float32" in said(pair)[0]


def test_chosen_bands_come_in_the_order_given(
    write_raster: Callable[..., str], texture: np.ndarray
):
    five = np.concatenate([texture, texture[:2] // 2])
    before, after = write_raster("b.tif", five), write_raster("a.tif", five[::-1])
    pixels = read_all(before, after, PairOptions(bands=(4, 1, 3), bands_after=(2, 5, 3)))
    np.testing.assert_array_equal(pixels.before, five[[3, 0, 2]].transpose(1, 2, 0))
    np.testing.assert_array_equal(pixels.after, pixels.before)


def test_alpha_is_not_counted_among_the_bands(
    write_raster: Callable[..., str], texture: np.ndarray
):
    alpha = np.full((1, 300, 280), 255, np.uint8)
    alpha[0, :20] = 0
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    before = write_raster("b.tif", np.concatenate([texture, alpha]), colours=colours)
    after = write_raster("a.tif", texture)
    pixels = read_all(before, after)
    assert pixels.before.shape == (300, 280, 3)
    assert not pixels.valid[:20].any()
    assert pixels.valid[20:].all()


@pytest.mark.parametrize(
    ("bands", "options", "message"),
    [
        ((5, 3), DEFAULT, r"b\.tif: has 5 bands \(1 .*\), the model takes 3; .* `bands=\(1,2,3\)`"),
        ((3, 5), DEFAULT, r"a\.tif: has 5 bands"),
        ((1, 1), DEFAULT, r"has 1 band \(1 gray\), the model takes 3; .*`bands=\(1,1,1\)`"),
        ((3, 3), PairOptions(bands=(1, 2, 7)), r"no band 7 \(`bands`\); it has 1 "),
        ((3, 3), PairOptions(bands=(1, 2)), r"`bands` names 2 bands, but the model takes 3"),
        ((3, 3), PairOptions(bands=(1, 2, 3), bands_after=(0, 1, 2)), r"no band 0 \(`bands_after`"),
    ],
)
def test_bands_that_do_not_fit_are_listed(
    write_raster: Callable[..., str], bands: tuple[int, int], options: PairOptions, message: str
):
    paths = [
        write_raster(f"{name}.tif", np.ones((count, 40, 40), np.uint8))
        for name, count in zip("ba", bands, strict=True)
    ]
    with pytest.raises(ConfigError, match=message):
        RasterPair(*paths, options)


def test_described_bands_are_listed_by_their_description(
    write_raster: Callable[..., str], tmp_path: Path
):
    path = write_raster("b.tif", np.ones((2, 40, 40), np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(2, "B8A")
    with pytest.raises(ConfigError, match='1 gray, 2 "B8A"'):
        RasterPair(path, path, DEFAULT)


def test_a_palette_is_explained(write_raster: Callable[..., str]):
    path = write_raster("b.tif", np.ones((1, 40, 40), np.uint8), photometric="palette")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    with pytest.raises(ConfigError, match="gdal_translate -expand rgb"):
        RasterPair(path, path, DEFAULT)


@pytest.mark.parametrize(
    ("dtype", "options", "message"),
    [
        (
            "uint16",
            {},
            r"uint16 values, but .* 8 bit; .*`stretch=\(LOW, HIGH\)` or `stretch=.auto.`",
        ),
        ("int16", {}, "int16 values"),
        ("float32", {}, "`stretch=.auto.`"),
        ("uint8", {"pixel_type": "uint16"}, "8-bit values, but the model was trained on uint16"),
        ("uint16", {"pixel_type": "uint16", "stretch": "auto"}, "`stretch` applies to models"),
        ("uint16", {"stretch": (5.0, 5.0)}, r"`stretch=\(5, 5\)`: the first value must be below"),
        ("uint16", {"stretch": (0.0, float("nan"))}, r"`stretch=\(0, nan\)`"),
        ("complex64", {}, "complex numbers"),
    ],
)
def test_values_that_the_model_never_saw_are_refused(
    write_raster: Callable[..., str], dtype: str, options: dict[str, Any], message: str
):
    path = write_raster("b.tif", np.ones((1, 40, 40), dtype))
    with pytest.raises(ConfigError, match=message) as caught:
        RasterPair(path, path, PairOptions(channels=1, **options))
    assert "\n" not in str(caught.value)


def test_what_was_not_trained_takes_dates_of_any_types_as_they_are(
    write_raster: Callable[..., str], texture: np.ndarray
):
    before = write_raster("b.tif", texture)
    after = write_raster("a.tif", texture.astype(np.uint16) * 100)
    options = PairOptions(pixel_type="any")
    with RasterPair(before, after, options) as pair:
        (remark,) = said(pair)
        assert "differ by a factor of about 100.0" in remark
        assert "uint8 and uint16" in remark
        pixels = pair.read(pair.grid.window)
    np.testing.assert_array_equal(pixels.before, texture.transpose(1, 2, 0))
    np.testing.assert_array_equal(pixels.after, texture.transpose(1, 2, 0) * 100.0)
    with pytest.raises(ConfigError, match=r"`stretch`.*baselines use the values as they are"):
        RasterPair(before, after, PairOptions(pixel_type="any", stretch="auto"))


def test_bands_that_both_dates_have_are_counted_without_alpha(
    write_raster: Callable[..., str], texture: np.ndarray
):
    four = np.concatenate([texture, texture[:1]])
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    plain, alpha = write_raster("p.tif", texture), write_raster("a.tif", four, colours=colours)
    assert count_common_bands(plain, alpha) == 3
    more = write_raster("m.tif", four, photometric="MINISBLACK")
    one = write_raster("one.tif", texture[:1])
    with pytest.raises(ConfigError, match=r"one.tif has 1 band and .*p.tif has 3; .*`bands=\(1\)`"):
        count_common_bands(one, plain)
    with pytest.raises(
        ConfigError, match=r"p.tif has 3 bands and .*m.tif has 4; .*`bands=\(1, 2, 3\)`"
    ):
        count_common_bands(plain, more)


def test_a_file_cut_short_is_named_when_it_is_read(
    write_raster: Callable[..., str], texture: np.ndarray
):
    before = write_raster("b.tif", texture)
    after = write_raster("a.tif", texture)
    Path(after).write_bytes(Path(after).read_bytes()[:60_000])
    with pytest.raises(ImageError, match=r"a\.tif: pixels cannot be read .*damaged or truncated"):
        RasterPair(before, after, DEFAULT)
    # Where no sample of the values is looked at, when a window is read.
    unseen = PairOptions(rules=(PixelRules(), PixelRules()))
    with RasterPair(before, after, unseen) as pair:
        with pytest.raises(
            ImageError, match=r"a\.tif: pixels cannot be read .*damaged or truncated"
        ):
            pair.read(pair.grid.window)
        with (
            pair.with_shift((0.5, 0.5)) as moved,
            pytest.raises(ImageError, match=r"a\.tif: pixels cannot be read"),
        ):
            moved.read(pair.grid.window)


def test_stretching_by_hand_takes_the_same_limits_for_both_dates(
    write_raster: Callable[..., str],
):
    ramp = np.linspace(0, 4000, 1600).astype(np.uint16).reshape(1, 40, 40)
    before, after = write_raster("b.tif", ramp), write_raster("a.tif", ramp // 2)
    options = PairOptions(channels=1, stretch=(1000.0, 3000.0))
    with RasterPair(before, after, options) as pair:
        pixels = pair.read(pair.grid.window)
        assert pair.stretch_used == ((1000.0, 3000.0), (1000.0, 3000.0))
    expected = np.rint(np.clip((ramp[0] - 1000.0) / 2000 * 255, 0, 255))
    np.testing.assert_array_equal(pixels.before[..., 0], expected)
    assert pixels.before.dtype == pixels.after.dtype == np.uint8
    assert pixels.after.max() == 128


def test_automatic_limits_are_measured_for_each_date_on_valid_pixels(
    write_raster: Callable[..., str],
):
    ramp = np.linspace(1000, 2000, 1600).astype(np.float32).reshape(1, 40, 40)
    dark = ramp / 10
    ramp[0, :5] = -9999
    before = write_raster("b.tif", ramp, nodata=-9999)
    after = write_raster("a.tif", dark)
    with RasterPair(before, after, PairOptions(channels=1, stretch="auto")) as pair:
        (low, high), limits_after = pair.stretch_used
        pixels = pair.read(pair.grid.window)
    seen = ramp[ramp > 0]
    np.testing.assert_allclose((low, high), np.percentile(seen, (2, 98)), rtol=1e-6)
    np.testing.assert_allclose(limits_after, np.percentile(dark, (2, 98)), rtol=1e-6)
    assert pixels.before[pixels.valid].min() == 0
    assert pixels.before.max() == 255
    assert (pixels.before[~pixels.valid] == 0).all()


def test_a_date_of_8_bit_is_left_as_it_is(write_raster: Callable[..., str]):
    byte = np.full((1, 40, 40), 77, np.uint8)
    before, after = write_raster("b.tif", byte), write_raster("a.tif", byte.astype(np.uint16) * 9)
    with RasterPair(before, after, PairOptions(channels=1, stretch=(0.0, 1000.0))) as pair:
        assert pair.stretch_used == (None, (0.0, 1000.0))
        pixels = pair.read(pair.grid.window)
    assert set(np.unique(pixels.before)) == {77}
    assert set(np.unique(pixels.after)) == {round(693 / 1000 * 255)}
    with RasterPair(before, before, PairOptions(channels=1, stretch="auto")) as pair:
        assert "no effect" in said(pair)[0]
        assert pair.stretch_used is None


def test_a_date_without_any_data_cannot_be_stretched(
    write_raster: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    opened: list[Any] = []
    real = readers.open_raster
    monkeypatch.setattr(
        readers, "open_raster", lambda name: opened.append(real(name)) or opened[-1]
    )
    before = write_raster("b.tif", np.ones((1, 40, 40), np.uint16))
    after = write_raster("a.tif", np.zeros((1, 40, 40), np.uint16), nodata=0)
    with pytest.raises(DataError, match=r"a\.tif: no pixel of the common area has data"):
        RasterPair(before, after, PairOptions(channels=1, stretch="auto"))
    assert [dataset.closed for dataset in opened] == [True, True]


def test_handles_of_threads_that_have_ended_are_closed(
    write_raster: Callable[..., str], texture: np.ndarray
):
    opened = Path("/proc/self/fd")
    if not opened.is_dir():
        pytest.skip("open files are counted in /proc, which this system does not have")
    before, after = write_raster("b.tif", texture), write_raster("a.tif", texture[::-1])
    counts = []
    with RasterPair(before, after, DEFAULT) as pair:
        for _ in range(6):
            thread = threading.Thread(target=pair.read, args=(Window(0, 0, 20, 20),))
            thread.start()
            thread.join()
            counts.append(len(list(opened.iterdir())))
    assert len(set(counts)) == 1


def blocks(values: np.ndarray, step: int) -> np.ndarray:
    """Average blocks of (h, w, C)."""
    height, width = (side // step for side in values.shape[:2])
    cut = values[: height * step, : width * step].astype(float)
    return cut.reshape(height, step, width, step, -1).mean(axis=(1, 3))


def test_a_reduced_window_holds_averages_of_both_dates(write_raster: Callable[..., str]):
    ground = smooth((310, 290))
    before = write_raster("b.tif", ground)
    after = write_raster(
        "a.tif", ground[:, 4:, 7:] + 10, transform=PLACE @ Affine.translation(7, 4)
    )
    with RasterPair(before, after, PairOptions(channels=1, pixel_type="float32")) as pair:
        window = Window(3, 5, 290, 270)
        whole, reduced = pair.read(window), pair.read_reduced(window, longest_px=70)
    assert reduced.valid.shape == (72, 67)
    assert reduced.valid.all()
    np.testing.assert_allclose(reduced.before, blocks(whole.before, 4), atol=1e-3)
    np.testing.assert_allclose(reduced.after, blocks(whole.after, 4), atol=1e-3)


@pytest.mark.parametrize("levels", [[], [2, 4, 8]])
def test_a_reduced_window_of_another_grid_lies_where_the_whole_one_lies(
    write_raster: Callable[..., str], levels: list[int]
):
    # Smooth enough for the widths of two filters not to count, but a place off by one would.
    ground = 5 * ndimage.gaussian_filter(smooth((600, 640)), (0, 12, 12))
    before = write_raster("b.tif", ground)
    after = write_raster(
        "a.tif", ground, transform=PLACE @ Affine.translation(0.4, -0.3) @ Affine.rotation(3)
    )
    if levels:
        with rasterio.open(after, "r+") as raster:
            raster.build_overviews(levels, rasterio.enums.Resampling.average)
    with RasterPair(before, after, PairOptions(channels=1, pixel_type="float32")) as pair:
        window = pair.grid.window
        whole, reduced = pair.read(window), pair.read_reduced(window, longest_px=100)
        shifted = pair.with_shift((12.0, 0.0))
        with shifted:
            moved = shifted.read_reduced(window, longest_px=100)
    expected = blocks(whole.after, 6)
    inside = blocks(whole.valid[..., None], 6)[..., 0] == 1
    known = inside & reduced.valid
    off_by_one = np.abs(np.roll(expected, 1, axis=0) - expected)[known].mean()
    assert np.abs(reduced.after - expected)[known].mean() < off_by_one / 4
    # Twelve pixels are two of the result.
    both = inside[2:] & moved.valid[:-2] & reduced.valid[2:]
    assert np.abs(moved.after[:-2] - reduced.after[2:])[both].mean() < off_by_one / 4
    assert both.mean() > 0.5


def test_what_is_missing_in_either_date_is_missing_when_reduced(write_raster: Callable[..., str]):
    values = np.full((1, 64, 64), 9, np.uint8)
    values[:, :32] = 0
    before, after = write_raster("b.tif", values, nodata=0), write_raster("a.tif", values + 1)
    with RasterPair(before, after, PairOptions(channels=1)) as pair:
        reduced = pair.read_reduced(pair.grid.window, longest_px=16)
    assert not reduced.valid[:8].any()
    assert reduced.valid[8:].all()
    assert set(reduced.after[~reduced.valid].ravel()) == {0}
