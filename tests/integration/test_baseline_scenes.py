"""Baselines on whole scenes: known changes are found, in memory that does not grow."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, calculate_default_transform, reproject
from scipy.ndimage import gaussian_filter

import changedet
from changedet.errors import ConfigError, DataError
from changedet.raster.pair import RasterPair

SHAPE = (420, 560)
BANDS = 5
CRS = "EPSG:32632"
PLACE = Affine(10, 0, 500_000, 0, -10, 5_000_000)
CHANGES = [np.s_[60:130, 80:200], np.s_[250:350, 300:370], np.s_[200:230, 430:530]]


def make_dates(shape=SHAPE, bands=BANDS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Land with a texture; the same in other light and by another sensor; where it changed."""
    rng = np.random.default_rng(0)
    kinds = np.stack([gaussian_filter(rng.normal(size=shape), 6) for _ in range(bands)])
    kinds /= kinds.std(axis=(1, 2), keepdims=True)
    mixing = rng.uniform(0.2, 1.0, (bands, bands))
    before = 3000 + 400 * np.tensordot(mixing, kinds, axes=1)
    after = 900 + 0.55 * before * rng.uniform(0.8, 1.2, (bands, 1, 1))
    changed = np.zeros(shape, bool)
    for place in CHANGES:
        changed[place] = True
        size = after[(slice(None), *place)].shape
        after[(slice(None), *place)] += 500 * rng.normal(size=(bands, 1, 1)) + np.zeros(size)
    before += rng.normal(0, 15, before.shape)
    after += rng.normal(0, 15, after.shape)
    return before, after, changed


def write(path, values, *, crs=CRS, transform=PLACE, nodata=0, dtype="uint16"):
    profile = {"count": len(values), "height": values.shape[1], "width": values.shape[2]}
    profile |= {"dtype": dtype, "crs": crs, "transform": transform, "nodata": nodata}
    with rasterio.open(path, "w", "GTiff", **profile, tiled=True) as raster:
        raster.write(values.astype(dtype))
    return path


def write_elsewhere(path, values):
    """Write the date on another grid, in another reference system."""
    bounds = rasterio.transform.array_bounds(*values.shape[1:], PLACE)
    transform, width, height = calculate_default_transform(
        CRS, "EPSG:4326", *values.shape[:0:-1], *bounds
    )
    warped = np.zeros((len(values), height, width), np.float32)
    reproject(
        values.astype(np.float32),
        warped,
        src_transform=PLACE,
        src_crs=CRS,
        dst_transform=transform,
        dst_crs="EPSG:4326",
        resampling=Resampling.cubic,
    )
    return write(path, warped, crs="EPSG:4326", transform=transform)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    before, after, changed = make_dates()
    before[:, :40, :40] = 0
    return (
        write(folder / "before.tif", before),
        write_elsewhere(folder / "after.tif", after),
        changed,
    )


def test_ir_mad_finds_known_changes_on_an_unaligned_pair_of_16_bit_and_5_bands(scene, tmp_path):
    before, after, changed = scene
    said = []
    report = changedet.predict_scene(
        before, after, model="baseline:ir_mad", out=tmp_path / "out", say=said.append
    )
    with rasterio.open(tmp_path / "out/mask.tif") as raster:
        mask, place = raster.read(1), raster.transform
        tags = raster.tags()
    top, left = round((PLACE.f - place.f) / 10), round((place.c - PLACE.c) / 10)
    truth = changed[top:, left:][: mask.shape[0], : mask.shape[1]]
    known = mask != 255
    found = mask == 1
    f1 = 2 * (found & truth)[known].sum() / (found[known].sum() + truth[known].sum())
    assert f1 > 0.9
    assert not known[: 40 - top, : 40 - left].any()
    assert report.threshold == 0.5
    assert report.threshold_source == "Otsu's threshold over the scene"
    assert any(line.startswith("IR-MAD converged after") for line in said)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["model"]["baseline"] == "ir_mad"
    assert summary["model"]["measured"]["iterations"] > 1
    assert summary["model"]["measured"]["pixels"] == known.sum()
    assert summary["stretch"] is None
    assert tags["CHANGEDET_MODEL"] == "baseline:ir_mad"
    item = json.loads((tmp_path / "out/item.json").read_text())
    assert item["properties"]["changedet:model"] == summary["model"]


