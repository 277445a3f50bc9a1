"""Polygon files as strangers make them: repaired and said, or refused in one line, in no time."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import shapely

from changedet.errors import DataError
from changedet.vector.regions import read_label_polygons, read_region
from changedet.vector.repair import count_crossings, united, valid_polygons

UTM, DEGREES = "EPSG:32633", "EPSG:4326"
SQUARE = [[15.0, 45.0], [15.1, 45.0], [15.1, 45.1], [15.0, 45.1], [15.0, 45.0]]


def polygon(*rings: list[list[float]]) -> dict:
    return {"type": "Polygon", "coordinates": list(rings)}


def write(folder: Path, *geometries: object, name: str = "a.geojson") -> str:
    features = [{"type": "Feature", "properties": {}, "geometry": one} for one in geometries]
    path = folder / name
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return str(path)


def star(points: int) -> shapely.Polygon:
    """A star of so many points, each of whose edges crosses nearly all others."""
    turns = 2 * np.pi * (np.arange(points) * (points // 2) % points) / points
    return shapely.Polygon(np.stack([np.cos(turns), np.sin(turns)], axis=1))


def test_a_ring_that_is_not_closed_is_closed_and_that_is_said(tmp_path):
    said = []
    path = write(tmp_path, polygon(SQUARE), polygon([[x + 1, y] for x, y in SQUARE[:-1]]))
    region = read_region(path, crs=DEGREES, tell=said.append)
    assert region.area == pytest.approx(0.02)
    assert said == [f"{path}: feature 2: closed rings that were not closed"]


def test_a_ring_of_one_point_is_refused_with_the_number_of_its_feature(tmp_path):
    path = write(tmp_path, polygon(SQUARE), polygon(SQUARE[:1]))
    with pytest.raises(DataError, match=r"a\.geojson: feature 2: the geometry cannot be read"):
        read_region(path, crs=DEGREES)


def test_a_hole_far_outside_of_its_shell_is_cut_off_before_edges_are_divided(tmp_path):
    tiny = [[15 + x / 1e5, 45 + y / 1e5] for x, y in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))]
    hole = [[-170.0, -70.0], [170.0, -70.0], [170.0, 70.0], [160.0, 70.0], [-170.0, -70.0]]
    path = write(tmp_path, polygon(tiny, hole))
    region = read_region(path, crs=UTM)
    assert shapely.get_num_coordinates(region) < 2000


@pytest.mark.parametrize("value", ["NaN", "1e300", "-1e16"])
def test_coordinates_that_are_no_place_are_refused_with_the_feature(tmp_path, value):
    path = write(tmp_path, polygon(SQUARE), polygon(SQUARE))
    text = Path(path).read_text()
    first, _, last = text.rpartition("45.1")
    Path(path).write_text(f"{first}{value}{last}")
    with pytest.raises(DataError, match=r"feature 2: the coordinates 15, .* are not a position"):
        read_region(path, crs=UTM)


def test_names_of_fields_may_be_in_any_encoding(tmp_path):
    path = write(tmp_path, polygon(SQUARE))
    content = (
        Path(path).read_bytes().replace(b'"properties": {}', b'"properties": {"gr\xf6\xdfe": 1}')
    )
    Path(path).write_bytes(content)
    assert read_region(path, crs=DEGREES).area == pytest.approx(0.01)


def test_polygons_inside_of_collections_count_however_deep(tmp_path):
    collection = {"type": "GeometryCollection", "geometries": [polygon(SQUARE)]}
    point = {"type": "Point", "coordinates": [3.0, 4.0]}
    nested = {"type": "GeometryCollection", "geometries": [point, collection]}
    path = write(tmp_path, nested, None, {"type": "GeometryCollection", "geometries": []})
    assert read_region(path, crs=DEGREES).area == pytest.approx(0.01)
    found = read_label_polygons(Path(path), crs=DEGREES, bounds=(15, 45, 16, 46))
    assert len(found) == 1


def test_heights_and_measures_are_left_out(tmp_path):
    path = write(tmp_path, polygon([[x, y, 700.0] for x, y in SQUARE]))
    assert not read_region(path, crs=DEGREES).has_z


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"type": "Polygon", "coordinates": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"type": "FeatureCollection", "features": 3}',
        b'{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": 3}]}',
        b'{"type": "Polygon", "coordinates": "far"}',
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_geojson_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "a.geojson").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_region(str(tmp_path / "a.geojson"), crs=DEGREES)
    assert str(caught.value).startswith(f"{tmp_path}/a.geojson: ")


def test_a_polygon_that_crosses_itself_beyond_repair_is_refused_at_once(tmp_path):
    began = time.monotonic()
    with pytest.raises(DataError, match=r"cross themselves more than 100,000 times"):
        valid_polygons(np.array([star(5001)], dtype=object), name="area.gpkg")
    assert time.monotonic() - began < 2
    mended = valid_polygons(np.array([star(41)], dtype=object), name="area.gpkg")
    assert shapely.is_valid(mended).all()


def test_many_polygons_that_cross_each_other_are_refused_at_once():
    across = [shapely.box(0, y, 2000, y + 0.5) for y in range(2000)]
    down = [shapely.box(x, 0, x + 0.5, 2000) for x in range(2000)]
    with pytest.raises(DataError, match="cross each other"):
        united(np.array(across + down, dtype=object), name="area.gpkg")
    assert united(np.array(across, dtype=object), name="area.gpkg").area == pytest.approx(2e6)


def test_crossings_are_counted_where_there_are_few_and_estimated_where_there_are_many():
    assert count_crossings(np.array([shapely.Point(0, 0).buffer(1, quad_segs=200)])) == 0
    assert count_crossings(np.array([star(1001)])) == pytest.approx(1001 * 998 / 2, rel=0.05)
    # One long edge across a comb: no reason to think that all edges cross as many.
    teeth = [(x / 2, 10 * (x % 2)) for x in range(4000)]
    comb = shapely.Polygon([*teeth, (2000, 5), (-1, 5)])
    assert count_crossings(np.array([comb])) < 10_000


def test_a_reference_system_that_is_none_is_no_traceback(tmp_path, monkeypatch):
    def fail(*_args, **_options):
        raise UnboundLocalError("wkt")

    path = write(tmp_path, polygon(SQUARE))
    monkeypatch.setattr("pyogrio.read_info", fail)
    with pytest.raises(DataError, match=r"a\.geojson: cannot be read"):
        read_region(path, crs=DEGREES)


def test_a_name_that_no_file_can_have_is_no_file():
    with pytest.raises(DataError, match="no such file"):
        read_region("a" * 300 + ".gpkg", crs=DEGREES)


VIRTUAL = b"""<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>%s</SrcDataSource>
</OGRVRTLayer></OGRVRTDataSource>"""


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson", "a.json"])
def test_a_virtual_file_under_another_name_opens_no_other_file(tmp_path, name):
    secret = write(tmp_path, polygon(SQUARE), name="secret.geojson")
    (tmp_path / name).write_bytes(VIRTUAL % secret.encode())
    with pytest.raises(DataError, match=r"cannot be read \(it is no "):
        read_region(str(tmp_path / name), crs=DEGREES)


def test_spaces_and_a_mark_of_the_encoding_may_come_first(tmp_path):
    path = write(tmp_path, polygon(SQUARE))
    content = Path(path).read_bytes()
    Path(path).write_bytes(b"\xef\xbb\xbf \n" + content)
    assert read_region(path, crs=DEGREES).area == pytest.approx(0.01)
