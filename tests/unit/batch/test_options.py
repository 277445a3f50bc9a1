"""Options of one item, and settings of a run."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from changedet.batch.item import BatchItem, OptionValue
from changedet.batch.options import OPTIONS, check_options, request_for
from changedet.batch.request import BatchRequest
from changedet.errors import ChangeDetError, ConfigError
from changedet.predict.request import SceneRequest
from changedet.vector.files import PolygonOptions

COMMON = SceneRequest("", "", "baseline:cva", Path(), threshold=0.3, nodata=7.0)


@pytest.mark.parametrize(
    ("option", "value", "field", "meant"),
    [
        ("threshold", "0.5", "threshold", 0.5),
        ("kind", "building", "kind", "building"),
        ("gsd", 2, "gsd_m", 2.0),
        ("tile", 256.0, "tile_px", 256),
        ("bands", "4,3,2", "bands", (4, 3, 2)),
        ("bands", 1.0, "bands", (1,)),
        ("stretch", "0,3000", "stretch", (0.0, 3000.0)),
        ("stretch", "auto", "stretch", "auto"),
        ("nodata", "-9999", "nodata", -9999.0),
        ("nodata", "none", "nodata", "none"),
        ("coregister", True, "coregister", "global"),
        ("coregister", "off", "coregister", "off"),
        ("aoi", "1,2,3,4", "region", "1,2,3,4"),
        ("resampling", "cubic", "resampling", "cubic"),
        ("polygons", "geojson", "polygons", PolygonOptions(format="geojson")),
        ("min_area_m2", 100, "polygons", PolygonOptions(min_area=100.0)),
        ("simplify", 1.5, "polygons", PolygonOptions(simplify_px=1.5)),
    ],
)
def test_an_option_becomes_a_setting(
    option: str, value: OptionValue, field: str, meant: object
) -> None:
    item = BatchItem("a", "before.tif", "after.tif", options={option: value})
    request = request_for(COMMON, item, Path("out"))
    assert getattr(request, field) == meant
    assert (request.before, request.after, request.out) == ("before.tif", "after.tif", Path("out"))
    if field != "threshold":
        assert request.threshold == 0.3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"treshold": 0.5}, "did you mean 'threshold'"),
        ({"model": "x"}, "unknown option 'model'"),
        ({"out": "x"}, "unknown option 'out'"),
        ({"threshold": 3}, r"in \[0, 1\]"),
        ({"threshold": "high"}, "takes a number, got 'high'"),
        ({"threshold": True}, "takes a number"),
        ({"gsd_m": 0}, "above 0"),
        ({"tile": 12.5}, "whole number"),
        ({"bands": "0"}, "from 1"),
        ({"bands": "red"}, "takes a number, got 'red'"),
        ({"stretch": "5"}, "LOW,HIGH"),
        ({"coregister": "perhaps"}, "true or false"),
        ({"resampling": "lanczos"}, "nearest, bilinear, cubic"),
        ({"aoi": "1,2,3"}, "XMIN,YMIN,XMAX,YMAX"),
        ({"aoi": "none.gpkg"}, "no such file"),
        ({"aoi_crs": "EPSG:4326"}, "there is no `region`"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, OptionValue], says: str) -> None:
    with pytest.raises(ChangeDetError, match=says):
        check_options(options)


def test_options_are_known_by_the_names_of_the_command_line_and_of_the_library() -> None:
    assert {"aoi", "region", "tile", "tile_px", "min_area", "min_area_m2"} <= OPTIONS
    assert not {"before", "after", "out", "model", "device", "existing"} & OPTIONS


@pytest.mark.parametrize("value", ["x", 1e300, -1.0, True, "", "1,2,3,4,5"])
def test_no_value_is_a_bug(value: OptionValue) -> None:
    for name in OPTIONS:
        with contextlib.suppress(ChangeDetError):
            check_options({name: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"address": "auto"}, r"`address` is of a Ray cluster; add `engine=ray`"),
        ({"num_cpus": 2.0}, r"`num_cpus` and `num_gpus` are what Ray sets aside.*`engine=ray`"),
        ({"num_gpus": 0.5}, r"`num_cpus` and `num_gpus` are what Ray sets aside"),
        ({"engine": "ray", "threads": 2}, r"`threads` is of workers on this machine.*`num_cpus`"),
        ({"engine": "ray", "num_gpus": 1.5}, r"`num_gpus` is a share of one GPU or a whole number"),
        ({"engine": "spark"}, r"`engine`"),
        ({"workers": 0}, r"`workers` must be at least 1, got 0"),
        ({"timeout_s": float("nan")}, r"`timeout_s` must be above 0, got nan"),
        ({"split_mpx": -1.0}, r"`split_mpx` must not be below 0, got -1"),
    ],
)
def test_settings_of_a_run_that_make_no_sense_or_do_nothing(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        BatchRequest(COMMON, "out", **settings)
