from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from changedet.raster import warp
from changedet.raster.geo_grid import Window
from changedet.raster.pair import PairOptions, RasterPair
from changedet.raster.pixels import Pixels
from changedet.raster.warp import CELL_PX, lattice_cells, resample

UTM = "EPSG:32633"
ORIGIN = (500_000.0, 5_500_000.0)
BEFORE = Affine(0.5, 0.0, ORIGIN[0], 0.0, -0.5, ORIGIN[1])


def degrees_grid(pixels_per_pixel: float = 1.1) -> Affine:
    """Give a grid in EPSG:4326 around ORIGIN whose pixels are not quite those of BEFORE."""
    to_degrees = Transformer.from_crs(UTM, 4326, always_xy=True)
    lon, lat = to_degrees.transform(*ORIGIN)
    right, _ = to_degrees.transform(ORIGIN[0] + 1, ORIGIN[1])
    _, below = to_degrees.transform(ORIGIN[0], ORIGIN[1] - 1)
    step = 0.5 * pixels_per_pixel
    x, y = step * (right - lon), step * (below - lat)
    return Affine(x, 0, lon - 20.3 * x, 0, y, lat - 20.7 * y)


def ramps(shape: tuple[int, int]) -> np.ndarray:
    """Give pixels that hold their own position: column, row and a constant."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.stack([columns, rows, np.full(shape, 7)]).astype(np.float32)


def expected_positions(transform: Affine, window: Window, *, crs: Any) -> tuple[Any, Any]:
    """Give column and row, counted from pixel centres, of the centres of BEFORE's pixels."""
    columns, rows = np.meshgrid(
        np.arange(window.left, window.right) + 0.5, np.arange(window.top, window.bottom) + 0.5
    )
    x, y = BEFORE.a * columns + BEFORE.c, BEFORE.e * rows + BEFORE.f
    x, y = Transformer.from_crs(UTM, crs, always_xy=True).transform(x, y)
    inverse = ~transform
    return (
        inverse.a * x + inverse.b * y + inverse.c - 0.5,
        inverse.d * x + inverse.e * y + inverse.f - 0.5,
    )


