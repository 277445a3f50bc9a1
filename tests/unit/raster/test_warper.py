import numpy as np
from affine import Affine
from rasterio.crs import CRS

from changedet.raster.pixels import Pixels
from changedet.raster.warper import Warper

PLACE = Affine.translation(1000, 1000)
UTM = CRS.from_epsg(32633)


def make_warper(side_px: int) -> Warper:
    return Warper(
        count=1,
        dtype=np.dtype(np.uint8),
        crs=(UTM, UTM),
        side_px=side_px,
        settings={"resampling": "bilinear", "XSCALE": 1, "YSCALE": 1},
    )


def constant(shape: tuple[int, int], value: int) -> Pixels:
    return Pixels(np.full((1, *shape), value, np.uint8), np.ones(shape, bool))


def test_nothing_of_an_earlier_picture_is_left_in_the_next():
    warper = make_warper(100)
    for shape, value in (((30, 70), 3), ((90, 20), 5), ((10, 10), 7)):
        pixels = warper.warp(constant(shape, value), PLACE, PLACE)
        expected = np.zeros((100, 100), bool)
        expected[: shape[0], : shape[1]] = True
        np.testing.assert_array_equal(pixels.valid, expected)
        np.testing.assert_array_equal(pixels.values[0], expected * value)
    warper.close()


def test_a_warper_that_was_never_used_can_be_closed():
    make_warper(8).close()
