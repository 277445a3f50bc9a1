"""Products opened by GDAL's own programs, another build than the one that wrote them."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from changedet.raster.cog import read_strips, write_mask_cog, write_score_cog
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.score_store import ScoreFile
from changedet.vector.files import Format, PolygonOptions, file_name, write_polygons
from changedet.vector.outlines import Outliner

pytestmark = pytest.mark.skipif(
    shutil.which("gdalinfo") is None or shutil.which("ogrinfo") is None,
    reason="needs gdalinfo and ogrinfo (Debian: gdal-bin)",
)

GRID = GeoGrid("EPSG:32632", Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), 700, 1100)
THRESHOLD = 0.5
TAGS = {"CHANGEDET_VERSION": "0", "CHANGEDET_THRESHOLD": "0.5"}


def scene() -> NDArray[np.float32]:
    """Two changes of 40x60 and 25x25 pixels, and a strip without data."""
    scores = np.full(GRID.shape, 0.125, np.float32)
    scores[100:140, 200:260] = 0.75
    scores[500:525, 900:925] = 1.0
    scores[:, 1050:] = np.nan
    return scores


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("products")
    formats: tuple[Format, ...] = ("gpkg", "geojson")
    with ScoreFile.create(folder / "scores.raw", GRID) as scores:
        scores.write_rows(0, scene())
        write_score_cog(scores, folder / "score.tif", tags=TAGS)
        write_mask_cog(scores, folder / "mask.tif", threshold=THRESHOLD, tags=TAGS)
        for name in formats:
            outliner = Outliner(GRID)
            changes = []
            for _, (strip,) in read_strips(scores):
                mask = np.where(np.isnan(strip), 255, strip >= THRESHOLD).astype(np.uint8)
                changes += outliner.add(mask, strip)
            changes += outliner.finish()
            path = folder / file_name(name)
            write_polygons(changes, path, grid=GRID, options=PolygonOptions(format=name))
    return folder


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    # GDAL warns of what it does not understand, on standard error.
    assert done.stderr == ""
    return done.stdout


def gdalinfo(path: Path, *options: str) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(run("gdalinfo", "-json", *options, str(path)))
    return content


def test_gdalinfo_finds_a_cloud_optimised_score_map(products: Path):
    info = gdalinfo(products / "score.tif")
    band = info["bands"][0]
    assert info["size"] == [1100, 700]
    assert info["geoTransform"] == [500_000, 0.5, 0, 5_000_000, 0, -0.5]
    assert "UTM zone 32N" in info["coordinateSystem"]["wkt"]
    assert info["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    assert TAGS.items() <= info["metadata"][""].items()
    assert (band["type"], band["block"]) == ("Float32", [512, 512])
    assert str(band["noDataValue"]).lower() == "nan"
    assert band["description"] == "change score"
    assert [overview["size"] for overview in band["overviews"]] == [[550, 350], [275, 175]]


def test_gdalinfo_finds_a_mask_with_colours(products: Path):
    info = gdalinfo(products / "mask.tif")
    band = info["bands"][0]
    assert info["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    assert (band["type"], band["noDataValue"]) == ("Byte", 255)
    assert band["colorInterpretation"] == "Palette"
    colours = band["colorTable"]["entries"]
    assert colours[0][:3] == [255, 255, 255]
    assert colours[1][:3] == [214, 39, 40]


def test_gdal_decodes_every_pixel_as_it_was_written(products: Path, tmp_path: Path):
    histogram = gdalinfo(products / "mask.tif", "-hist", "--config", "GDAL_PAM_ENABLED", "NO")
    counts = histogram["bands"][0]["histogram"]["buckets"]
    changed = 40 * 60 + 25 * 25
    # Pixels without data are no part of a histogram.
    assert (counts[0], counts[1]) == (700 * 1050 - changed, changed)
    raw = tmp_path / "score.raw"
    run("gdal_translate", "-q", "-of", "ENVI", str(products / "score.tif"), str(raw))
    np.testing.assert_array_equal(np.fromfile(raw, "<f4").reshape(GRID.shape), scene())


@pytest.mark.parametrize(
    ("name", "driver", "crs"),
    [
        ("polygons.gpkg", "GPKG", 'ID["EPSG",32632]'),
        ("polygons.geojson", "GeoJSON", 'ID["EPSG",4326]'),
    ],
)
def test_ogrinfo_finds_the_changes(products: Path, name: str, driver: str, crs: str):
    text = run("ogrinfo", "-ro", "-al", "-geom=SUMMARY", str(products / name))
    assert f"using driver `{driver}' successful" in text
    assert "Feature Count: 2" in text
    assert crs in text
    assert re.findall(r"^  pixels \(Integer\w*\) = (\d+)$", text, re.MULTILINE) == ["2400", "625"]
    areas = re.findall(r"^  area_m2 \(Real\) = ([\d.]+)$", text, re.MULTILINE)
    # The scale factor of UTM on its central meridian is 0.9996.
    np.testing.assert_allclose(np.array(areas, float), np.array([600, 156.25]) / 0.9996**2, 1e-5)
    scores = re.findall(r"^  mean_score \(Real\) = ([\d.]+)$", text, re.MULTILINE)
    assert [float(score) for score in scores] == [0.75, 1.0]
