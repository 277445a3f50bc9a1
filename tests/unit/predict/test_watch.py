"""Inputs that change while a prediction runs."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from changedet.errors import DataError
from changedet.predict import watch as watch_module
from changedet.predict.request import SceneRequest
from changedet.predict.watch import Watch
from changedet.storage.checksum import file_sha256
from changedet.vector.regions import read_region, region_sha256

CRS = "EPSG:32633"
AREA = [[500_010.0, 5_399_900.0], [500_110.0, 5_399_900.0], [500_060.0, 5_399_990.0]]


def write(path: Path, value: int) -> None:
    profile = {"driver": "GTiff", "count": 1, "height": 80, "width": 80, "dtype": "uint8"}
    place = {"crs": CRS, "transform": Affine(2, 0, 500_000, 0, -2, 5_400_000)}
    with rasterio.open(path, "w", **profile, **place) as raster:
        raster.write(np.full((1, 80, 80), value, np.uint8))


def write_area(path: Path, corners: list[list[float]], **more: object) -> None:
    area = {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    features = [{"type": "Feature", "properties": more, "geometry": area}]
    content = {"type": "FeatureCollection", "crs": crs, "features": features}
    path.write_text(json.dumps(content))


@pytest.fixture
def request_(tmp_path: Path) -> SceneRequest:
    write(tmp_path / "before.tif", 1)
    write(tmp_path / "after.tif", 2)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    write_area(tmp_path / "area.geojson", AREA)
    return SceneRequest(
        before=str(tmp_path / "before.tif"),
        after=str(tmp_path / "after.tif"),
        model=tmp_path / "model.safetensors",
        out=tmp_path / "out",
        region=str(tmp_path / "area.geojson"),
    )


def begin(request: SceneRequest) -> tuple[Watch, Any]:
    """Look at the inputs; give that, and what a job knows of them."""
    infos = [
        SimpleNamespace(location=location, size_bytes=1, changed_at="v1")
        for location in (request.before, request.after)
    ]
    region = request.region
    job = SimpleNamespace(
        request=request,
        pair=SimpleNamespace(before=infos[0], after=infos[1]),
        grid=SimpleNamespace(crs=CRS),
        model={"sha256": file_sha256(Path(request.model))},
        region_sha256=region and region_sha256(read_region(region, crs=CRS)),
    )
    return Watch.begin(request, SimpleNamespace(path=Path(request.model))), job


def same_size_and_time(path: Path) -> None:
    status = path.stat()
    write(path, 3)
    assert path.stat().st_size == status.st_size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "rewritten": ("before.tif", same_size_and_time, r"the raster before \(.*other content of the"),
    "touched": ("after.tif", Path.touch, r"the raster after \(.*written to meanwhile"),
    "truncated": ("after.tif", lambda path: os.truncate(path, 300), r"after \(.*300 now\)"),
    "gone": ("before.tif", Path.unlink, r"before \(.*it is gone"),
    "model": ("model.safetensors", lambda path: path.write_bytes(b"others!"), r"the model \("),
    "area": ("area.geojson", lambda path: write_area(path, AREA[::-1] + AREA[1:2]), "area"),
    "no area": ("area.geojson", lambda path: path.write_text("{"), r"the area of interest \("),
}


@pytest.mark.parametrize(("name", "change", "said"), CHANGES.values(), ids=CHANGES)
def test_an_input_that_changed_is_named(tmp_path, request_, name, change, said):
    watch, job = begin(request_)
    watch.check(job)
    change(tmp_path / name)
    with pytest.raises(DataError, match=rf"{said}.*nothing is written"):
        watch.check(job)


def test_a_source_of_a_virtual_raster_is_an_input(tmp_path, request_):
    from rasterio.shutil import copy

    copy(request_.before, str(tmp_path / "before.vrt"), driver="VRT")
    watch, job = begin(SceneRequest(**{**vars(request_), "before": str(tmp_path / "before.vrt")}))
    same_size_and_time(tmp_path / "before.tif")
    with pytest.raises(DataError, match=r"the raster before \(.*before\.tif\) changed"):
        watch.check(job)


def test_what_changes_nothing_is_no_change(tmp_path, request_):
    watch, job = begin(request_)
    shutil.copyfile(request_.model, tmp_path / "copy")
    (tmp_path / "copy").replace(request_.model)
    write_area(tmp_path / "area.geojson", AREA, name="saved again by another program")
    # As a program leaves it that shows the raster.
    (tmp_path / "before.tif.aux.xml").write_text("<PAMDataset/>")
    (tmp_path / "before.tif.ovr").write_bytes(b"")
    watch.check(job)


def test_numbers_of_an_area_are_no_file(tmp_path, request_):
    box = "500010,5399900,500110,5399990"
    watch, job = begin(SceneRequest(**{**vars(request_), "region": box}))
    watch.check(job)


def test_the_content_of_both_rasters_is_part_of_a_run(tmp_path, request_):
    first = begin(request_)[0].samples
    same_size_and_time(tmp_path / "after.tif")
    second = begin(request_)[0].samples
    assert first["content_before"] == second["content_before"]
    assert first["content_after"] != second["content_after"]


@pytest.mark.parametrize(
    ("version", "is_changed"),
    [((1, "v1"), False), ((None, None), False), ((2, "v1"), True), ((1, "v2"), True)],
)
def test_a_server_is_asked_again(request_, monkeypatch, version, is_changed):
    address = "https://me:secret@host/before.tif?sig=secret"
    watch, job = begin(request_)
    job.pair.before.location = address
    asked = []
    monkeypatch.setattr(watch_module, "server_version", lambda at: (asked.append(at), version)[1])
    if is_changed:
        with pytest.raises(DataError, match=r"before \(https://host/before\.tif\).*its server has"):
            watch.check(job)
    else:
        watch.check(job)
    assert asked == [address]
