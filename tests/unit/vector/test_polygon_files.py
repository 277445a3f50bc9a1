import json
import resource
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pyogrio
import pyogrio.raw
import pyproj
import pytest
import shapely
from affine import Affine

from changedet.errors import ConfigError, MissingExtraError, StorageError
from changedet.raster.geo_grid import GeoGrid
from changedet.vector import selection
from changedet.vector.area import areas_m2
from changedet.vector.files import (
    PolygonOptions,
    check_polygon_options,
    file_name,
    write_polygons,
)
from changedet.vector.outlines import Outliner
from changedet.vector.table import COLUMNS

FORMATS = ["gpkg", "geoparquet", "geojson"]
UTM = pyproj.CRS("EPSG:32633")


def grid_of(shape, crs=UTM) -> GeoGrid:
    if crs is None:
        return GeoGrid(None, Affine.identity(), *shape)
    return GeoGrid(crs.to_wkt(), Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), *shape)


def changes_of(mask, grid):
    outliner = Outliner(grid)
    score = np.linspace(0.5, 1, mask.size, dtype=np.float32).reshape(mask.shape)
    return [*outliner.add(mask, score), *outliner.finish()]


def scene(crs=UTM):
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[2:6, 2:6] = 1
    mask[10:30, 10:30] = 1
    mask[15:17, 15:17] = 0
    mask[33, 3] = 1
    grid = grid_of(mask.shape, crs)
    return changes_of(mask, grid), grid


def read(path):
    """Read geometries, columns by name, and CRS."""
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        columns = {name: table[name].to_numpy() for name in COLUMNS}
        geo = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
        crs = geo["crs"] and pyproj.CRS.from_json_dict(geo["crs"])
        return shapely.from_wkb(table["geometry"].to_pylist()), columns, crs
    meta, _, blobs, values = pyogrio.raw.read(path)
    crs = None if meta["crs"] is None else pyproj.CRS(meta["crs"])
    return shapely.from_wkb(blobs), dict(zip(meta["fields"], values, strict=True)), crs


