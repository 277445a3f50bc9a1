from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from changedet.errors import ChangeDetError, DataError, ImageError
from changedet.raster.pair import PairOptions, RasterPair

UTM = "EPSG:32633"
PLACE = Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 5_500_000.0)
ONE_BAND = PairOptions(channels=1)
BLANK = np.ones((1, 40, 40), np.uint8)


def refusal(before: str, after: str, kind: type[ChangeDetError] = DataError) -> str:
    with pytest.raises(kind) as caught:
        RasterPair(before, after, ONE_BAND)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("bare", ["b.tif", "a.tif"])
def test_a_crs_on_one_side_only_is_refused(write_raster: Callable[..., str], bare: str):
    before, after = (
        write_raster(name, BLANK, crs=None if name == bare else UTM) for name in ("b.tif", "a.tif")
    )
    message = refusal(before, after)
    assert f"{bare}: has no CRS" in message
    assert "gdal_edit.py -a_srs EPSG:CODE" in message


def test_without_a_crs_other_sizes_are_refused(write_raster: Callable[..., str]):
    before = write_raster("b.tif", BLANK, crs=None, transform=None)
    after = write_raster("a.tif", BLANK[:, :30], crs=None, transform=None)
    message = refusal(before, after)
    assert "40x40" in message
    assert "40x30" in message


def test_without_a_crs_other_places_are_refused(write_raster: Callable[..., str]):
    before = write_raster("b.tif", BLANK, crs=None)
    after = write_raster("a.tif", BLANK, crs=None, transform=PLACE @ Affine.translation(40, 0))
    assert "different places" in refusal(before, after)


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Affine.rotation(3), "rotated or sheared"),
        (Affine.rotation(90), "rotated or sheared"),
        (Affine.shear(2, 0), "rotated or sheared"),
        (Affine.scale(1, -1), "south to north"),
        (Affine.scale(-1, 1), "east to west"),
    ],
)
def test_an_earlier_raster_that_is_not_north_up_is_refused(
    write_raster: Callable[..., str], turn: Affine, words: str
):
    before = write_raster("b.tif", BLANK, transform=PLACE @ turn)
    message = refusal(before, write_raster("a.tif", BLANK))
    assert words in message
    assert f"{before} north_up.tif" in message
    assert "gdalwarp" in message


def test_ground_control_points_alone_are_refused(write_raster: Callable[..., str]):
    points = [
        GroundControlPoint(row, column, 15 + column / 1e5, 50 - row / 1e5)
        for row in (0, 40)
        for column in (0, 40)
    ]
    path = write_raster("b.tif", BLANK, crs="EPSG:4326", transform=None, gcps=points)
    message = refusal(path, write_raster("a.tif", BLANK), ImageError)
    assert "ground control points only" in message
    assert "gdalwarp -r bilinear" in message


def test_a_sensor_model_alone_is_refused(write_raster: Callable[..., str]):
    numbers: dict[str, Any] = dict.fromkeys(
        ("height_off", "lat_off", "line_off", "long_off", "samp_off"), 1.0
    )
    scales = dict.fromkeys(
        ("height_scale", "lat_scale", "line_scale", "long_scale", "samp_scale"), 1.0
    )
    terms = {
        name: [1.0] * 20
        for name in ("line_den_coeff", "line_num_coeff", "samp_den_coeff", "samp_num_coeff")
    }
    model = RPC(**numbers, **scales, **terms, err_bias=None, err_rand=None)
    path = write_raster("b.tif", BLANK, crs=None, transform=None, rpcs=model)
    assert "gdalwarp -rpc" in refusal(path, write_raster("a.tif", BLANK), ImageError)


def test_a_crs_without_a_place_is_refused(write_raster: Callable[..., str]):
    path = write_raster("b.tif", BLANK, transform=None)
    message = refusal(path, write_raster("a.tif", BLANK), ImageError)
    assert "gdal_edit.py -a_ullr" in message


