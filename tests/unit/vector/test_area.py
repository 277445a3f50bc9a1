import math
import warnings

import numpy as np
import pyproj
import pytest
import shapely

from changedet.vector.area import areas_m2, metres_per_unit

WGS84_AREA = 510_065_621_724_089.0  # m², of the whole ellipsoid


def area_m2(geometry: shapely.Geometry, crs: str) -> float:
    return float(areas_m2(np.array([geometry]), crs)[0])


def cell_area(south: float, north: float, width: float) -> float:
    """Closed formula of the area between two parallels and two meridians, WGS 84, degrees."""
    a, f = 6_378_137.0, 1 / 298.257223563
    e = math.sqrt(f * (2 - f))

    def below(latitude: float) -> float:
        s = math.sin(math.radians(latitude))
        return s / (1 - (e * s) ** 2) + math.atanh(e * s) / e

    return math.radians(width) * a**2 * (1 - e**2) / 2 * (below(north) - below(south))


@pytest.mark.parametrize("south", [-80.0, 0.0, 47.3, 89.0])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.5])
def test_a_cell_in_degrees_has_the_area_of_the_closed_formula(south, size):
    area = area_m2(shapely.box(12.0, south, 12.0 + size, south + size), "EPSG:4326")
    expected = cell_area(south, south + size, size)
    # Of 1e-6 degrees (0.1 m) float64 holds eight digits, the difference in the formula six.
    assert area == pytest.approx(expected, rel=2e-6 if size < 1e-4 else 2e-5 * size + 1e-9)


@pytest.mark.parametrize("easting", [500_000.0, 300_000.4, 790_000.0])
@pytest.mark.parametrize("side", [0.1, 30.0])
def test_a_square_in_utm_differs_by_the_scale_of_the_projection(easting, side):
    crs = pyproj.CRS("EPSG:32633")
    square = shapely.box(easting, 5e6, easting + side, 5e6 + side)
    centre = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(easting, 5e6)
    scale = pyproj.Proj(crs).get_factors(*centre).areal_scale
    assert area_m2(square, crs.to_wkt()) == pytest.approx(side**2 / scale, rel=1e-6)


def test_large_polygons_agree_with_geodesic_areas():
    polygon = shapely.Polygon([(400_000, 5e6), (600_000, 5.1e6), (550_000, 5.3e6)])
    crs = pyproj.CRS("EPSG:32633")
    dense = shapely.segmentize(polygon, 500.0)
    to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    x, y = to_degrees.transform(*np.array(dense.exterior.coords).T)
    geodesic, _ = pyproj.Geod(ellps="WGS84").polygon_area_perimeter(x, y)
    assert area_m2(polygon, "EPSG:32633") == pytest.approx(abs(geodesic), rel=1e-7)


def test_an_equal_area_system_gives_its_own_areas():
    square = shapely.box(4e6, 3e6, 4e6 + 1000, 3e6 + 1000)
    assert area_m2(square, "EPSG:3035") == pytest.approx(1e6, rel=1e-8)


def test_holes_are_left_out_and_parts_are_added():
    outer, hole = shapely.box(0, 0, 0.03, 0.03), shapely.box(0.01, 0.01, 0.02, 0.02)
    far = shapely.box(1, 0, 1.01, 0.01)
    together = shapely.MultiPolygon([outer.difference(hole), far])
    expected = [area_m2(part, "EPSG:4326") for part in (outer, hole, far)]
    whole = area_m2(together, "EPSG:4326")
    assert whole == pytest.approx(expected[0] - expected[1] + expected[2], rel=1e-7)


def test_polygons_across_the_antimeridian_and_around_a_pole_are_whole():
    utm = shapely.box(170_000, 10, 170_100, 110)
    assert area_m2(utm, "EPSG:32601") == pytest.approx(1e4, rel=3e-3)
    polar = shapely.Point(0, 0).buffer(1e5, quad_segs=90)
    scale = pyproj.Proj("EPSG:3413").get_factors(-45, 89.6).areal_scale
    assert area_m2(polar, "EPSG:3413") == pytest.approx(polar.area / scale, rel=1e-4)
    cap = shapely.box(-60, 80, 60, 90)
    assert area_m2(cap, "EPSG:4326") == pytest.approx(cell_area(80, 90, 120), rel=2e-3)


def test_units_other_than_metres_and_degrees_are_honoured():
    feet = shapely.box(3e6, 7e5, 3e6 + 1000, 7e5 + 1000)
    assert area_m2(feet, "EPSG:2263") == pytest.approx((1000 * 1200 / 3937) ** 2, rel=3e-3)
    assert metres_per_unit("EPSG:2263") == pytest.approx(1200 / 3937)
    assert metres_per_unit("EPSG:4326") == pytest.approx(111_195, rel=1e-3)
    grads = shapely.box(1.0, 50.0, 1.01, 50.01)
    degrees = shapely.box(0.9, 45.0, 0.909, 45.009)
    # Paris meridian in grads, on Clarke's ellipsoid.
    assert area_m2(grads, "EPSG:4807") == pytest.approx(area_m2(degrees, "EPSG:4326"), rel=1e-3)


def test_systems_with_heights_spheres_and_local_ones_work():
    square = shapely.box(5e5, 5e6, 5e5 + 10, 5e6 + 10)
    plain = area_m2(square, "EPSG:32633")
    assert area_m2(square, "EPSG:32633+5773") == pytest.approx(plain, rel=1e-9)
    bound = pyproj.CRS("+proj=utm +zone=33 +ellps=WGS84 +towgs84=1,2,3 +type=crs")
    assert bound.is_bound
    assert area_m2(square, bound.to_wkt()) == pytest.approx(plain, rel=1e-9)
    sphere = area_m2(shapely.box(0, 0, 1, 1), "+proj=longlat +R=1000 +no_defs +type=crs")
    assert sphere == pytest.approx(1e6 * math.radians(1) * math.sin(math.radians(1)), rel=1e-4)
    local = 'LOCAL_CS["site",UNIT["foot",0.3048]]'
    assert area_m2(shapely.box(0, 0, 10, 10), local) == pytest.approx(100 * 0.3048**2)


def test_many_polygons_at_once_are_measured_like_single_ones_and_none_gives_none():
    boxes = np.array([shapely.box(k, k, k + 0.1 * (k + 1), k + 0.1) for k in range(5)])
    single = [area_m2(box, "EPSG:4326") for box in boxes]
    assert areas_m2(boxes, "EPSG:4326").tolist() == pytest.approx(single, rel=1e-12)
    assert areas_m2(boxes[:0], "EPSG:4326").shape == (0,)


def test_the_globe_in_cells_adds_up_to_the_ellipsoid():
    cells = [shapely.box(0, south, 30, south + 30) for south in range(-90, 90, 30)]
    assert areas_m2(np.array(cells), "EPSG:4326").sum() * 12 == pytest.approx(WGS84_AREA, rel=2e-3)


def test_beyond_the_poles_areas_are_those_in_the_plane_and_no_warning_leaks():
    beyond = shapely.box(10.0, 95.0, 11.0, 96.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (area,) = areas_m2(np.array([beyond]), "EPSG:4326")
    assert area == pytest.approx(metres_per_unit("EPSG:4326") ** 2)
