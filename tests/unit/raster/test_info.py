import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.shutil import copy

from changedet.errors import ImageError
from changedet.raster.info import RasterInfo, read_info
from changedet.raster.open import open_raster

BLANK = np.ones((2, 40, 30), np.uint16)


def facts_of(path: str, bands: tuple[int, ...] = (1,)) -> RasterInfo:
    with open_raster(path) as dataset:
        return read_info(dataset, location=path, bands=bands)


def test_facts_are_those_of_the_file(write_raster: Callable[..., str]):
    path = write_raster("a.tif", BLANK, nodata=9)
    facts = facts_of(path, (2, 1))
    assert (facts.location, facts.driver, facts.shape) == (path, "GTiff", (40, 30))
    assert (facts.dtype, facts.bands, facts.band_count, facts.nodata) == ("uint16", (2, 1), 2, 9)
    assert rasterio.crs.CRS.from_wkt(facts.crs).to_epsg() == 32633
    assert facts.size_bytes == Path(path).stat().st_size
    assert facts.acquired is None


@pytest.mark.parametrize(
    ("crs", "transform", "metres"),
    [
        # UTM shrinks by 0.9996 at its central meridian.
        ("EPSG:32633", Affine(0.5, 0, 500_000, 0, -0.5, 5_500_000), 0.5 / 0.9996),
        # A degree of the equator is 111.32 km long, one of the meridian there 110.57 km.
        ("EPSG:4326", Affine(1e-5, 0, 10, 0, -1e-5, 0), 1.1095),
        # Web Mercator stretches by 1/cos(latitude): 60 degrees north.
        ("EPSG:3857", Affine(10, 0, 1e6, 0, -10, 8_399_738), 5.0),
        # US survey feet.
        ("EPSG:2263", Affine(3, 0, 981_000, 0, -3, 200_000), 3 * 0.3048006),
    ],
)
def test_the_ground_sample_distance_is_in_metres_on_the_ground(
    write_raster: Callable[..., str], crs: str, transform: Affine, metres: float
):
    path = write_raster("a.tif", BLANK, crs=crs, transform=transform)
    assert facts_of(path).gsd_m == pytest.approx(metres, rel=3e-3)


def test_a_place_that_is_not_on_earth_has_no_ground_sample_distance(
    write_raster: Callable[..., str],
):
    site = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    assert facts_of(write_raster("a.tif", BLANK, crs=site)).gsd_m is None
    nowhere = Affine(1, 0, 0, 0, -1, 700)
    path = write_raster("b.tif", BLANK, crs="EPSG:4326", transform=nowhere)
    assert facts_of(path).gsd_m is None


def test_a_change_of_the_file_shows(write_raster: Callable[..., str]):
    path = write_raster("a.tif", BLANK)
    first = facts_of(path)
    assert facts_of(path) == first
    os.utime(path, ns=(0, Path(path).stat().st_mtime_ns + 1_000_000))
    assert facts_of(path).changed_at != first.changed_at


def facts_in_memory(content: bytes, location: str, bands: tuple[int, ...] = (1,)) -> RasterInfo:
    with rasterio.MemoryFile(content) as memory, memory.open() as dataset:
        return read_info(dataset, location=location, bands=bands)


@pytest.mark.parametrize(
    "location", ["s3://bucket/a.tif", "http://127.0.0.1:1/a.tif", "/vsizip/no.zip/a.tif"]
)
def test_where_nobody_tells_a_change_shows_in_a_checksum(
    write_raster: Callable[..., str], location: str
):
    def content(pixels: np.ndarray, **settings: Any) -> bytes:
        return Path(write_raster("a.tif", pixels, **settings)).read_bytes()

    noise = np.random.default_rng(4).integers(0, 255, (2, 400, 300), dtype=np.uint8)
    first = facts_in_memory(content(noise), location)
    assert first.size_bytes is None
    assert first.changed_at.startswith("sha256:")
    assert facts_in_memory(content(noise, compress="deflate"), location, (2, 1)) == replace(
        first, bands=(2, 1)
    )
    other = noise.copy()
    other[1, 200, 150] ^= 1
    changed = [
        content(other),
        content(noise, nodata=7),
        content(noise, crs="EPSG:32634"),
        content(noise, transform=Affine.translation(1, 2)),
        content(noise, tags={"TIFFTAG_DATETIME": "2021:05:04 10:20:30"}),
        content(noise[:, :-1]),
    ]
    sums = {facts_in_memory(file, location).changed_at for file in changed}
    assert len(sums | {first.changed_at}) == 7