def test_rasters_that_do_not_meet_are_described_in_degrees_too(
    write_raster: Callable[..., str],
):
    before = write_raster("b.tif", BLANK)
    after = write_raster("a.tif", BLANK, transform=PLACE @ Affine.translation(0, 4000))
    message = refusal(before, after)
    assert "do not overlap" in message
    assert "x 500000..500020, y 5499980..5500000 (longitude 15.0000..15.0003, lat" in message
    assert "y 5497980..5498000" in message


def test_rasters_of_different_crs_that_do_not_meet_are_refused(write_raster: Callable[..., str]):
    before = write_raster("b.tif", BLANK)
    near = Affine(1e-5, 0, 15.01, 0, -1e-5, 49.6)
    after = write_raster("a.tif", BLANK, crs="EPSG:4326", transform=near)
    assert "do not overlap" in refusal(before, after)
    other_end = Affine(1e-5, 0, -160.0, 0, -1e-5, -40.0)
    after = write_raster("a.tif", BLANK, crs="EPSG:4326", transform=other_end)
    refusal(before, after)


def test_rasters_that_touch_do_not_overlap(write_raster: Callable[..., str]):
    before = write_raster("b.tif", BLANK)
    after = write_raster("a.tif", BLANK, transform=PLACE @ Affine.translation(40, 0))
    assert "do not overlap" in refusal(before, after)


@pytest.mark.parametrize("shape", [(1, 300), (300, 15)])
def test_a_sliver_is_no_scene(write_raster: Callable[..., str], shape: tuple[int, int]):
    sliver = write_raster("b.tif", np.ones((1, *shape), np.uint8))
    message = refusal(sliver, write_raster("a.tif", np.ones((1, 300, 300), np.uint8)))
    assert f"only {shape[1]}x{shape[0]} pixels" in message
    assert "16x16" in message


WEST = Affine(1e-4, 0, 179.998, 0, -1e-4, 10.0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # Both in degrees, one counted from -180.
        (("EPSG:4326", WEST), ("EPSG:4326", Affine(1e-4, 0, 179.998 - 360, 0, -1e-4, 10.0))),
        # The footprint of the second in degrees jumps from 180 to -180.
        (("EPSG:4326", WEST), ("EPSG:32601", None)),
        # Longitudes beyond 180 never come out of a conversion to degrees.
        (("EPSG:32601", None), ("EPSG:4326", WEST)),
    ],
)
def test_pairs_across_the_antimeridian_are_sent_to_a_crs_centred_there(
    write_raster: Callable[..., str], first: tuple[str, Any], second: tuple[str, Any]
):
    paths = []
    for name, (crs, place) in zip(("b.tif", "a.tif"), (first, second), strict=True):
        if place is None:
            x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(179.998, 10.0)
            place = Affine(11, 0, x, 0, -11, y)
        paths.append(write_raster(name, BLANK, crs=crs, transform=place))
    message = refusal(*paths)
    assert "antimeridian" in message
    assert "gdalwarp -t_srs '+proj=laea +lat_0=10 +lon_0=180 +datum=WGS84'" in message
    assert all(path in message for path in paths)


def test_a_raster_of_the_whole_world_serves_a_local_one(write_raster: Callable[..., str]):
    world = np.full((1, 900, 1800), 5, np.uint8)
    before = write_raster("b.tif", BLANK, transform=PLACE @ Affine.scale(100))
    place = Affine(0.2, 0, -180, 0, -0.2, 90)
    after = write_raster("a.tif", world, crs="EPSG:4326", transform=place)
    with RasterPair(before, after, ONE_BAND) as pair:
        pixels = pair.read(pair.grid.window)
        assert pair.coverage.before == 1.0
        assert 0 < pair.coverage.after < 1e-4
    assert pixels.valid.all()
    assert (pixels.after == 5).all()