ROTATED = (
    Affine.translation(ORIGIN[0] + 40, ORIGIN[1] + 10)
    @ Affine.rotation(-20)
    @ Affine.scale(0.45, -0.55)
)
SOUTH_UP = Affine(0.45, 0, ORIGIN[0] - 3.1, 0, 0.45, ORIGIN[1] - 160.7)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [("EPSG:4326", degrees_grid()), (UTM, ROTATED), (UTM, SOUTH_UP), ("EPSG:32632", None)],
)
@pytest.mark.parametrize("method", ["bilinear", "cubic"])
def test_every_pixel_gets_what_lies_at_its_centre(
    write_raster: Callable[..., str],
    crs: str,
    transform: Affine | None,
    method: Literal["bilinear", "cubic"],
):
    if transform is None:
        x, y = Transformer.from_crs(UTM, crs, always_xy=True).transform(*ORIGIN)
        transform = Affine(0.6, 0, x - 50, 0, -0.6, y + 50)
    before = write_raster("b.tif", np.ones((3, 300, 280), np.float32))
    after = write_raster("a.tif", ramps((400, 420)), crs=crs, transform=transform)
    options = PairOptions(pixel_type="float32", resampling=method)
    with RasterPair(before, after, options) as pair:
        pixels = pair.read(pair.grid.window)
        place = (~BEFORE) @ pair.grid.transform
        window = Window(round(place.f), round(place.c), *pair.grid.shape)
    column, row = expected_positions(transform, window, crs=crs)
    inside = (column > 1) & (column < 418) & (row > 1) & (row < 398)
    assert inside.mean() > 0.5
    assert pixels.valid[inside].all()
    np.testing.assert_allclose(pixels.after[inside][:, 0], column[inside], atol=0.01)
    np.testing.assert_allclose(pixels.after[inside][:, 1], row[inside], atol=0.01)
    np.testing.assert_allclose(pixels.after[pixels.valid][:, 2], 7, atol=1e-5)
    outside = (column < -0.51) | (column > 419.51) | (row < -0.51) | (row > 399.51)
    assert not pixels.valid[outside].any()


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_a_window_holds_the_same_pixels_as_the_whole(
    write_raster: Callable[..., str], data: st.DataObject
):
    shape = (CELL_PX + 70, CELL_PX + 40)
    noise = np.random.default_rng(1).integers(0, 255, (1, 500, 500), dtype=np.uint8)
    before = write_raster("b.tif", np.ones((1, *shape), np.uint8))
    after = write_raster("a.tif", noise, crs="EPSG:4326", transform=degrees_grid(0.97), nodata=3)
    method = data.draw(st.sampled_from(["nearest", "bilinear", "cubic"]))
    top, left = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
    height = data.draw(st.integers(1, shape[0] - top))
    width = data.draw(st.integers(1, shape[1] - left))
    with RasterPair(before, after, PairOptions(channels=1, resampling=method)) as pair:
        whole = pair.read(pair.grid.window)
        part = pair.read(Window(top, left, height, width))
    place = np.s_[top : top + height, left : left + width]
    for got, all_pixels in zip(part, whole, strict=True):
        np.testing.assert_array_equal(got, all_pixels[place])


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_the_nodata_value_makes_no_difference_to_the_pixels_beside_it(
    write_raster: Callable[..., str], method: Any, dtype: str
):
    rng = np.random.default_rng(2)
    scene = rng.integers(1000, 3000, (2, 200, 200)).astype(dtype)
    missing = rng.random((200, 200)) < 0.1
    missing[50:90, 60:130] = True
    before = write_raster("b.tif", np.ones((2, 150, 150), dtype))
    results = []
    for nodata in (0, 65535) if dtype == "uint16" else (0, 65535, -9999, float("nan")):
        stored = np.where(missing, np.array(nodata, dtype), scene)
        after = write_raster(
            "a.tif", stored, crs="EPSG:4326", transform=degrees_grid(1.05), nodata=nodata
        )
        options = PairOptions(channels=2, pixel_type=dtype, resampling=method)
        with RasterPair(before, after, options) as pair:
            results.append(pair.read(pair.grid.window))
    for other in results[1:]:
        np.testing.assert_array_equal(other.valid, results[0].valid)
        np.testing.assert_array_equal(other.after, results[0].after)
    assert 0.5 < results[0].valid.mean() < 0.95
    seen = results[0].after[results[0].valid]
    # A cubic filter overshoots; blending in 0 or 65535 would leave this range by far.
    margin = 2000 if method == "cubic" else 0
    assert seen.min() >= 1000 - margin
    assert seen.max() <= 3000 + margin


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
@pytest.mark.parametrize("kind", ["nan", "lowest", "alpha and nodata", "mask and nodata"])
def test_missing_pixels_of_any_kind_make_no_difference_to_the_pixels_beside_them(
    write_raster: Callable[..., str], kind: str, method: Any
):
    rng = np.random.default_rng(4)
    is_float = kind in ("nan", "lowest")
    dtype = "float32" if is_float else "uint8"
    scene = rng.integers(1, 200, (2, 200, 200)).astype(dtype)
    missing = rng.random((200, 200)) < 0.1
    first = missing & (np.arange(200) < 100)
    grid: dict[str, Any] = {"crs": "EPSG:4326", "transform": degrees_grid(1.05)}
    declared = write_raster("a.tif", np.where(missing, 0, scene), nodata=0, **grid)
    if is_float:
        value = np.float32(np.nan if kind == "nan" else np.finfo(np.float32).min)
        other = write_raster("o.tif", np.where(missing, value, scene), **grid)
    elif kind == "mask and nodata":
        stored = np.where(missing & ~first, np.uint8(0), scene)
        other = write_raster("o.tif", stored, mask=~first, nodata=0, **grid)
    else:
        opaque = np.where(first, 0, 255).astype(np.uint8)
        stored = np.concatenate([np.where(missing & ~first, np.uint8(0), scene), opaque[None]])
        colours = (ColorInterp.red, ColorInterp.green, ColorInterp.alpha)
        other = write_raster("o.tif", stored, colours=colours, nodata=0, **grid)
    before = write_raster("b.tif", np.ones((2, 150, 150), dtype))
    results = []
    for after in (declared, other):
        options = PairOptions(channels=2, pixel_type=dtype, resampling=method)
        with RasterPair(before, after, options) as pair:
            results.append(pair.read(pair.grid.window))
    assert 0.5 < results[0].valid.mean() < 0.95
    np.testing.assert_array_equal(results[1].valid, results[0].valid)
    np.testing.assert_array_equal(results[1].after, results[0].after)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_dark_pixels_beside_holes_stay_whatever_the_nodata_value_and_the_window(
    write_raster: Callable[..., str], dtype: str
):
    rng = np.random.default_rng(2)
    scene = rng.integers(1, 200, (3, 300, 300)).astype(dtype)
    scene[2, rng.random((300, 300)) < 0.3] = 0
    missing = rng.random((300, 300)) < 0.1
    before = write_raster("b.tif", np.ones((3, 280, 280), dtype))
    results = []
    for nodata in (0, 255) if dtype == "uint8" else (0, 255, 65535):
        stored = np.where(missing, np.array(nodata, dtype), scene)
        after = write_raster(
            "a.tif", stored, crs="EPSG:4326", transform=degrees_grid(1.05), nodata=nodata
        )
        with RasterPair(before, after, PairOptions(pixel_type=dtype)) as pair:
            results.append(pair.read(pair.grid.window))
            part = pair.read(Window(100, 120, 150, 140))
        for got, whole in zip(part, results[-1], strict=True):
            np.testing.assert_array_equal(got, whole[100:250, 120:260])
    for other in results[1:]:
        np.testing.assert_array_equal(other.valid, results[0].valid)
        np.testing.assert_array_equal(other.after, results[0].after)
    assert 0.85 < results[0].valid.mean() < 0.95


