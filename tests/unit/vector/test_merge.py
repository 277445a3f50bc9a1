"""Polygons of many scenes in one GeoParquet file."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely

from changedet.errors import DataError
from changedet.vector.merge import MergedPolygons, bring_to, check_common_crs
from changedet.vector.polygon_file import NumberedPolygons
from changedet.vector.table import PolygonTable

pq = pytest.importorskip("pyarrow.parquet")

FIELDS = {"scene": "string", "after_date": "instant"}
UTM31, UTM60 = "EPSG:32631", "EPSG:32660"


def polygons(*boxes: tuple[float, float, float, float]) -> NumberedPolygons:
    shapes = np.array([shapely.box(*box) for box in boxes], dtype=object)
    count = len(boxes)
    figures = np.full(count, 0.75)
    table = PolygonTable(shapes, shapely.area(shapes), np.full(count, 4), figures, figures + 0.125)
    return NumberedPolygons(np.arange(1, count + 1), table)


def merged(path: Path, crs: str = "EPSG:4326") -> tuple[dict, list[dict]]:
    file = MergedPolygons(path, crs=crs, fields=FIELDS)
    date = datetime(2024, 6, 1, tzinfo=UTC)
    file.add(["a", date], polygons((5e5, 5e6, 500_010, 5_000_020)), crs=UTM31, name="a")
    file.add(["none", date], polygons(), crs=UTM31, name="none")
    file.add(
        ["b", None],
        polygons((4.0, 45.2, 4.001, 45.201), (4.01, 45.2, 4.02, 45.21)),
        crs="EPSG:4326",
        name="b",
    )
    assert file.count == 3
    file.complete()
    table = pq.ParquetFile(path)
    return json.loads(table.metadata.metadata[b"geo"]), table.read().to_pylist()


def test_scenes_of_different_crs_in_one(tmp_path: Path) -> None:
    geo, rows = merged(tmp_path / "all.parquet")
    assert [(row["scene"], row["id"]) for row in rows] == [("a", 1), ("b", 1), ("b", 2)]
    assert rows[0]["after_date"] == datetime(2024, 6, 1, tzinfo=UTC)
    assert rows[1]["after_date"] is None
    assert (rows[0]["area_m2"], rows[0]["mean_score"], rows[0]["max_score"]) == (200, 0.75, 0.875)
    shape = shapely.from_wkb(rows[0]["geometry"])
    to_lonlat = pyproj.Transformer.from_crs(UTM31, "EPSG:4326", always_xy=True)
    corners = to_lonlat.transform([5e5, 500_010], [5e6, 5_000_020])
    assert shape.bounds == pytest.approx(
        (min(corners[0]), min(corners[1]), max(corners[0]), max(corners[1])), abs=1e-6
    )
    assert rows[0]["bbox"] == dict(zip(("xmin", "ymin", "xmax", "ymax"), shape.bounds, strict=True))
    # GeoParquet 1.1.0
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert column["geometry_types"] == ["Polygon"]
    assert pyproj.CRS.from_json_dict(column["crs"]) == pyproj.CRS("EPSG:4326")
    assert column["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]
    assert column["bbox"][0] == pytest.approx(3.0, abs=0.001)
    assert column["bbox"][2:] == [4.02, 45.21]


def test_another_crs(tmp_path: Path) -> None:
    geo, rows = merged(tmp_path / "all.parquet", crs="EPSG:3035")
    assert pyproj.CRS.from_json_dict(geo["columns"]["geometry"]["crs"]).to_epsg() == 3035
    assert all(row["bbox"]["xmin"] > 3e6 for row in rows)


def test_groups_of_rows_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("changedet.vector.merge._GROUP", 4)
    path = tmp_path / "all.parquet"
    file = MergedPolygons(path, crs="EPSG:4326", fields=FIELDS)
    for number in range(6):
        pair = polygons((0, 0, 1, 1), (2, 2, 3, 3))
        file.add([f"s{number}", None], pair, crs="EPSG:4326", name="s")
    file.complete()
    read = pq.ParquetFile(path)
    assert [read.metadata.row_group(group).num_rows for group in range(3)] == [4, 4, 4]
    assert read.read(["scene"])["scene"].to_pylist()[-2:] == ["s5", "s5"]


def test_long_edges_become_curves_and_short_ones_get_no_points() -> None:
    shapes = polygons(
        (5e5, 6e6, 5e5 + 1e5, 6e6 + 10), (5e5, 6e6, 500_010, 6_000_010)
    ).table.geometry
    moved = bring_to(shapes, source=UTM31, target="EPSG:4326", name="x")
    assert shapely.get_num_coordinates(moved[0]) > 200
    assert shapely.get_num_coordinates(moved[1]) == 5


def test_what_crosses_the_antimeridian_is_cut_there() -> None:
    # In UTM zone 60 at the equator, 180 degrees east lie at x = 833,978.
    shapes = polygons((833_900, 0, 834_100, 100), (800_000, 0, 800_100, 100)).table.geometry
    across, beside = bring_to(shapes, source=UTM60, target="EPSG:4326", name="x")
    assert across.geom_type == "MultiPolygon"
    assert across.is_valid
    assert across.bounds[0] == -180.0
    assert across.bounds[2] == 180.0
    assert beside.geom_type == "Polygon"
    alone, _ = shapes
    geod = pyproj.Geod(ellps="WGS84")
    assert abs(geod.geometry_area_perimeter(across)[0]) == pytest.approx(alone.area, rel=0.01)


def test_no_way_to_the_crs() -> None:
    shapes = polygons((0, 0, 1, 1)).table.geometry
    moon = "+proj=longlat +R=1737400 +no_defs"
    with pytest.raises(DataError, match="no way leads from"):
        bring_to(shapes, source=moon, target="EPSG:4326", name="x")
    with pytest.raises(DataError, match="there is no CRS 'EPSG:1'"):
        check_common_crs("EPSG:1")
    assert check_common_crs("EPSG:3857") == "EPSG:3857"