def test_a_local_raster_lies_on_one_of_the_whole_world(write_raster: Callable[..., str]):
    world = np.full((1, 900, 1800), 5, np.uint8)
    place = Affine(0.2, 0, -180, 0, -0.2, 90)
    before = write_raster("b.tif", world, crs="EPSG:4326", transform=place)
    after = write_raster(
        "a.tif", np.full((1, 800, 800), 9, np.uint8), transform=PLACE @ Affine.scale(1000)
    )
    with RasterPair(before, after, ONE_BAND) as pair:
        pixels = pair.read(pair.grid.window)
        assert pair.coverage.after == pytest.approx(1.0, abs=1e-3)
    assert 16 <= min(pair.grid.shape) < 60
    assert pixels.valid.mean() > 0.8
    assert set(np.unique(pixels.after[pixels.valid])) == {9}


def test_rasters_that_cannot_be_laid_over_each_other_are_refused(
    write_raster: Callable[..., str],
):
    # Half of the Earth seen from space: its corners show the sky.
    globe = Affine(4e5, 0, -8e6, 0, -4e5, 8e6)
    before = write_raster("b.tif", BLANK, crs="+proj=ortho +lat_0=0 +lon_0=0", transform=globe)
    world = Affine(9.0, 0, -180, 0, -4.5, 90)
    message = refusal(before, write_raster("a.tif", BLANK, crs="EPSG:4326", transform=world))
    assert "cannot be transformed to the CRS of" in message
    assert "gdalwarp -t_srs CRS -te -8000000 -8000000 8000000 8000000" in message


def test_a_crs_that_is_not_of_this_earth_needs_the_same_on_the_other_side(
    write_raster: Callable[..., str],
):
    site = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    before, after = write_raster("b.tif", BLANK, crs=site), write_raster("a.tif", BLANK)
    assert "gdal_edit.py -a_srs" in refusal(before, after)
    assert "gdalwarp -t_srs EPSG:32633 -te 500000 5499980 500020" in refusal(after, before)
    far = write_raster("c.tif", BLANK, crs=site, transform=PLACE @ Affine.translation(99, 0))
    assert "c.tif covers x 500049.5..500069.5, y 5499980..5500000;" in refusal(before, far)
    with RasterPair(before, before, ONE_BAND) as pair:
        assert pair.read(pair.grid.window).valid.all()


def test_a_view_that_is_undefined_beyond_the_scene_is_read_whole(
    write_raster: Callable[..., str],
):
    # A cell of the lattice reaches over the edge of the visible Earth; the scene does not.
    view = Affine(3e4, 0, -6e5, 0, -3e4, 6e5)
    before = write_raster("b.tif", BLANK, crs="+proj=ortho +lat_0=40 +lon_0=0", transform=view)
    world = Affine(0.4, 0, -180, 0, -0.4, 90)
    after = write_raster(
        "a.tif", np.full((1, 450, 900), 5, np.uint8), crs="EPSG:4326", transform=world
    )
    with RasterPair(before, after, ONE_BAND) as pair:
        pixels = pair.read(pair.grid.window)
    assert pixels.valid.all()
    assert (pixels.after == 5).all()


def test_rasters_of_different_latitudes_on_both_ends_of_the_map_do_not_meet(
    write_raster: Callable[..., str],
):
    before = write_raster("b.tif", BLANK, crs="EPSG:4326", transform=WEST)
    south = Affine(1e-4, 0, -180.002, 0, -1e-4, -10.0)
    after = write_raster("a.tif", BLANK, crs="EPSG:4326", transform=south)
    assert "do not overlap" in refusal(before, after)


def test_diagonal_neighbours_do_not_overlap_although_their_bounds_do(
    write_raster: Callable[..., str],
):
    # The corner of the bounding box of a turned square is not part of the square.
    turned = PLACE @ Affine.translation(60, 0) @ Affine.rotation(45) @ Affine.translation(0, 5)
    before = write_raster("b.tif", np.ones((1, 20, 20), np.uint8))
    after = write_raster("a.tif", BLANK, transform=turned)
    assert "do not overlap" in refusal(before, after)
