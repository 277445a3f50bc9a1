from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp, Resampling

from changedet.errors import ImageError
from changedet.raster.geo_grid import Window
from changedet.raster.open import open_raster
from changedet.raster.pixels import Pixels, PixelSource

WHOLE = Window(0, 0, 20, 30)
HOLE = np.s_[5:9, 10:13]


def read_all(path: str, bands: tuple[int, ...], *, decimation: int = 1) -> Pixels:
    with open_raster(path) as dataset:
        return PixelSource(dataset, bands, location=path).read(WHOLE, decimation=decimation)


def assert_hole(pixels: Pixels) -> None:
    expected = np.ones(WHOLE.shape, bool)
    expected[HOLE] = False
    np.testing.assert_array_equal(pixels.valid, expected)
    assert (pixels.values[:, ~expected] == 0).all()
    assert (pixels.values[:, expected] == 7).all()


def picture(dtype: str, *, bands: int = 2, hole: float = 7) -> np.ndarray:
    pixels = np.full((bands, *WHOLE.shape), 7, dtype)
    pixels[:, *HOLE] = hole
    return pixels


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", 0),
        ("uint8", 255),
        ("uint16", 65535),
        ("int16", -9999),
        ("float32", -9999.0),
        ("float32", float("nan")),
        ("float64", -1.7976931348623157e308),
    ],
)
def test_pixels_with_the_nodata_value_are_missing(
    write_raster: Callable[..., str], dtype: str, nodata: float
):
    path = write_raster("a.tif", picture(dtype, hole=nodata), nodata=nodata)
    pixels = read_all(path, (1, 2))
    assert_hole(pixels)
    assert pixels.values.dtype == ("uint8" if dtype == "uint8" else "float32")


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", 0), ("float32", 0), ("int32", -9999)])
def test_nodata_in_one_of_the_chosen_bands_is_enough(
    write_raster: Callable[..., str], dtype: str, nodata: int
):
    stored = picture(dtype, bands=3)
    stored[1, *HOLE] = nodata
    path = write_raster("a.tif", stored, nodata=nodata)
    assert_hole(read_all(path, (1, 2)))
    assert read_all(path, (1, 3)).valid.all()


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", 0), ("uint8", 255), ("uint16", 0), ("uint16", 65535)]
)
def test_a_brightness_that_stands_for_nodata_counts_only_in_all_chosen_bands(
    write_raster: Callable[..., str], dtype: str, nodata: int
):
    stored = picture(dtype, bands=3, hole=nodata)
    stored[2] = 7
    # Dark or bright in one band only.
    stored[1, :3] = nodata
    stored[0, 15:] = nodata
    path = write_raster("a.tif", stored, nodata=nodata)
    pixels = read_all(path, (1, 2))
    expected = np.ones(WHOLE.shape, bool)
    expected[HOLE] = False
    np.testing.assert_array_equal(pixels.valid, expected)
    np.testing.assert_array_equal(pixels.values[:, expected], stored[:2, expected])
    assert (pixels.values[:, ~expected] == 0).all()
    assert read_all(path, (1, 3)).valid.all()
    assert not read_all(path, (2,)).valid[:3].any()
    with rasterio.open(path) as dataset:
        # The third band never holds the value.
        assert dataset.dataset_mask().all()
    two = write_raster("two.tif", stored[:2], nodata=nodata)
    with rasterio.open(two) as dataset:
        np.testing.assert_array_equal(dataset.dataset_mask() > 0, pixels.valid)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf, -3.4028235e38])
def test_values_that_are_no_measurements_are_missing_even_if_undeclared(
    write_raster: Callable[..., str], hole: float
):
    path = write_raster("a.tif", picture("float32", hole=hole))
    assert_hole(read_all(path, (1, 2)))


def test_transparent_pixels_are_missing_and_alpha_is_no_band(write_raster: Callable[..., str]):
    stored = picture("uint8", bands=3)
    stored[2] = 255
    stored[2, *HOLE] = 0
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.alpha)
    pixels = read_all(write_raster("a.tif", stored, colours=colours), (1, 2))
    assert_hole(pixels)
    assert len(pixels.values) == 2


def test_alpha_and_a_nodata_value_count_together(write_raster: Callable[..., str]):
    stored = picture("uint8", bands=2)
    stored[1] = 255
    stored[0, 5:9, 10:11] = 0
    stored[1, 5:9, 11:13] = 0
    colours = (ColorInterp.gray, ColorInterp.alpha)
    assert_hole(read_all(write_raster("a.tif", stored, colours=colours, nodata=0), (1,)))


@pytest.mark.parametrize("nodata", [None, 3])
def test_masked_pixels_are_missing(write_raster: Callable[..., str], nodata: int | None):
    mask = np.ones(WHOLE.shape, bool)
    mask[5:9, 10:12] = False
    stored = picture("uint8")
    stored[:, 5:9, 12] = 3
    if nodata is None:
        mask[HOLE] = False
    assert_hole(read_all(write_raster("a.tif", stored, mask=mask, nodata=nodata), (1, 2)))