def test_a_change_anywhere_shows_in_the_overviews(tmp_path: Path, write_raster: Callable[..., str]):
    def checksum(pixels: np.ndarray) -> str | None:
        path = write_raster("plain.tif", pixels)
        copy(path, tmp_path / "cog.tif", driver="COG", blocksize=128, resampling="average")
        return facts_in_memory((tmp_path / "cog.tif").read_bytes(), "s3://bucket/a.tif").changed_at

    noise = np.random.default_rng(4).integers(0, 255, (1, 1100, 900), dtype=np.uint8)
    other = noise.copy()
    other[0, 2:60, 3:50] = 0
    assert checksum(noise) != checksum(other)


def test_a_checksum_of_a_large_file_reads_little_of_it(
    tmp_path: Path, write_raster: Callable[..., str], serving: Callable[..., Any]
):
    noise = np.random.default_rng(4).integers(0, 255, (1, 4000, 4000), dtype=np.uint8)
    copy(write_raster("plain.tif", noise), tmp_path / "cog.tif", driver="COG", blocksize=256)
    content = (tmp_path / "cog.tif").read_bytes()
    with serving(content) as (address, handler):
        handler.version = {}
        with open_raster(address) as dataset:
            facts = read_info(dataset, location=address, bands=(1,))
        assert facts.changed_at.startswith("sha256:")
        assert facts.size_bytes == len(content)
        assert sum(handler.sent) < len(content) / 8
        handler.version = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
        for name in (address, f"/vsicurl/{address}"):
            with open_raster(name) as dataset:
                facts = read_info(dataset, location=name, bands=(1,))
            assert facts.changed_at == "Wed, 21 Oct 2015 07:28:00 GMT"


def test_a_file_on_the_disk_that_points_to_a_server_is_told_apart_by_its_pixels(
    tmp_path: Path,
    write_raster: Callable[..., str],
    serving: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
):
    # GDAL looks for files beside the raster and waits this long for some of the answers.
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    vrt = tmp_path / "scene.vrt"
    with serving(Path(write_raster("a.tif", BLANK)).read_bytes()) as (address, _):
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            copy(f"/vsicurl/{address}", vrt, driver="VRT")
        assert facts_of(str(vrt)).changed_at.startswith("sha256:")


def test_a_file_that_cannot_be_read_has_no_checksum(write_raster: Callable[..., str]):
    noise = np.random.default_rng(4).integers(0, 255, (1, 400, 300), dtype=np.uint8)
    content = Path(write_raster("a.tif", noise)).read_bytes()[:60_000]
    with pytest.raises(ImageError, match=r"s3://bucket/a\.tif: pixels cannot be read"):
        facts_in_memory(content, "s3://bucket/a.tif")


def test_the_name_of_a_raster_tells_no_secrets(write_raster: Callable[..., str]):
    facts = replace(facts_of(write_raster("a.tif", BLANK)), location="https://me:pw@x.org/a?sig=Q")
    assert facts.name == "https://x.org/a"


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"TIFFTAG_DATETIME": "2021:05:04 10:20:30"}, "2021-05-04T10:20:30Z"),
        ({"ACQUISITIONDATETIME": "2021-05-04 10:20:30+02:00"}, "2021-05-04T08:20:30Z"),
        (
            {"ACQUISITIONDATETIME": "2020-01-02", "TIFFTAG_DATETIME": "2021:05:04 10:20:30"},
            "2020-01-02T00:00:00Z",
        ),
        ({"ACQUISITIONDATETIME": "soon", "TIFFTAG_DATETIME": "0000:00:00 00:00:00"}, None),
    ],
)
def test_the_date_comes_from_the_tags(
    write_raster: Callable[..., str], tags: dict[str, str], expected: str | None
):
    assert facts_of(write_raster("a.tif", BLANK, tags=tags)).acquired == expected
