import json

import numpy as np
import pyogrio.raw
import pyproj
import pytest
import shapely

from changedet.errors import ConfigError, DataError
from changedet.vector.regions import read_label_polygons, read_region
from changedet.vector.vector_file import polygon_place

UTM, DEGREES = "EPSG:32633", "EPSG:4326"


def save(path, geometries, *, crs=UTM, layer="a", kind=None, append=False):
    pyogrio.raw.write(
        path,
        np.array([None if g is None else shapely.to_wkb(g) for g in geometries], dtype=object),
        [np.arange(len(geometries))],
        ["number"],
        crs=crs,
        layer=layer,
        geometry_type=kind or "Unknown",
        append=append,
    )
    return path


def test_a_bounding_box_is_taken_as_it_is():
    assert read_region(" 1, 2,3.5,4 ", crs=UTM).bounds == (1.0, 2.0, 3.5, 4.0)
    assert read_region("1,2,3,4", crs=None).bounds == (1.0, 2.0, 3.0, 4.0)


def test_a_bounding_box_in_another_system_becomes_a_curved_polygon():
    region = read_region("14,45,16,46", crs=UTM, text_crs=DEGREES)
    to_utm = pyproj.Transformer.from_crs(DEGREES, UTM, always_xy=True)
    # The parallel bends away from the straight line between the corners.
    middle = shapely.Point(*to_utm.transform(15.0, 45.0))
    assert region.exterior.distance(middle) < 1.0
    corners = [to_utm.transform(x, 45.0) for x in (14.0, 16.0)]
    assert shapely.LineString(corners).distance(middle) > 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3,2,1,4", "with XMIN < XMAX and YMIN < YMAX, got '3,2,1,4'"),
        ("1,4,3,2", "XMIN < XMAX"),
        ("1,2,1,4", "XMIN < XMAX"),
        ("1,2,3", "XMIN,YMIN,XMAX,YMAX or a"),
        ("1,2,3,x", "or a .gpkg"),
        ("area.kml", "or a .gpkg"),
        ("1,2,3,inf", "finite numbers"),
        ("nan,2,3,4", "finite numbers"),
    ],
)
def test_what_is_no_box_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        read_region(text, crs=UTM)


def test_a_box_whose_system_is_unknown_or_cannot_be_used_is_refused():
    with pytest.raises(ConfigError, match="unknown coordinate reference system 'EPSG:1'"):
        read_region("1,2,3,4", crs=UTM, text_crs="EPSG:1")
    with pytest.raises(ConfigError, match="give the box in pixels"):
        read_region("1,2,3,4", crs=None, text_crs=DEGREES)
    message = (
        r"the bounding box 1,80,2,95: is outside the area where .*: x 1..2, y 80..95 \(WGS 84\)"
    )
    with pytest.raises(DataError, match=message):
        read_region("1,80,2,95", crs=UTM, text_crs=DEGREES)


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson", "a.json"])
def test_all_polygons_of_a_file_are_united_and_brought_to_the_system(tmp_path, name):
    to_utm = pyproj.Transformer.from_crs(DEGREES, UTM, always_xy=True)
    parts = [shapely.box(15, 45, 15.1, 45.1), shapely.box(15.05, 45, 15.2, 45.1)]
    if name.endswith("json"):
        features = [
            {"type": "Feature", "properties": {}, "geometry": json.loads(shapely.to_geojson(part))}
            for part in [*parts, shapely.Point(0, 0)]
        ]
        path = tmp_path / name
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    else:
        path = save(tmp_path / name, parts, crs=DEGREES, kind="Polygon")
    region = read_region(str(path), crs=UTM)
    assert region.geom_type == "Polygon"
    left, bottom, _, top = region.bounds
    assert (left, bottom) == pytest.approx(to_utm.transform(15.0, 45.0), abs=10)
    assert top == pytest.approx(to_utm.transform(15.2, 45.1)[1], abs=10)


def test_the_only_layer_of_polygons_counts_and_other_geometries_do_not(tmp_path):
    many = shapely.MultiPolygon([shapely.box(2, 2, 3, 3), shapely.box(4, 4, 5, 5)])
    path = save(tmp_path / "a.gpkg", [many, shapely.Point(9, 9), None])
    line = [shapely.LineString([(0, 0), (50, 50)])]
    save(path, line, layer="b", kind="LineString", append=True)
    save(path, [shapely.Point(9, 9)], layer="c", append=True)
    assert read_region(str(path), crs=UTM).area == 2.0


def test_several_layers_of_polygons_are_listed_until_one_is_chosen(tmp_path):
    path = save(tmp_path / "a.gpkg", [shapely.box(0, 0, 1, 1)], kind="Polygon")
    save(path, [shapely.box(0, 0, 3, 1)], layer="my fields", append=True)
    save(path, [], layer="planned", kind="MultiPolygon", append=True)
    bounds = (0, 0, 9, 9)

    with pytest.raises(
        DataError, match=r"layers of polygons \('a', 'my fields', 'planned'\); export .*ogr2ogr"
    ):
        read_region(str(path), crs=UTM)
    with pytest.raises(DataError, match=r"'planned'\); name the one that is meant in labels_layer"):
        read_label_polygons(path, crs=UTM, bounds=bounds, key="labels_layer")
    with pytest.raises(DataError, match="no polygon layer 'field'; it has 'a', 'my f"):
        read_label_polygons(path, crs=UTM, bounds=bounds, layer="field")
    (chosen,) = read_label_polygons(path, crs=UTM, bounds=bounds, layer="my fields")
    assert chosen.area == 3.0
    assert read_label_polygons(path, crs=UTM, bounds=bounds, layer="planned") == []


