"""What is shown is what the prediction reads, whatever marks missing pixels."""

from contextlib import closing

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp, Resampling

pytest.importorskip("rio_tiler")

import pathlib

from changedet.errors import ImageError
from changedet.raster.bands import alpha_bands
from changedet.raster.geo_grid import Window
from changedet.raster.info import RasterInfo, read_info
from changedet.raster.open import open_raster
from changedet.raster.pixel_rules import PixelRules
from changedet.raster.read_plan import plan_reading
from changedet.raster.readers import PairReaders
from changedet.raster.shown import ShownDate, ShownScores

SIDE = 96
# Inside, and up to the right and lower edge.
WINDOWS = [Window(0, 0, SIDE, SIDE), Window(32, 16, 32, 64), Window(64, 64, 32, 32)]


def pixels(dtype: str, bands: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, (bands, SIDE, SIDE)).astype(dtype)


def holes(dtype: str, bands: int, **profile: object) -> tuple[np.ndarray, dict[str, object]]:
    """Pixels with holes in a corner, of all bands or of one."""
    values = pixels(dtype, bands)
    values[:, :20, :20] = 0
    values[0, 40:50, 40:50] = 0
    return values, profile


def half_transparent() -> tuple[np.ndarray, dict[str, object]]:
    values = pixels("uint8", 4)
    values[3] = 255
    values[3, :30], values[3, 30:60] = 0, 128
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    return values, {"colours": colours}


def gaps() -> tuple[np.ndarray, dict[str, object]]:
    values = pixels("float32", 3)
    values[1, :25] = np.nan
    return values, {}


def masked() -> tuple[np.ndarray, dict[str, object]]:
    mask = np.ones((SIDE, SIDE), np.bool_)
    mask[70:, 70:] = False
    return pixels("uint16", 3), {"mask": mask}


def info(path: str) -> RasterInfo:
    with open_raster(path) as file:
        bands = tuple(set(file.indexes) - set(alpha_bands(file)))
        return read_info(file, location=path, bands=bands)


KINDS = {
    "plain": lambda: (pixels("uint8", 3), {}),
    "nodata of unsigned integers": lambda: holes("uint16", 3, nodata=0),
    "nodata of signed integers": lambda: holes("int16", 2, nodata=0),
    "half transparent": half_transparent,
    "NaN": gaps,
    "mask": masked,
    "without CRS": lambda: (pixels("uint8", 3), {"crs": None, "transform": None}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_dates_are_shown_as_the_prediction_reads_them(write_raster, kind):
    values, profile = KINDS[kind]()
    files = [write_raster(f"{name}.tif", values, **profile) for name in ("before", "after")]
    infos = [info(file) for file in files]
    rules = PixelRules(), PixelRules()
    plan = plan_reading(*infos, WINDOWS[0], resampling="bilinear", shift_px=(0.0, 0.0))
    with closing(PairReaders(plan, rules)) as read:
        for date, reader in (("before", read.before), ("after", read.after)):
            with closing(ShownDate(plan, date, rules=rules[0])) as shown:
                for window in WINDOWS:
                    expected, found = reader(window), shown.read(window)
                    np.testing.assert_array_equal(found.values, expected.values)
                    np.testing.assert_array_equal(found.valid, expected.valid)
                    assert found.values.dtype == expected.values.dtype


def test_what_comes_from_overviews_is_what_gdal_gives(write_raster):
    scores = np.random.default_rng(0).random((1, SIDE, SIDE), np.float32)
    scores[0, :10] = np.nan
    path = write_raster("score.tif", scores, nodata=float("nan"), tiled=True, blockxsize=16)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.nearest)
    with closing(ShownScores(path)) as shown, rasterio.open(path) as file:
        for step in (1, 2, 4):
            for window in WINDOWS:
                values, valid = shown.read(window, step)
                expected = file.read(
                    1,
                    window=((window.top, window.bottom), (window.left, window.right)),
                    out_shape=(window.height // step, window.width // step),
                )
                np.testing.assert_array_equal(values, expected)
                np.testing.assert_array_equal(valid, ~np.isnan(expected))


def test_a_file_that_is_cut_short_is_told(write_raster, tmp_path):
    path = write_raster("whole.tif", np.ones((1, SIDE, SIDE), np.float32))
    with pathlib.Path(path).open("rb") as file:
        (tmp_path / "cut.tif").write_bytes(file.read()[: SIDE * SIDE * 2])
    with closing(ShownScores(path)) as whole:
        whole.check_end()
    with (
        pytest.raises(ImageError, match=r"cut\.tif"),
        closing(ShownScores(str(tmp_path / "cut.tif"))) as cut,
    ):
        cut.check_end()
