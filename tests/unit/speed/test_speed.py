"""Speed of a model from file to file, measured on tiny scenes."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

from changedet.card import read_card
from changedet.errors import ConfigError
from changedet.predict.stage_times import StageTimes
from changedet.rendering.growth import GrowthPoint, write_growth_chart
from changedet.results import read_results
from changedet.speed import run as run_module
from changedet.speed.request import SpeedRequest
from changedet.speed.run import measure_speed
from changedet.speed.scenes import write_scenes
from changedet.training.config import dump_settings, load_config
from changedet.types import Normalisation
from stand_ins import write_kinds_model

STAGES = ["read", "score", "blend", "write", "polygons", "preview", "rest"]
TINY = ("model.encoder=test_efficientnet", "model.decoder_width=8", "data.crop_px=64")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = load_config("pyramid_small", overrides=[*TINY, "model.encoder_weights=none"])
    return write_kinds_model(
        tmp_path_factory.mktemp("speed") / "model.safetensors", recipe=dump_settings(settings)
    )


@pytest.fixture
def asked(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SpeedRequest:
    # What a new process costs is measured by the operating system, not by us.
    monkeypatch.setattr(run_module.subprocess, "run", lambda *_, **__: SimpleNamespace())
    return SpeedRequest(model, tmp_path / "out", sizes=(96, 64), repeats=2, tile_px=64)


def test_a_model_is_timed_by_stage_and_by_size(asked, monkeypatch):
    ticks = []
    results = measure_speed(asked, progress=lambda done, total: ticks.append((done, total)))
    assert [scene.side_px for scene in results.scenes] == [64, 96]
    for scene in results.scenes:
        assert [stage.name for stage in scene.stages] == STAGES
        assert len(scene.cpu_s_of_repeats) == 2
        used = {stage.name: stage.cpu_s for stage in scene.stages}
        assert used["score"] > 0
        assert used["write"] > 0
        assert scene.mpx_per_s == pytest.approx(scene.side_px**2 / 1e6 / scene.seconds)
    inference, training = results.inference, results.training
    assert training is not None
    assert training.side_px == 64
    # A training step goes back through the network as well.
    assert training.gflop_per_pair > 2 * inference.gflop_per_pair > 0
    for rate in (inference, training):
        assert rate.gflop_per_s == pytest.approx(rate.gflop_per_pair * rate.pairs_per_s)
        assert rate.share_of_ceiling == pytest.approx(
            rate.gflop_per_s / results.ceiling_gflop_per_s
        )
    assert ticks[0] == (0, 7)
    assert ticks[-1] == (7, 7)
    assert read_results(asked.out / "speed.json") == results
    assert (asked.out / "speed.png").stat().st_size > 1000
    assert sorted(path.name for path in asked.out.parent.iterdir()) == ["out"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": (32,)}, "`sizes` must lie between 64 and 32768 pixels, got 32"),
        ({"sizes": ()}, "`sizes` must name at least one size"),
        ({"repeats": 0}, "`repeats` must be at least 1, got 0"),
        ({"model": Path("baseline:cva")}, "baseline:cva has no network to be timed"),
    ],
)
def test_wrong_settings_are_refused(model, tmp_path, changes, message):
    request = replace(SpeedRequest(model, tmp_path / "out"), **changes)
    with pytest.raises(ConfigError, match=message):
        request.check()


def test_a_generated_scene_goes_on_by_its_reflection(model, tmp_path):
    before, after = write_scenes(tmp_path, 1100, read_card(model), offset_px=0.5)
    with rasterio.open(before) as first, rasterio.open(after) as second:
        values = first.read()
        assert values.shape == (3, 1100, 1100)
        assert np.array_equal(values[:, :512], values[:, 1023:511:-1])
        assert np.array_equal(values[:, :76], values[:, 1024:])
        assert second.transform.c - first.transform.c == pytest.approx(0.5 * first.res[0])
        assert not np.array_equal(values, second.read())


def test_a_scene_has_the_bands_and_values_of_the_training(model, tmp_path):
    card = read_card(model)
    means = (1000.0, 2000.0, 3000.0, 4000.0)
    stats = Normalisation(means, means, (100.0,) * 4, (100.0,) * 4)
    card = replace(card, kinds=(), pixel_type="uint16", normalisation=stats)
    before, _ = write_scenes(tmp_path, 512, card)
    with rasterio.open(before) as raster:
        assert raster.dtypes == ("uint16",) * 4
        assert raster.read().mean(axis=(1, 2)) == pytest.approx(means, abs=150)


def test_times_of_threads_and_of_the_rest_add_up():
    stages = StageTimes()
    with stages.rest("score"):
        with stages.thread("read"):
            sum(range(200_000))
        sum(range(400_000))
    read, score = stages.seconds["read"], stages.seconds["score"]
    assert 0 < read < score
    with stages.process("write"):
        sum(range(200_000))
    assert stages.seconds["write"] > 0
    assert stages.seconds["score"] == score


def test_the_chart_needs_no_memory_that_is_not_known(tmp_path):
    points = [GrowthPoint(side, {"read": 0.1, "score": 1.0}, None) for side in (64, 128)]
    write_growth_chart(tmp_path / "growth.png", points, title="model")
    assert (tmp_path / "growth.png").read_bytes()[:4] == b"\x89PNG"


def test_the_command_prints_a_table_of_80_columns_or_json(asked, run_speed):
    ended = run_speed("--sizes", "64", "--repeats", 1, "--tile", 64, "--out", asked.out)
    assert ended.code == 0
    # A folder may have a long name.
    lines = [line for line in ended.out.splitlines() if str(asked.out) not in line]
    assert max(map(len, lines)) <= 80
    for word in (*STAGES, "start-up until the model is open", "training step", "peak MB"):
        assert word in ended.out
    ended = run_speed("--sizes", "64,32", "--out", asked.out, "--overwrite")
    assert ended.code == 2
    assert "--sizes must lie between 64 and 32768 pixels, got 32" in ended.err
    ended = run_speed("--runtime", "onnx", "--out", asked.out.parent / "new")
    assert ended.code == 2
    assert "is not an exported model" in ended.err
    assert json.loads((asked.out / "speed.json").read_text())["kind"] == "speed"


@pytest.fixture
def run_speed(model, monkeypatch, capsys):
    from changedet.cli.main import main

    def call(*words):
        line = ["changedet", "benchmark", "speed", str(model), *map(str, words)]
        monkeypatch.setattr("sys.argv", line)
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return SimpleNamespace(code=end.value.code, out=printed.out, err=printed.err)

    return call
