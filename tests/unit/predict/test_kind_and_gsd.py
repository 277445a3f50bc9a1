"""Scenes and pictures for a model that tells kinds apart and works at some lengths of pixels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

import changedet
from changedet.card import ModelCard
from changedet.errors import ConfigError
from changedet.inference.detector import Detector
from changedet.inference.torch_scorer import TorchScorer
from changedet.kinds import KindOfChange
from changedet.predict.flow import TilesDone
from changedet.predict.folders import predict_scenes
from changedet.predict.rasters import predict_scene
from changedet.predict.remarks import warnings_of
from changedet.predict.request import SceneReport, SceneRequest
from changedet.raster.info import read_info
from changedet.types import ChangeOutput, Normalisation
from conftest import write_raster
from stand_ins import Difference

CARD = ModelCard(
    "stand-in",
    {},
    Normalisation((0.0,) * 3, (0.0,) * 3, (255.0,) * 3, (255.0,) * 3),
    tile_px=64,
    threshold=0.3,
    kinds=(KindOfChange("any", threshold=0.3), KindOfChange("building", threshold=0.1)),
    working_gsd_m=(1.0, 2.0),
)
pytestmark = pytest.mark.usefixtures("few_shift_tiles")


class TwoKinds(Difference):
    """Its second kind of change is the first one halved."""

    def forward(self, before, after, *, branches, kinds) -> ChangeOutput:
        score = super().forward(before, after, branches=branches).score
        return ChangeOutput(score=torch.cat([score / (1 + kind) for kind in kinds]), branches={})


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Detector:
    monkeypatch.setattr("changedet.predict.tiling._LARGE_TILE_PX", 64)
    monkeypatch.setattr("changedet.predict.flow._SAVE_EVERY_S", 0.0)
    return Detector(TorchScorer(TwoKinds(stride=16), CARD, device="cpu"))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two rasters of half-metre pixels; a square of 80 px changes."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 100, (40, 50, 3), dtype=np.uint8)
    before = coarse.repeat(10, axis=0).repeat(10, axis=1)
    after = before.copy()
    after[120:200, 200:280] += 150
    places = tmp_path / "before.tif", tmp_path / "after.tif"
    for place, pixels in zip(places, (before, after), strict=True):
        write_raster(place, pixels)
    return places


@pytest.fixture
def run(tmp_path: Path, detector: Detector, pair) -> Callable[..., SceneReport]:
    def call(out: str = "out", *, progress=None, say=lambda text: None, **options) -> SceneReport:
        request = SceneRequest(*map(str, pair), None, tmp_path / out, **options)
        return predict_scene(request, detector=detector, progress=progress, say=say)

    return call


def score_of(report: SceneReport) -> np.ndarray:
    with rasterio.open(report.out / "score.tif") as raster:
        return raster.read(1)


def test_a_finer_scene_is_scored_as_if_it_had_been_shrunk_and_stays_on_its_grid(
    run, detector, pair, tmp_path
):
    report = run()
    score = score_of(report)
    assert score.shape == (400, 500)
    assert score[130:190, 210:270].min() > 0.5
    assert score[:110].max() < 0.01
    # Tiles of 128 px of the scene, of which the network sees 64.
    assert report.content["tiles"]["tile_px"] == 128
    assert {shape[2:] for shape in detector.model.shapes} == {(64, 64)}
    assert report.content["gsd"]["factor"] == pytest.approx(0.5, rel=0.01)
    # The same as a single tile gives, but for what blending does at seams: none show.
    (before, after) = (rasterio.open(place).read().transpose(1, 2, 0) for place in pair)
    whole = detector.predict(before, after, gsd_m=0.5).score
    assert np.abs(whole - score).mean() < 0.005


def test_the_kind_decides_threshold_and_score(run):
    one, other = run("any"), run("building", kind="building")
    assert (one.threshold, other.threshold) == (0.3, 0.1)
    assert other.content["change_kind"] == "building"
    np.testing.assert_allclose(score_of(other), score_of(one) / 2, atol=2e-4)
    with pytest.raises(ConfigError, match="does not know the kind"):
        run("none", kind="road")


def files_gsd_m(path: Path) -> float:
    """Ground sample distance of a raster, in metres."""
    with rasterio.open(path) as raster:
        return read_info(raster, location=str(path), bands=(1,)).gsd_m


class KilledError(Exception):
    """Stands in for a killed process."""


@pytest.mark.parametrize("changed", [{"kind": "building"}, {"gsd_m": 0.25}])
def test_an_unfinished_run_is_taken_up_only_for_the_same_kind_and_length(run, changed):
    def kill_late(tiles: TilesDone) -> None:
        if tiles.done > tiles.total // 2:
            raise KilledError

    for options, resumed in (({"gsd_m": 0.5}, True), (changed, False)):
        with pytest.raises(KilledError):
            run(progress=kill_late, gsd_m=0.5, kind="any")
        begun: list[TilesDone] = []
        told: list[str] = []
        report = run(progress=begun.append, say=told.append, **{"kind": "any", **options})
        assert (begun[0].done > 0) == resumed
        (name,) = options
        named = any("settings changed: " in text and f"`{name}`" in text for text in told)
        assert named != resumed
        for path in report.out.iterdir():
            path.unlink()


def test_a_raster_without_crs_needs_the_length_to_be_said(tmp_path, detector, pair):
    places = [tmp_path / "plain_before.tif", tmp_path / "plain_after.tif"]
    for source, place in zip(pair, places, strict=True):
        with rasterio.open(source) as raster:
            pixels = raster.read().transpose(1, 2, 0)
        grid = Affine(2.0, 0.0, 10.0, 0.0, -2.0, 900.0)
        write_raster(place, pixels, crs=None, transform=grid)
    request = SceneRequest(*map(str, places), None, tmp_path / "plain")
    report = predict_scene(request, detector=detector)
    assert report.content["gsd"] == {
        "gsd_m": None,
        "source": None,
        "working_gsd_m": [1.0, 2.0],
        "factor": 1.0,
    }
    assert any("set `gsd_m`" in text for text in warnings_of(report.remarks))
    told = replace(request, out=tmp_path / "told", gsd_m=0.5)
    report = predict_scene(told, detector=detector)
    assert report.content["gsd"]["factor"] == 0.5
    assert not any("gsd_m" in text for text in warnings_of(report.remarks))


def test_scenes_of_two_folders_have_each_their_own_length(tmp_path, detector, pair):
    for number, place in enumerate(pair):
        folder = tmp_path / ("first", "second")[number]
        folder.mkdir()
        with rasterio.open(place) as raster:
            pixels = raster.read().transpose(1, 2, 0)
        for name, side in (("fine", 0.5), ("coarse", 4.0)):
            grid = Affine(side, 0.0, 500_000.0, 0.0, -side, 5_000_000.0)
            write_raster(folder / f"{name}.tif", pixels[:160, :256], transform=grid)
    request = SceneRequest(
        str(tmp_path / "first"), str(tmp_path / "second"), None, tmp_path / "all", kind="building"
    )
    found = dict(predict_scenes(request, detector=detector))
    factors = {stem: report.content["gsd"]["factor"] for stem, report in found.items()}
    assert factors == pytest.approx({"coarse": 2.0, "fine": 0.5}, rel=0.01)
    assert {report.content["change_kind"] for report in found.values()} == {"building"}
    # Passed over by the same kind, not by another one.
    assert not list(predict_scenes(request, detector=detector))
    with pytest.raises(ConfigError, match="`kind`"):
        list(predict_scenes(replace(request, kind="any"), detector=detector))


def test_in_memory_rasters_and_arrays_of_several_lengths_share_a_call(detector, pair, tmp_path):
    with rasterio.open(pair[0]) as raster:
        before = raster.read().transpose(1, 2, 0)
    with rasterio.open(pair[1]) as raster:
        after = raster.read().transpose(1, 2, 0)
    files, plain = detector.predict_batch([pair, (before, after)])
    assert files.score.shape == plain.score.shape
    assert not np.array_equal(files.score, plain.score)
    told = changedet.predict(before, after, model=detector, gsd_m=files_gsd_m(pair[0]))
    np.testing.assert_array_equal(told.score, files.score)
    building = changedet.predict(before, after, model=detector, kind="building")
    np.testing.assert_allclose(building.score, plain.score / 2, atol=1e-6)
    assert building.threshold == 0.1


def test_a_scene_keeps_freed_memory_where_its_model_computes(run, monkeypatch):
    asked = []
    monkeypatch.setattr("changedet.predict.rasters.keep_freed_memory", asked.append)
    run()
    assert asked == ["cpu"]
