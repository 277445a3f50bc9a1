import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from changedet.raster.facts import RasterFacts, read_facts
from changedet.raster.open import open_raster

BLANK = np.ones((2, 40, 30), np.uint16)


def facts_of(path: str, bands: tuple[int, ...] = (1,)) -> RasterFacts:
    with open_raster(path) as dataset:
        return read_facts(dataset, location=path, bands=bands)


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


@pytest.mark.parametrize(
    "location", ["s3://bucket/a.tif", "http://127.0.0.1:1/a.tif", "/vsizip/no.zip/a.tif"]
)
def test_what_a_server_does_not_tell_is_unknown(location: str):
    profile = {"driver": "GTiff", "width": 9, "height": 9, "count": 1, "dtype": "uint8"}
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile, transform=Affine.translation(5, 5)) as dataset:
            dataset.write(np.ones((1, 9, 9), np.uint8))
        with memory.open() as dataset:
            facts = read_facts(dataset, location=location, bands=(1,))
    assert (facts.size_bytes, facts.changed_at) == (None, None)


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
