import hashlib
import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pystac
import pytest
from affine import Affine
from pystac.extensions.projection import ProjectionExtension
from pystac.validation import JsonSchemaSTACValidator

from changedet._version import __version__
from changedet.predict.stac import make_item
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.info import RasterInfo
from changedet.storage.checksum import file_sha256

TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
GRID = GeoGrid("EPSG:32632", TRANSFORM, 300, 200)
CREATED = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
BEFORE = RasterInfo(
    location="before.tif",
    driver="GTiff",
    height=320,
    width=210,
    crs="EPSG:32632",
    transform=TRANSFORM,
    gsd_m=0.5,
    dtype="uint16",
    bands=(3, 2, 1),
    band_count=4,
    nodata=0.0,
    size_bytes=1234,
    changed_at="2024-01-01T00:00:00+00:00",
    acquired="2016-04-01T10:00:00Z",
)
AFTER = replace(BEFORE, location="after.tif", acquired="2018-05-02T11:00:00Z")
ASSETS = {
    "score": Path("/data/out/score.tif"),
    "mask": Path("/data/out/mask.tif"),
    "polygons": Path("/data/out/polygons.gpkg"),
    "summary": Path("/data/out/summary.json"),
}


def item(**changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "identifier": "suburb",
        "grid": GRID,
        "assets": ASSETS,
        "inputs": (BEFORE, AFTER),
        "created": CREATED,
        "properties": {"changedet:model": {"sha256": "abc"}, "changedet:threshold": 0.5},
    }
    return make_item(**{**settings, **changes})


def validate(content: dict[str, Any]) -> None:
    """Check against the schemas that come with pystac; those of extensions are on the web."""
    text = json.dumps(content, allow_nan=False)
    JsonSchemaSTACValidator().validate_core(
        json.loads(text), pystac.STACObjectType.ITEM, content["stac_version"]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"grid": GeoGrid(None, Affine.identity(), 30, 20)},
        {"grid": GeoGrid("EPSG:4326", Affine(0.01, 0, 179.5, 0, -0.01, 50), 100, 100)},
        {"inputs": (replace(BEFORE, acquired=None, gsd_m=None), AFTER)},
        {"inputs": (replace(BEFORE, nodata=math.nan, size_bytes=None), AFTER)},
        {"assets": {}, "properties": {}},
    ],
)
def test_an_item_is_valid(changes: dict[str, Any]):
    validate(item(**changes))


def test_an_item_reads_back_as_it_was_written(tmp_path: Path):
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item()))
    found = pystac.Item.from_file(str(path))
    assert found.id == "suburb"
    assert found.bbox is not None
    assert found.bbox[0] == 9.0
    assert found.common_metadata.created == CREATED
    assert found.common_metadata.gsd == 0.5
    assert ProjectionExtension.ext(found).code == "EPSG:32632"
    assert found.assets["mask"].get_absolute_href() == str(tmp_path / "mask.tif")
    found.add_link(pystac.Link("parent", "./catalog.json"))
    validate(found.to_dict())


def test_assets_are_named_relative_to_the_item_with_their_kind():
    assets = item(assets={**ASSETS, "style": Path("out/score.qml")})["assets"]
    assert {name: asset["href"] for name, asset in assets.items()} == {
        "score": "./score.tif",
        "mask": "./mask.tif",
        "polygons": "./polygons.gpkg",
        "summary": "./summary.json",
        "style": "./score.qml",
    }
    assert "profile=cloud-optimized" in assets["score"]["type"]
    assert assets["polygons"]["type"] == "application/geopackage+sqlite3"
    assert (assets["score"]["data_type"], assets["score"]["nodata"]) == ("float32", "nan")
    assert (assets["mask"]["data_type"], assets["mask"]["nodata"]) == ("uint8", 255)
    assert "type" not in assets["style"]
    assert all(asset["roles"] == ["data"] for asset in assets.values())


def test_the_preview_is_an_overview():
    preview = item(assets={"preview": Path("out/preview.png")})["assets"]["preview"]
    assert preview["roles"] == ["overview"]
    assert preview["type"] == "image/png"


def test_the_item_names_both_inputs_as_what_it_was_derived_from(tmp_path: Path):
    (tmp_path / "before.tif").touch()
    before = replace(BEFORE, location=str(tmp_path / "before.tif"))
    after = replace(AFTER, location="https://me:secret@host/after.tif?key=1")
    links = item(inputs=(before, after))["links"]
    assert [(link["rel"], link["title"], link["href"]) for link in links] == [
        ("derived_from", "before", (tmp_path / "before.tif").as_uri()),
        ("derived_from", "after", "https://host/after.tif"),
    ]