def test_the_place_of_polygons_is_said_in_the_system_that_is_asked_for(tmp_path):
    path = save(tmp_path / "a.gpkg", [shapely.box(15, 45, 15.1, 45.1), shapely.box(16, 45, 17, 46)])
    nowhere = save(tmp_path / "b.gpkg", [shapely.box(1e12, 1e12, 2e12, 2e12)])
    assert polygon_place(path, crs=UTM) == "x 15..17, y 45..46 (WGS 84 / UTM zone 33N)"
    assert polygon_place(path, crs=DEGREES).startswith("x 10.51139..10.51141, y 0.0004")
    assert polygon_place(path, crs=DEGREES).endswith("(WGS 84)")
    assert polygon_place(nowhere, crs=DEGREES).endswith("(WGS 84 / UTM zone 33N)")


def test_labels_may_be_empty_but_an_area_of_interest_may_not(tmp_path):
    empty = save(tmp_path / "a.gpkg", [], kind="Polygon")
    assert read_label_polygons(empty, crs=UTM, bounds=(0, 0, 9, 9)) == []
    assert polygon_place(empty, crs=UTM) is None
    with pytest.raises(DataError, match="it has no polygons"):
        read_region(str(empty), crs=UTM)


def test_a_polygon_that_crosses_itself_is_repaired(tmp_path):
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    path = save(tmp_path / "a.gpkg", [bow], kind="Polygon")
    told: list[str] = []
    region = read_region(str(path), crs=UTM, tell=told.append)
    assert region.is_valid
    assert region.area == pytest.approx(2.0)
    (text,) = told
    assert "a.gpkg: 1 of 1 polygons cross themselves and were repaired" in text


def test_files_that_cannot_serve_are_refused_with_a_reason(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_region(str(tmp_path / "none.gpkg"), crs=UTM)
    (tmp_path / "bad.gpkg").write_text("nothing of the kind")
    with pytest.raises(DataError, match=r"bad.gpkg: cannot be read"):
        read_region(str(tmp_path / "bad.gpkg"), crs=UTM)
    points = save(tmp_path / "points.gpkg", [shapely.Point(0, 0)])
    with pytest.raises(DataError, match="it has no polygons"):
        read_region(str(points), crs=UTM)
    lines = save(tmp_path / "lines.gpkg", [shapely.LineString([(0, 0), (1, 1)])], kind="LineString")
    with pytest.raises(DataError, match="it has no polygons"):
        read_region(str(lines), crs=UTM)
    placed = save(tmp_path / "placed.gpkg", [shapely.box(0, 0, 1, 1)])
    with pytest.raises(DataError, match=r"is in WGS 84 / UTM zone 33N, but the rasters have no"):
        read_region(str(placed), crs=None)
    (tmp_path / "placed.prj").write_text("")
    with pytest.raises(DataError, match="are read from"):
        read_label_polygons(tmp_path / "placed.prj", crs=UTM, bounds=(0, 0, 1, 1))


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize("name", ["a.gpkg", "a.shp"])
def test_a_file_without_system_serves_rasters_without_system_only(tmp_path, name):
    path = save(tmp_path / name, [shapely.box(0, 0, 2, 1)], crs=None, kind="Polygon")
    assert read_region(str(path), crs=None).area == 2.0
    with pytest.raises(DataError, match="ogr2ogr -a_srs"):
        read_region(str(path), crs=UTM)


def test_label_polygons_are_single_parts_that_meet_the_scene(tmp_path):
    many = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(80, 80, 81, 81)])
    path = save(tmp_path / "a.gpkg", [many, shapely.box(9, 9, 30, 30), shapely.box(50, 0, 51, 1)])
    found = read_label_polygons(path, crs=UTM, bounds=(0.5, 0.5, 10, 10))
    assert sorted(polygon.bounds for polygon in found) == [(0, 0, 1, 1), (9, 9, 30, 30)]


def test_label_polygons_in_another_system_are_found_and_moved(tmp_path):
    to_utm = pyproj.Transformer.from_crs(DEGREES, UTM, always_xy=True)
    boxes = [shapely.box(15, 45, 15.001, 45.001), shapely.box(16, 46, 16.001, 46.001)]
    path = save(tmp_path / "a.gpkg", boxes, crs=DEGREES, kind="Polygon")
    x, y = to_utm.transform(15.0005, 45.0005)
    (polygon,) = read_label_polygons(path, crs=UTM, bounds=(x - 500, y - 500, x + 500, y + 500))
    assert polygon.contains(shapely.Point(x, y))


def test_a_scene_without_labels_has_none_but_a_file_without_polygons_is_refused(tmp_path):
    path = save(tmp_path / "a.gpkg", [shapely.box(0, 0, 1, 1)])
    assert read_label_polygons(path, crs=UTM, bounds=(50, 50, 60, 60)) == []
    points = save(tmp_path / "b.gpkg", [shapely.Point(0, 0)])
    with pytest.raises(DataError, match="it has no polygons"):
        read_label_polygons(points, crs=UTM, bounds=(50, 50, 60, 60))


def test_labels_in_degrees_for_a_scene_across_the_antimeridian_are_read_unfiltered(tmp_path):
    boxes = [shapely.box(179.9, 50, 179.99, 50.01), shapely.box(10, 50, 11, 51)]
    path = save(tmp_path / "a.gpkg", boxes, crs=DEGREES, kind="Polygon")
    to_utm = pyproj.Transformer.from_crs(DEGREES, "EPSG:32601", always_xy=True)
    x, y = to_utm.transform(180.0, 50.0)
    bounds = (x - 1e4, y - 1e4, x + 1e4, y + 1e4)
    assert len(read_label_polygons(path, crs="EPSG:32601", bounds=bounds)) == 1
