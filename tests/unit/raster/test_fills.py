"""Values that stand for missing pixels are told from dark water, shadow, snow and saturation."""

import numpy as np
import pytest
from scipy import ndimage

from changedet.raster.fills import Fill, SampledWindow, find_fills

SIDE = 128


def ground(
    dtype: str = "uint8", *, bands: int = 3, low: float = 30, high: float = 200
) -> np.ndarray:
    """Smooth ground of many values, (C, SIDE, SIDE)."""
    noise = np.random.default_rng(0).normal(size=(3, SIDE, SIDE))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3))
    scaled = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    values = low + scaled * (high - low)
    return values.round().astype(dtype) if np.dtype(dtype).kind in "iu" else values.astype(dtype)


def found(pixels: np.ndarray, *, valid: np.ndarray | None = None) -> dict[float, Fill]:
    edges = np.ones(pixels.shape[1:], bool)
    edges[1:-1, 1:-1] = False
    known = np.ones(pixels.shape[1:], bool) if valid is None else valid
    return {fill.value: fill for fill in find_fills([SampledWindow(pixels, known, edges)])}


def test_an_image_without_missing_pixels_has_none():
    for dtype, low, high in (("uint8", 0, 255), ("uint16", 200, 4000), ("float32", 0.0, 0.4)):
        assert found(ground(dtype, low=low, high=high)) == {}


@pytest.mark.parametrize(
    ("dtype", "low", "high", "value"),
    [
        ("float32", 0.0, 0.4, -9999.0),
        ("float32", -30.0, 0.0, -9999.0),
        ("float32", 0.0, 0.4, 1e20),
        ("float64", 0.0, 0.4, -1e30),
        ("int16", 0, 4000, -32768),
        ("int16", 200, 4000, -9999),
        ("uint16", 200, 4000, 65535),
        ("uint16", 5000, 8000, 0),
    ],
)
def test_a_marker_far_from_all_other_values_is_certain_wherever_it_lies(
    dtype: str, low: float, high: float, value: float
):
    pixels = ground(dtype, low=low, high=high)
    pixels[:, 40:60, 50:90] = value
    (fill,) = found(pixels).values()
    assert fill.value == np.dtype(dtype).type(value)
    assert fill.kind == "marker"
    assert fill.share == pytest.approx(20 * 40 / SIDE**2)
    assert fill.edge_share == 0.0


def test_a_marker_in_one_band_makes_the_pixel_missing():
    pixels = ground("float32", low=0.0, high=0.4)
    pixels[1, :20] = -9999
    (fill,) = found(pixels).values()
    assert (fill.kind, fill.scope) == ("marker", "any")
    assert fill.share == pytest.approx(20 / SIDE)


def test_markers_that_hide_each_other_are_all_found():
    pixels = ground("int16", low=0, high=4000)
    pixels[:, :10], pixels[:, -10:] = -9999, -32768
    assert {value: fill.kind for value, fill in found(pixels).items()} == {
        -9999: "marker",
        -32768: "marker",
    }


def test_single_extreme_pixels_and_saturated_bands_are_no_markers():
    pixels = ground("uint16", low=200, high=4000)
    pixels[0, 3, 3] = 65535
    # A hot roof: one band is saturated.
    pixels[2, 40:60, 40:60] = 65535
    assert found(pixels) == {}


@pytest.mark.parametrize(
    ("dtype", "low", "high", "value"),
    [
        ("uint8", 30, 200, 0),
        ("uint8", 30, 200, 255),
        ("uint16", 200, 4000, 0),
        ("float32", 0.02, 0.4, 0),
    ],
)
def test_a_collar_of_one_value_at_the_edge_is_certain(
    dtype: str, low: float, high: float, value: float
):
    pixels = ground(dtype, low=low, high=high)
    # The footprint of a satellite's scene, turned against the grid.
    rows, columns = np.indices((SIDE, SIDE))
    outside = rows + columns < 50
    pixels[:, outside] = value
    (fill,) = found(pixels).values()
    assert (fill.value, fill.kind, fill.scope) == (value, "collar", "all")
    assert fill.share == pytest.approx(outside.mean())
    assert fill.edge_share > 0.1


def test_a_collar_of_a_few_columns_is_found():
    pixels = ground()
    pixels[:, :, :2] = 0
    (fill,) = found(pixels).values()
    assert fill.kind == "collar"


def test_a_collar_in_one_band_of_many_is_no_missing_pixel():
    pixels = ground()
    pixels[0, :, :20] = 0
    assert found(pixels) == {}


@pytest.mark.parametrize("value", [0, 255])
def test_dark_water_and_snow_that_reach_the_edge_are_data(value: int):
    pixels = ground()
    rows, columns = np.indices((SIDE, SIDE))
    depth = np.clip(60 - np.hypot(rows - 64, columns), 0, None)
    noise = np.random.default_rng(1).integers(0, 3, (3, SIDE, SIDE))
    away = np.clip(40 - 3 * depth + noise, 0, 255)
    water = depth > 0
    pixels[:, water] = np.where(value == 0, away, 255 - away)[:, water].astype(np.uint8)
    certain = [fill for fill in found(pixels).values() if fill.is_certain]
    assert certain == []


def test_black_areas_inside_the_image_are_left_to_the_user():
    pixels = ground()
    pixels[:, 40:70, 40:70] = 0
    (fill,) = found(pixels).values()
    assert (fill.value, fill.kind) == (0, "unclear")
    assert not fill.is_certain


def test_a_collar_of_an_unusual_value_is_left_to_the_user():
    pixels = ground()
    pixels[:, :20] = 127
    (fill,) = found(pixels).values()
    assert (fill.value, fill.kind) == (127, "unclear")


def test_images_of_few_values_have_no_missing_pixels():
    classes = np.zeros((1, SIDE, SIDE), np.uint8)
    classes[:, 40:80, 40:80] = 200
    assert found(classes) == {}
    assert found(np.zeros((3, SIDE, SIDE), np.float32)) == {}


def test_pixels_that_the_file_declares_missing_do_not_count():
    pixels = ground("float32", low=0.0, high=0.4)
    valid = np.ones((SIDE, SIDE), bool)
    valid[:, :20] = False
    pixels[:, ~valid] = -9999
    assert found(pixels, valid=valid) == {}