def test_the_values_of_the_mask_are_named_as_the_classification_extension_asks():
    content = item()
    assert any("/classification/v2" in uri for uri in content["stac_extensions"])
    classes = content["assets"]["mask"]["classification:classes"]
    assert [entry["value"] for entry in classes] == [0, 1, 255]
    assert [entry.get("nodata", False) for entry in classes] == [False, False, True]
    for entry in classes:
        # The rules of the extension's schema.
        assert re.fullmatch(r"[0-9A-Za-z-_]+", entry["name"])
        assert re.fullmatch(r"[0-9A-Fa-f]{6}", entry["color_hint"])
        assert entry["description"]
    assert "classification:classes" not in content["assets"]["score"]
    assert not any("/classification/" in uri for uri in item(assets={})["stac_extensions"])


def test_a_checksum_is_a_multihash_of_sha_256(tmp_path: Path):
    path = tmp_path / "mask.tif"
    path.write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    content = item(checksums={"mask": file_sha256(path)})
    assert content["assets"]["mask"]["file:checksum"] == f"1220{digest}"
    assert "file:checksum" not in content["assets"]["score"]
    assert any("/file/v2" in uri for uri in content["stac_extensions"])
    validate(content)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("polygons.parquet", "application/vnd.apache.parquet"),
        ("polygons.geojson", "application/geo+json"),
    ],
)
def test_every_polygon_format_has_its_media_type(name: str, media_type: str):
    assets = item(assets={"polygons": Path(name)})["assets"]
    assert assets["polygons"]["type"] == media_type


@pytest.mark.parametrize("inputs", [(BEFORE, AFTER), (AFTER, BEFORE)])
def test_the_time_is_from_the_older_to_the_newer_picture(inputs: tuple[RasterInfo, RasterInfo]):
    properties = item(inputs=inputs)["properties"]
    assert properties["datetime"] is None
    assert properties["start_datetime"] == "2016-04-01T10:00:00Z"
    assert properties["end_datetime"] == "2018-05-02T11:00:00Z"


def test_without_both_dates_the_time_is_that_of_the_products():
    created = datetime(2024, 5, 6, 9, 8, 9, tzinfo=timezone(timedelta(hours=2)))
    inputs = (BEFORE, replace(AFTER, acquired=None))
    properties = item(inputs=inputs, created=created)["properties"]
    assert properties["datetime"] == properties["created"] == "2024-05-06T07:08:09Z"
    assert "start_datetime" not in properties


def test_the_grid_is_told_by_the_projection_extension():
    content = item()
    assert any("/projection/v2" in uri for uri in content["stac_extensions"])
    properties = content["properties"]
    assert properties["proj:code"] == "EPSG:32632"
    assert properties["proj:shape"] == [300, 200]
    assert properties["proj:transform"] == [0.5, 0, 500_000, 0, -0.5, 5_000_000]
    assert "proj:wkt2" not in properties


def test_a_crs_without_a_code_is_told_by_its_text():
    crs = "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84"
    properties = item(grid=GeoGrid(crs, Affine(1, 0, 0, 0, -1, 0), 10, 10))["properties"]
    assert properties["proj:code"] is None
    assert "Lambert Azimuthal Equal Area" in properties["proj:wkt2"]


def test_without_a_crs_there_is_no_geometry():
    content = item(grid=GeoGrid(None, Affine.identity(), 30, 20))
    assert content["geometry"] is None
    assert "bbox" not in content
    assert content["properties"]["proj:code"] is None
    assert content["properties"]["proj:shape"] == [30, 20]


def test_provenance_names_inputs_model_and_software():
    properties = item()["properties"]
    assert properties["processing:software"] == {"changedet": __version__}
    assert properties["changedet:model"] == {"sha256": "abc"}
    assert properties["changedet:threshold"] == 0.5
    before = properties["changedet:inputs"]["before"]
    assert before["href"] == "before.tif"
    assert before["bands"] == [3, 2, 1]
    assert before["size"] == 1234
    assert properties["changedet:inputs"]["after"]["acquired"] == "2018-05-02T11:00:00Z"


def test_what_is_not_a_number_leaves_valid_json():
    inputs = (replace(BEFORE, nodata=math.nan), AFTER)
    content = item(inputs=inputs, properties={"changedet:changed_share": math.nan})
    json.dumps(content, allow_nan=False)
    assert content["properties"]["changedet:inputs"]["before"]["nodata"] == "nan"
    assert content["properties"]["changedet:inputs"]["after"]["nodata"] == 0
    assert content["properties"]["changedet:changed_share"] is None


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://me:pass@host:8080/a/b.tif?X-Sig=1#x", "https://host:8080/a/b.tif"),
        ("s3://bucket/b.tif", "s3://bucket/b.tif"),
        ("data/what? #1.tif", "data/what? #1.tif"),
        ("/vsizip/a.zip/b.tif", "/vsizip/a.zip/b.tif"),
    ],
)
def test_secrets_in_addresses_are_not_told(location: str, told: str):
    properties = item(inputs=(replace(BEFORE, location=location), AFTER))["properties"]
    assert properties["changedet:inputs"]["before"]["href"] == told