def test_holes_do_not_change_a_constant_picture(write_raster: Callable[..., str]):
    stored = np.full((1, 200, 200), 90, np.uint8)
    stored[:, np.random.default_rng(3).random((200, 200)) < 0.2] = 0
    before = write_raster("b.tif", np.ones((1, 150, 150), np.uint8))
    after = write_raster("a.tif", stored, crs="EPSG:4326", transform=degrees_grid(), nodata=0)
    with RasterPair(before, after, PairOptions(channels=1)) as pair:
        pixels = pair.read(pair.grid.window)
    assert set(np.unique(pixels.after[pixels.valid])) == {90}
    assert 0.7 < pixels.valid.mean() < 0.9


@pytest.mark.parametrize("finer", [3, 10])
def test_a_much_finer_raster_is_averaged_not_sampled(write_raster: Callable[..., str], finer: int):
    # Stripes of one source pixel: any sampling would show some of them.
    stored = np.zeros((1, 40 * finer, 40 * finer), np.float32)
    stored[:, :, ::2] = 200
    before = write_raster("b.tif", np.ones((1, 40, 40), np.float32))
    after = write_raster("a.tif", stored, transform=BEFORE @ Affine.scale(1 / finer))
    with RasterPair(before, after, PairOptions(channels=1, pixel_type="float32")) as pair:
        pixels = pair.read(pair.grid.window)
    assert pixels.valid.all()
    np.testing.assert_allclose(pixels.after[2:-2, 2:-2], 100, atol=20 if finer == 3 else 2)


@pytest.mark.parametrize("finer", [3, 10])
def test_averaging_does_not_move_the_picture(write_raster: Callable[..., str], finer: int):
    stored = ramps((40 * finer, 40 * finer))
    before = write_raster("b.tif", np.ones((3, 40, 40), np.float32))
    after = write_raster("a.tif", stored, transform=BEFORE @ Affine.scale(1 / finer))
    with RasterPair(before, after, PairOptions(pixel_type="float32")) as pair:
        pixels = pair.read(pair.grid.window)
    centres = (np.arange(40) + 0.5) * finer - 0.5
    np.testing.assert_allclose(pixels.after[20, 2:-2, 0], centres[2:-2], atol=0.05)
    np.testing.assert_allclose(pixels.after[2:-2, 20, 1], centres[2:-2], atol=0.05)


def test_overlapping_windows_are_warped_once(
    write_raster: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    side = 4 * CELL_PX
    before = write_raster("b.tif", np.ones((1, side, side), np.uint8))
    after = write_raster("a.tif", np.ones((1, side, side), np.uint8), transform=SOUTH_UP)
    warped: list[Affine] = []

    def spy(pixels: Pixels, places: tuple[Affine, Affine], **options: Any) -> Pixels:
        warped.append(places[1])
        return resample(pixels, places, **options)

    monkeypatch.setattr(warp, "resample", spy)
    with RasterPair(before, after, PairOptions(channels=1)) as pair:
        for left in range(0, 2 * CELL_PX, 32):
            pair.read(Window(0, left, 60, 60))
        assert len(set(warped)) == len(warped) == 3
        monkeypatch.setattr("changedet.raster.warp._SEEN_BYTES", 1)
        with pair.with_shift((0.5, 0.0)) as other:
            warped.clear()
            for _ in range(2):
                other.read(Window(0, 0, 60, CELL_PX + 60))
    # Of two cells, room for one keeps none that is asked for again.
    assert len(warped) == 4


def test_nothing_of_an_earlier_picture_is_left_in_the_next():
    utm = CRS.from_epsg(32633)
    place = Affine.translation(1000, 1000)
    for shape, value in (((30, 70), 3), ((90, 20), 5), ((10, 10), 7)):
        given = Pixels(np.full((1, *shape), value, np.uint8), np.ones(shape, bool))
        pixels = resample(given, (place, place), crs=(utm, utm), method="bilinear")
        expected = np.zeros((CELL_PX, CELL_PX), bool)
        expected[: shape[0], : shape[1]] = True
        np.testing.assert_array_equal(pixels.valid, expected)
        np.testing.assert_array_equal(pixels.values[0], expected * value)


def test_cells_of_the_lattice_cover_a_window_and_no_more():
    window = Window(CELL_PX - 1, 3, 2, CELL_PX)
    cells = list(lattice_cells(window))
    assert [(cell.top, cell.left) for cell, _ in cells] == [
        (0, 0),
        (0, CELL_PX),
        (CELL_PX, 0),
        (CELL_PX, CELL_PX),
    ]
    assert sum(part.height * part.width for _, part in cells) == window.height * window.width
    assert all(cell.intersect(part) == part for cell, part in cells)