def write_vrt(folder: Path, sources: list[tuple[str, str, float | None]]) -> str:
    """Write one VRT band a source: (path, GDAL's name of the type, nodata)."""
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}">'
        + (f"<NoDataValue>{nodata}</NoDataValue>" if nodata is not None else "")
        + f"<SimpleSource><SourceFilename>{path}</SourceFilename><SourceBand>1</SourceBand>"
        "</SimpleSource></VRTRasterBand>"
        for number, (path, kind, nodata) in enumerate(sources, 1)
    )
    path = folder / "bands.vrt"
    height, width = WHOLE.shape
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">'
        f"<GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform>{bands}</VRTDataset>"
    )
    return str(path)


def test_every_band_has_its_own_nodata_value(write_raster: Callable[..., str], tmp_path: Path):
    first, second = picture("uint8", bands=1), picture("uint8", bands=1)
    first[0, 5:7, 10:13] = 9
    second[0, 7:9, 10:13] = 4
    paths = [write_raster("1.tif", first), write_raster("2.tif", second)]
    vrt = write_vrt(tmp_path, [(paths[0], "Byte", 9), (paths[1], "Byte", 4)])
    assert_hole(read_all(vrt, (1, 2)))


def test_bands_of_different_types_are_read_as_float(
    write_raster: Callable[..., str], tmp_path: Path
):
    paths = [
        write_raster("1.tif", picture("uint8", bands=1)),
        write_raster("2.tif", picture("int16", bands=1, hole=-1)),
    ]
    pixels = read_all(
        write_vrt(tmp_path, [(paths[0], "Byte", None), (paths[1], "Int16", -1)]), (1, 2)
    )
    assert_hole(pixels)
    assert pixels.values.dtype == np.float32


@pytest.mark.parametrize("kind", ["nodata", "mask", "alpha"])
def test_averaging_pixels_leaves_missing_ones_out(write_raster: Callable[..., str], kind: str):
    stored = picture("uint8", bands=1, hole=200)
    mask = np.ones(WHOLE.shape, bool)
    mask[HOLE] = False
    if kind == "nodata":
        path = write_raster("a.tif", stored, nodata=200)
    elif kind == "mask":
        path = write_raster("a.tif", stored, mask=mask)
    else:
        both = np.concatenate([stored, mask[None] * np.uint8(255)])
        path = write_raster("a.tif", both, colours=(ColorInterp.gray, ColorInterp.alpha))
    pixels = read_all(path, (1,), decimation=2)
    assert pixels.values.shape == (1, 10, 15)
    assert set(np.unique(pixels.values[:, pixels.valid])) == {7}
    # Rows 6 and 7, columns 10 and 11: missing as a whole.
    assert not pixels.valid[3, 5]


def test_a_file_that_is_cut_short_is_named_when_its_pixels_are_read(
    write_raster: Callable[..., str], tmp_path: Path
):
    path = Path(write_raster("a.tif", np.ones((2, 300, 300), np.uint8)))
    path.write_bytes(path.read_bytes()[:20_000])
    with (
        open_raster(str(path)) as dataset,
        pytest.raises(
            ImageError, match=r"a\.tif: pixels cannot be read .*truncated; download or write"
        ),
    ):
        PixelSource(dataset, (1, 2), location=str(path)).read(Window(0, 0, 300, 300))


@pytest.mark.parametrize("options", [{}, {"interleave": "band"}, {"compress": "jpeg"}], ids=str)
@pytest.mark.parametrize("step", [2, 3, 8, 15])
def test_averages_are_those_of_gdal_bit_for_bit(write_raster, monkeypatch, options, step: int):
    # Of many values, so that halves occur; strips end within the window.
    monkeypatch.setattr("changedet.raster.pixels._STRIP_PX", 32)
    monkeypatch.setattr("changedet.raster.pixels._STRIP_WIDTH_PX", 48)
    pixels = np.random.default_rng(step).integers(0, 256, (3, 150, 170), dtype=np.uint8)
    path = write_raster("a.tif", pixels, **options)
    window = Window(7, 3, 140 // step * step, 160 // step * step)
    with open_raster(path) as dataset:
        given = PixelSource(dataset, (3, 1, 2), location=path).read(window, decimation=step)
        wanted = dataset.read(
            [3, 1, 2],
            window=rasterio.windows.Window(window.left, window.top, window.width, window.height),
            out_shape=(3, window.height // step, window.width // step),
            resampling=Resampling.average,
        )
    np.testing.assert_array_equal(given.values, wanted)
    assert given.valid.all()
    assert given.valid.shape == wanted.shape[1:]


def test_averages_of_a_file_with_overviews_come_from_these(write_raster):
    path = write_raster("a.tif", np.full((1, 64, 64), 10, np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([4], Resampling.nearest)
    with rasterio.open(path, "r+", OVERVIEW_LEVEL="NONE") as dataset:
        dataset.write(np.full((1, 64, 64), 99, np.uint8))
    with open_raster(path) as dataset:
        source = PixelSource(dataset, (1,), location=path)
        assert (source.read(Window(0, 0, 64, 64), decimation=4).values == 10).all()
        assert (source.read(Window(0, 0, 64, 64)).values == 99).all()