def write(tmp_path, changes, grid, **options):
    options = PolygonOptions(**{"min_area": 0.0, "fill_holes": 0.0, **options})
    path = tmp_path / file_name(options.format)
    return path, write_polygons(iter(changes), path, grid=grid, options=options)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_polygon_is_read_back_with_its_figures_and_crs(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(selection, "_BATCH", 2)
    changes, grid = scene()
    path, summary = write(tmp_path, changes, grid, format=kind)
    geometry, columns, crs = read(path)
    assert list(columns) == list(COLUMNS)
    assert columns["id"].tolist() == [1, 2, 3]
    for column, field in (("area_m2", 2), ("pixels", 1), ("mean_score", 3), ("max_score", 4)):
        assert columns[column].tolist() == pytest.approx([change[field] for change in changes])
    assert summary.count == 3
    assert summary.dropped == 0
    assert summary.area_m2 == pytest.approx(sum(change.area_m2 for change in changes))
    bounds = np.stack([columns[side] for side in ("left", "bottom", "right", "top")], axis=1)
    assert shapely.bounds(geometry) == pytest.approx(bounds, abs=1e-12)
    if kind == "geojson":
        assert crs == pyproj.CRS("EPSG:4326")
        back = pyproj.Transformer.from_crs(4326, UTM, always_xy=True)
        geometry = shapely.transform(
            geometry, lambda points: np.stack(back.transform(*points.T), axis=1)
        )
        for found, change in zip(geometry, changes, strict=True):
            assert found.symmetric_difference(change.geometry).area < 0.02
    else:
        assert crs == UTM
        assert all(a.equals(c.geometry) for a, c in zip(geometry, changes, strict=True))
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", FORMATS)
def test_no_polygon_gives_a_valid_file_with_the_columns_and_the_crs(tmp_path, kind):
    _, grid = scene()
    path, summary = write(tmp_path, [], grid, format=kind)
    assert summary.count == 0
    assert summary.area_m2 == 0.0
    if kind == "geojson":
        assert json.loads(path.read_text()) == {"type": "FeatureCollection", "features": []}
        return
    geometry, columns, crs = read(path)
    assert len(geometry) == 0
    assert list(columns) == list(COLUMNS)
    assert crs == UTM


@pytest.mark.parametrize("kind", ["gpkg", "geoparquet"])
def test_without_crs_polygons_are_in_pixels_and_have_no_area(tmp_path, kind):
    changes, grid = scene(crs=None)
    path, summary = write(tmp_path, changes, grid, format=kind, min_area=2)
    geometry, columns, crs = read(path)
    assert crs is None or crs.name.startswith("Undefined")
    assert np.isnan(columns["area_m2"].astype(float)).all()
    assert shapely.area(geometry).tolist() == columns["pixels"].tolist() == [16, 396]
    assert summary.area_m2 is None
    assert summary.dropped == 1


def test_the_geopackage_layer_is_called_polygons_and_has_a_spatial_index(tmp_path):
    changes, grid = scene()
    path, _ = write(tmp_path, changes, grid)
    info = pyogrio.read_info(path, layer="polygons")
    assert info["geometry_type"] == "Polygon"
    assert info["capabilities"]["fast_spatial_filter"]
    box = changes[0].geometry.bounds
    assert pyogrio.read_info(path, layer="polygons")["features"] == 3
    assert len(pyogrio.raw.read(path, bbox=box)[2]) == 1


def test_geojson_follows_rfc_7946(tmp_path):
    changes, grid = scene()
    path, _ = write(tmp_path, changes, grid, format="geojson")
    content = json.loads(path.read_text())
    assert "crs" not in content
    for feature in content["features"]:
        exterior, *holes = feature["geometry"]["coordinates"]
        assert shapely.LinearRing(exterior).is_ccw
        assert not any(shapely.LinearRing(hole).is_ccw for hole in holes)
        assert feature["id"] == feature["properties"]["id"]


def test_geojson_divides_polygons_at_the_antimeridian(tmp_path):
    crs = pyproj.CRS("EPSG:32601")
    x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(180.0, 50.0)
    grid = GeoGrid(crs.to_wkt(), Affine(10, 0, x - 50, 0, -10, y), 4, 10)
    mask = np.ones((4, 10), dtype=np.uint8)
    path, summary = write(tmp_path, changes_of(mask, grid), grid, format="geojson")
    (feature,) = json.loads(path.read_text())["features"]
    whole = shapely.geometry.shape(feature["geometry"])
    assert whole.geom_type == "MultiPolygon"
    assert sorted(part.bounds[0] > 0 for part in whole.geoms) == [False, True]
    assert areas_m2(np.array([whole]), "EPSG:4326")[0] == pytest.approx(summary.area_m2, rel=1e-3)
    assert feature["properties"]["left"] > 179
    assert feature["properties"]["right"] < -179


def test_geoparquet_metadata_are_complete(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "_BATCH", 2)
    changes, grid = scene()
    path, _ = write(tmp_path, changes, grid, format="geoparquet")
    file = pyarrow.parquet.ParquetFile(path)
    assert file.num_row_groups == 2
    geo = json.loads(file.metadata.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["primary_column"] == "geometry"
    column = geo["columns"]["geometry"]
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["Polygon"]
    assert column["orientation"] == "counterclockwise"
    everything = shapely.union_all([change.geometry for change in changes])
    assert column["bbox"] == list(everything.bounds)
    polygons, _, _ = read(path)
    assert shapely.is_ccw(shapely.get_exterior_ring(polygons)).all()


def test_written_polygons_of_fewer_than_five_pixels_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "_BATCH", 2)
    mask = np.zeros((30, 30), dtype=np.uint8)
    for number, pixels in enumerate((1, 2, 4, 5, 6)):
        mask[5 * number, :pixels] = 1
    grid = grid_of(mask.shape)
    changes = changes_of(mask, grid)
    assert write(tmp_path, changes, grid)[1].tiny == 3
    assert write(tmp_path, [], grid)[1].tiny == 0
    # Of 0.25 m2 a pixel, one is too small to be written.
    summary = write(tmp_path, changes, grid, min_area=0.4)[1]
    assert (summary.count, summary.dropped, summary.tiny) == (4, 1, 2)


def test_small_polygons_are_dropped_and_the_rest_is_numbered_without_gaps(tmp_path):
    changes, grid = scene()
    path, summary = write(tmp_path, changes, grid, min_area=1.0)
    _, columns, _ = read(path)
    assert columns["id"].tolist() == [1, 2]
    assert summary.count == 2
    assert summary.dropped == 1
    path, summary = write(tmp_path, changes, grid, min_area=1e9)
    assert len(read(path)[0]) == summary.count == 0
    assert summary.dropped == 3


def test_filled_holes_and_simplified_outlines_have_the_area_that_is_written(tmp_path):
    changes, grid = scene()
    path, summary = write(tmp_path, changes, grid, fill_holes=1.1)
    geometry, columns, _ = read(path)
    assert shapely.get_num_interior_rings(geometry).tolist() == [0, 0, 0]
    measured = areas_m2(geometry, grid.crs)
    assert columns["area_m2"].tolist() == pytest.approx(measured, rel=1e-9)
    assert columns["pixels"].tolist() == [16, 396, 1]
    assert summary.area_m2 == pytest.approx(sum(measured))
    path, _ = write(tmp_path, changes, grid, simplify_px=3.0)
    geometry, columns, _ = read(path)
    assert min(shapely.get_num_coordinates(geometry)) == 4
    measured = areas_m2(geometry, grid.crs)
    assert columns["area_m2"].tolist() == pytest.approx(measured, rel=1e-9)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_a_new_file_replaces_the_earlier_one_and_a_failure_keeps_it(tmp_path, monkeypatch):
    changes, grid = scene()
    path, _ = write(tmp_path, changes, grid)
    write(tmp_path, changes[:1], grid)
    assert len(read(path)[0]) == 1

    def fail():
        yield changes[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(selection, "_BATCH", 1)
    for kind in FORMATS:
        other = tmp_path / file_name(kind)
        with pytest.raises(KeyboardInterrupt):
            write_polygons(fail(), other, grid=grid, options=PolygonOptions(format=kind))
    assert len(read(path)[0]) == 1
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_missing_polygons_are_found_before_the_file_gets_its_name(tmp_path, monkeypatch):
    changes, grid = scene()
    write_all = pyogrio.raw.write

    def lose_one(path, geometry, columns, *rest, **options):
        write_all(path, geometry[1:], [column[1:] for column in columns], *rest, **options)

    monkeypatch.setattr(pyogrio.raw, "write", lose_one)
    with pytest.raises(StorageError, match="2 of 3 polygons arrived"):
        write(tmp_path, changes, grid)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_found_before_it_gets_its_name(tmp_path, monkeypatch):
    changes, grid = scene()
    write_all = pyogrio.raw.write

    def damage(path, *rest, **options):
        write_all(path, *rest, **options)
        path.write_bytes(b"no database" * 1000)

    monkeypatch.setattr(pyogrio.raw, "write", damage)
    with pytest.raises(StorageError, match="the file is damaged"):
        write(tmp_path, changes, grid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("simplify_px", [0.0, 1.0])
def test_a_full_disk_is_a_storage_error_that_leaves_nothing(tmp_path, kind, simplify_px):
    code = f"""
import sys
from pathlib import Path
import numpy as np
from affine import Affine
from changedet.errors import StorageError
from changedet.raster.geo_grid import GeoGrid
from changedet.vector.files import PolygonOptions, write_polygons
from changedet.vector.outlines import Outliner
grid = GeoGrid("EPSG:32633", Affine(1, 0, 5e5, 0, -1, 5e6), 300, 300)
mask = np.zeros((300, 300), np.uint8)
mask[::2, ::3] = 1
outliner = Outliner(grid)
changes = outliner.add(mask, mask.astype(np.float32)) + outliner.finish()
options = PolygonOptions(format={kind!r}, min_area=0.0, simplify_px={simplify_px})
try:
    write_polygons(changes, Path({str(tmp_path / "a.gpkg")!r}), grid=grid, options=options)
except StorageError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)),
    )
    assert result.stdout.startswith("cannot write "), result.stderr
    assert result.stdout.count("\n") == 1
    assert "make room" in result.stdout
    assert result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    changes, grid = scene()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*polygons\.gpkg"):
        write(tmp_path / "file", changes, grid)


def test_options_that_do_not_go_together_are_refused_before_the_work(monkeypatch):
    placed, unplaced = grid_of((4, 4)), grid_of((4, 4), crs=None)
    check_polygon_options(PolygonOptions(format="geojson"), placed)
    with pytest.raises(ConfigError, match="use the format gpkg"):
        check_polygon_options(PolygonOptions(format="geojson"), unplaced)
    with pytest.raises(ConfigError, match="must be one of gpkg, geoparquet, geojson, got 'shp'"):
        check_polygon_options(PolygonOptions(format="shp"), placed)
    for name in ("min_area", "fill_holes", "simplify_px"):
        for value in (-1.0, float("nan"), float("inf")):
            with pytest.raises(ConfigError, match=f"{name} must be 0 or more, got"):
                check_polygon_options(PolygonOptions(**{name: value}), placed)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[parquet\]"):
        check_polygon_options(PolygonOptions(format="geoparquet"), placed)


def test_without_crs_holes_are_filled_by_their_size_in_pixels(tmp_path):
    changes, grid = scene(crs=None)
    for limit, area in ((3.9, 396), (4.0, 400)):
        path, _ = write(tmp_path, changes, grid, fill_holes=limit)
        assert shapely.area(read(path)[0]).tolist() == [16, area, 1]


@pytest.mark.parametrize("crs", [UTM, pyproj.CRS("EPSG:4326"), None])
def test_patches_and_holes_below_sixteen_pixels_are_left_out_unless_asked_for(tmp_path, crs):
    """The same pixels whatever the CRS, at large coordinates, too."""
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[0:3, 0:5] = 1  # 15 pixels
    mask[0:4, 10:14] = 1  # 16 pixels
    mask[10:30, 10:30] = 1
    mask[12:16, 12:16] = 0  # a hole of 16 pixels
    mask[20:24, 20:25] = 0  # one of 20, with an island of 2
    mask[22, 22:24] = 1
    scale = 1e-5 if crs is not None and crs.is_geographic else 0.3
    grid = GeoGrid(
        None if crs is None else crs.to_wkt(),
        Affine(scale, 0, 178.123 if scale < 0.1 else 712_345.6, 0, -scale, 58.321),
        *mask.shape,
    )
    changes = changes_of(mask, grid)
    path, summary = write(tmp_path, changes, grid, min_area=None, fill_holes=None)
    geometry, columns, _ = read(path)
    assert columns["pixels"].tolist() == [16, 400 - 16 - 20]
    pixels = shapely.area(geometry) / scale**2
    assert pixels.tolist() == pytest.approx([16, 400 - 20], rel=1e-4)
    assert summary.dropped == 2
    assert (summary.min_area.value, summary.min_area.unit) == (16.0, "px")
    assert (summary.fill_holes.value, summary.fill_holes.unit) == (16.0, "px")
    if crs is None:
        assert summary.min_area.area_m2 is None
    else:
        assert summary.min_area.area_m2 == pytest.approx(columns["area_m2"][0], rel=1e-3)
    assert write(tmp_path, changes, grid)[1].count == 4


def test_a_limit_in_square_metres_goes_with_the_default_of_the_other_in_pixels(tmp_path):
    changes, grid = scene()
    # Pixels of 0.25 m2: 16 of them are 4 m2, the hole has 4 pixels.
    path, summary = write(tmp_path, changes, grid, min_area=3.9, fill_holes=None)
    assert shapely.get_num_interior_rings(read(path)[0]).tolist() == [0, 0]
    assert (summary.min_area.value, summary.min_area.unit) == (3.9, "m2")
    path, summary = write(tmp_path, changes, grid, min_area=None, fill_holes=0.9)
    assert shapely.get_num_interior_rings(read(path)[0]).tolist() == [0, 1]
    assert summary.fill_holes.area_m2 == 0.9
