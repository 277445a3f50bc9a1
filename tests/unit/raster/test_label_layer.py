import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from changedet.errors import DataError, ImageError
from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.label_layer import PolygonLayer, RasterLayer
from unusual_crs import MARS

UTM = rasterio.crs.CRS.from_epsg(32631).to_wkt()
GRID = GeoGrid(UTM, Affine(2.0, 0.0, 1000.0, 0.0, -2.0, 5000.0), 40, 60)


@pytest.fixture
def label(tmp_path):
    def write(values, transform=GRID.transform, crs=UTM, **options):
        path = tmp_path / "label.tif"
        bands = values if values.ndim == 3 else values[None]
        profile = {"driver": "GTiff", "crs": crs, "transform": transform, **options}
        count, height, width = bands.shape
        with rasterio.open(
            path, "w", count=count, height=height, width=width, dtype=values.dtype, **profile
        ) as file:
            file.write(bands)
        return str(path)

    return write


def squares(seed, shape=GRID.shape, values=(0, 1, 255)):
    rng = np.random.default_rng(seed)
    return rng.choice(np.array(values, dtype=np.uint8), shape)


def test_a_pixel_belongs_to_a_polygon_if_its_centre_does():
    # From 0.6 px into column 3 to 0.4 px into column 7, rows 10 to 11 whole.
    box = shapely.box(1000 + 2 * 3.6, 5000 - 2 * 12, 1000 + 2 * 7.4, 5000 - 2 * 10)
    layer = PolygonLayer([box], GRID)

    values, known = layer.read(GRID.window)

    expected = np.zeros(GRID.shape, np.uint8)
    expected[10:12, 4:7] = 1
    assert np.array_equal(values, expected)
    assert known.all()


def test_windows_of_polygons_are_parts_of_the_whole_and_overlaps_count_once():
    rng = np.random.default_rng(0)
    corners = rng.uniform((1000, 4920), (1120, 5000), (60, 2))
    shapes = [shapely.Point(x, y).buffer(rng.uniform(1, 12)) for x, y in corners]
    layer = PolygonLayer(shapes, GRID)
    whole = layer.read(GRID.window).values

    assert 0 < whole.mean() < 1
    assert set(np.unique(whole)) == {0, 1}
    for window in (Window(0, 0, 7, 9), Window(13, 20, 20, 31), Window(39, 59, 1, 1)):
        part = layer.read(window).values
        assert np.array_equal(part, whole[window.top : window.bottom, window.left : window.right])


def test_no_polygons_are_all_unchanged():
    values, known = PolygonLayer([], GRID).read(Window(2, 3, 4, 5))
    assert values.shape == (4, 5)
    assert not values.any()
    assert known.all()


def test_a_raster_on_the_very_grid_is_read_as_it_is(label):
    stored = squares(1)
    values, known = RasterLayer(label(stored), GRID).read(Window(5, 6, 20, 30))

    assert np.array_equal(values, stored[5:25, 6:36])
    assert known.all()


def test_a_coarser_shifted_raster_is_read_by_nearest_neighbour_and_unknown_outside(label):
    coarse = squares(2, (6, 8))
    # Four grid pixels a side, beginning 8 rows down and 12 columns right.
    transform = GRID.transform @ Affine.translation(12, 8) @ Affine.scale(4)

    values, known = RasterLayer(label(coarse, transform), GRID).read(GRID.window)

    expected = np.zeros(GRID.shape, np.uint8)
    inside = np.zeros(GRID.shape, bool)
    expected[8:32, 12:44] = np.kron(coarse, np.ones((4, 4), np.uint8))
    inside[8:32, 12:44] = True
    assert np.array_equal(known, inside)
    assert np.array_equal(values, expected)


def test_nodata_of_a_label_is_unknown(label):
    stored = squares(3)
    values, known = RasterLayer(label(stored, nodata=255), GRID).read(GRID.window)

    assert np.array_equal(known, stored != 255)
    assert np.array_equal(values, np.where(stored == 255, 0, stored))


def test_a_label_in_another_crs_keeps_its_values(label):
    lonlat = rasterio.crs.CRS.from_epsg(4326)
    bounds = rasterio.warp.transform_bounds(UTM, lonlat, *GRID.bounds)
    transform = rasterio.transform.from_bounds(*bounds, 60, 40)
    stored = np.full((40, 60), 7, np.uint16)

    values, known = RasterLayer(label(stored, transform, lonlat.to_wkt()), GRID).read(GRID.window)

    assert set(np.unique(values[known])) == {7}
    assert known[5:-5, 5:-5].all()


def test_without_georeference_the_sizes_must_agree(label):
    grid = GeoGrid(None, Affine.identity(), 40, 60)
    stored = squares(4)
    path = label(stored, Affine.translation(1.0, 1.0), None)

    values, known = RasterLayer(path, grid).read(Window(1, 2, 30, 40))
    assert np.array_equal(values, stored[1:31, 2:42])
    assert known.all()
    with pytest.raises(DataError, match="60x40 pixels, the images are 60x41"):
        RasterLayer(path, GeoGrid(None, Affine.identity(), 41, 60))
    with pytest.raises(DataError, match=r"it has no coordinate.*gdal_edit\.py -a_srs"):
        RasterLayer(path, GRID)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.zeros((3, 8, 8), np.uint8), {}, "one band, got 3.*gdal_translate -b 1"),
        (np.zeros((8, 8), np.float32), {}, "whole numbers, got float32.*-ot Byte"),
        (np.zeros((8, 16), np.uint8), {"compress": "jpeg"}, "JPEG compression alters"),
    ],
)
def test_what_is_no_label_is_refused_with_a_remedy(label, values, options, message):
    with pytest.raises(ImageError, match=message):
        RasterLayer(label(values, **options), GRID)


def test_a_label_that_is_cut_short_is_named(label):
    path = label(squares(5, (400, 600)), compress="deflate")
    with open(path, "r+b") as file:  # noqa: PTH123
        file.truncate(5000)
    with pytest.raises(ImageError, match=r"label\.tif"):
        RasterLayer(path, GRID).read(GRID.window)


def test_labels_of_another_planet_are_refused_by_their_crs(label):
    path = label(squares(1), crs=MARS)
    with pytest.raises(
        DataError, match=r"no way leads from its CRS \(Mars eqc\) to that of the im"
    ):
        RasterLayer(path, GRID)
    on_mars = GeoGrid(rasterio.crs.CRS.from_wkt(MARS).to_wkt(), GRID.transform, *GRID.shape)
    values, known = RasterLayer(path, on_mars).read(GRID.window)
    assert np.array_equal(values, squares(1))
    assert known.all()


def test_labels_without_a_crs_must_not_lie_elsewhere(label):
    bare = GeoGrid(None, GRID.transform, *GRID.shape)
    elsewhere = GRID.transform @ Affine.translation(5, 0)
    with pytest.raises(DataError, match="lies at another place than the images"):
        RasterLayer(label(squares(1), crs=None, transform=elsewhere), bare)
    values, _ = RasterLayer(label(squares(1), crs=None), bare).read(GRID.window)
    assert np.array_equal(values, squares(1))