def test_the_largest_window_that_is_read_does_not_grow_with_the_scene(tmp_path, monkeypatch):
    before, after, _ = make_dates((300, 300), bands=1)
    largest = {}
    for times in (3, 4):
        paths = [
            write(tmp_path / f"{name}_{times}.tif", np.tile(date, (1, times, times)))
            for name, date in (("before", before), ("after", after))
        ]
        read, sizes = RasterPair.read, []

        def counting(self, window, read=read, sizes=sizes):
            sizes.append(window.height * window.width)
            return read(self, window)

        monkeypatch.setattr(RasterPair, "read", counting)
        changedet.predict_scene(*paths, model="baseline:cva", out=tmp_path / f"out_{times}")
        monkeypatch.setattr(RasterPair, "read", read)
        largest[times] = max(sizes)
    assert largest[4] <= largest[3] <= 1024**2


def test_all_bands_are_taken_unless_they_are_named(scene, tmp_path):
    before, after, _ = scene
    bands = {}
    for name, options in (("all", {}), ("two", {"bands": (4, 2)})):
        report = changedet.predict_scene(
            before, after, model="baseline:cva", out=tmp_path / name, **options
        )
        bands[name] = report.content["inputs"]["after"]["bands"]
    assert bands == {"all": [1, 2, 3, 4, 5], "two": [4, 2]}


def test_dates_of_different_numbers_of_bands_are_refused(scene, tmp_path):
    before, _, _ = scene
    other = write(tmp_path / "three.tif", make_dates()[1][:3])
    with pytest.raises(ConfigError, match=r"has 5 bands and .*three.tif has 3; .*`bands="):
        changedet.predict_scene(before, other, model="baseline:cva", out=tmp_path / "out")
    changedet.predict_scene(
        before, other, model="baseline:cva", out=tmp_path / "out", bands=(1, 2, 3)
    )


def test_8_bit_and_float_dates_are_compared_as_they_are(tmp_path):
    before, after, changed = make_dates((200, 300), bands=3)
    changed[:] = False
    changed[60:130, 80:200] = True
    holes = after.astype(np.float32)
    holes[1, :20, :30] = np.nan
    paths = (
        write(tmp_path / "before.tif", np.clip(before / 30, 1, 255), dtype="uint8"),
        write(tmp_path / "after.tif", holes, dtype="float32", nodata=None),
    )
    for name in ("difference", "cva", "ir_mad"):
        out = tmp_path / name
        changedet.predict_scene(*paths, model=f"floor:{name}", out=out)
        mask = rasterio.open(out / "mask.tif").read(1)
        assert (mask[:20, :30] == 255).all()
        assert (mask[30:, 30:] != 255).all()
        assert (mask[changed] == 1).mean() > 3 * (mask[~changed] == 1).mean()


def test_equal_dates_hold_no_change(scene, tmp_path):
    before, _, _ = scene
    report = changedet.predict_scene(before, before, model="baseline:ir_mad", out=tmp_path / "out")
    assert report.counts.changed == 0
    assert "all pixels differ by the same amount" in " ".join(report.content["notes"])


def test_a_constant_date_is_refused_in_one_line(scene, tmp_path):
    before, _, _ = scene
    constant = write(tmp_path / "constant.tif", np.full((BANDS, *SHAPE), 7.0))
    with pytest.raises(DataError, match="IR-MAD has nothing to correlate"):
        changedet.predict_scene(before, constant, model="baseline:ir_mad", out=tmp_path / "out")


def test_an_area_of_interest_is_measured_by_itself(scene, tmp_path):
    before, after, _ = scene
    report = changedet.predict_scene(
        before,
        after,
        model="baseline:cva",
        out=tmp_path / "out",
        region="501000,4997000,503000,4999000",
    )
    assert report.content["model"]["measured"]["pixels"] == 200 * 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "baseline:irmad"}, "did you mean 'ir_mad'"),
        ({"test_time": "flips"}, "models only"),
        ({"stretch": "auto"}, "stretch.*remove it"),
        ({"encoder": "resnet18"}, "has no encoder"),
    ],
)
def test_options_that_have_no_meaning_for_a_baseline_are_refused(scene, tmp_path, options, message):
    before, after, _ = scene
    with pytest.raises(ConfigError, match=message):
        changedet.predict_scene(
            before, after, **{"model": "baseline:cva", "out": tmp_path / "out", **options}
        )
