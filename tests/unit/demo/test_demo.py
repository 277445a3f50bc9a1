"""The embedded default in small: every step, no claim about its quality."""

import json
from pathlib import Path

import pytest
import rasterio
from typer.testing import CliRunner

from changedet.cli.main import app
from changedet.data.index import index_pairs
from changedet.data.labels.scan import scan_labels
from changedet.data.reading import PairReader
from changedet.demo.baseline import DifferenceScorer
from changedet.demo.real_pair import AFTER, BEFORE, map_real_pair
from changedet.demo.run import DemoReport, DemoRequest, run_demo
from changedet.demo.typical import pair_of, typical_panels
from changedet.errors import ConfigError
from changedet.inference.counting import count_scores
from changedet.metrics.protocol import best_threshold_metrics

SMALL = (
    "model.encoder=test_efficientnet",
    "model.encoder_weights=none",
    "model.head_width=16",
    "training.epochs=1",
    "data.crop_px=64",
    "training.batch_size=1",
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, DemoReport]:
    out = tmp_path_factory.mktemp("demo") / "demo"
    request = DemoRequest(
        out=out, overrides=SMALL, counts=(4, 3, 2), device="cpu", commands="changedet train & so on"
    )
    return out, run_demo(request)


def test_the_page_shows_figures_pictures_and_how_to_go_on(demo):
    out, report = demo
    page = report.page.read_text(encoding="utf-8")
    assert report.page == out / "summary.html"
    assert page.count("<img") >= 8
    assert "plain image difference" in page
    assert "changedet train &amp; so on" in page
    assert f"{report.contenders[0].result.f1:.4f}" in page


def test_the_page_is_a_report_of_all_steps_and_maps_a_real_pair(demo, tmp_path):
    out, report = demo
    page = report.page.read_text(encoding="utf-8")
    titles = [
        *("Test split<", "Does training help?", "On real images", "Test split: examples"),
        *("One pair predicted", "Training<", "Training: curves", "How it was made"),
    ]
    places = [page.index(f"<h2>{title}") for title in titles]
    assert places == sorted(places)
    # What a report of the same folders shows: all test pairs to swipe, the predicted one too, and
    # the curves of the training.
    assert page.count('class="stage"') == 3
    assert 'aria-label="Loss: loss over steps"' in page
    assert report.real is not None
    assert report.real.polygons.count > 10
    assert (out / "real" / "preview.png").is_file()
    assert report.seconds["map a pair of real rasters"] < 30
    said: list[str] = []
    assert map_real_pair(tmp_path / "real", folder=tmp_path, say=said.append) is None
    assert said == ["there are no real rasters outside of a checkout: this part is left out"]
    assert not (tmp_path / "real").exists()


def test_typical_panels_are_those_in_the_middle(tmp_path):
    kinds = ["worst"] * 2 + ["median"] * 5 + ["best"] * 2
    for number, kind in enumerate(kinds, start=1):
        (tmp_path / f"{number:02}_{kind}_f1-0.{number}00_some_pair_{number}.png").touch()
    typical = typical_panels(tmp_path)
    assert [pair_of(path) for path in typical] == [f"some_pair_{number}" for number in (4, 5, 6)]
    (tmp_path / "10_no_change_other.png").touch()
    assert pair_of(tmp_path / "10_no_change_other.png") == "other"


def test_the_real_rasters_are_small_public_and_keep_their_place():
    folder = Path(__file__).parents[3] / "examples" / "data"
    files = sorted(folder.glob("*.tif"))
    assert [path.name for path in files] == [BEFORE, AFTER]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    for path in files:
        with rasterio.open(path) as raster:
            assert raster.crs == "EPSG:4326"
            assert raster.bounds.left == pytest.approx(-74.60122, abs=1e-5)
    assert "public domain" in (folder / "README.md").read_text()


def test_every_contender_is_judged_on_the_test_split(demo):
    out, report = demo
    trained, untrained, difference = (contender.result for contender in report.contenders)
    assert [trained.images, untrained.images, difference.images] == [2, 2, 2]
    metrics = json.loads((out / "evaluation" / "metrics.json").read_text())
    assert trained.f1 == pytest.approx(metrics["fixed_threshold"]["f1"], nan_ok=True)
    index = index_pairs(out / "data")
    encoding = scan_labels(index.pairs).encoding
    pairs = PairReader(encoding).read_ahead(index.split("test"))
    counted = count_scores(DifferenceScorer(), pairs)
    assert difference.average_precision == best_threshold_metrics(counted).average_precision
    assert untrained.average_precision != difference.average_precision


def test_everything_is_left_where_the_page_says(demo):
    out, _ = demo
    assert (out / "run" / "best.safetensors").is_file()
    assert (out / "evaluation" / "metrics.json").is_file()
    assert (out / "prediction" / "mask.png").is_file()


def test_a_second_demo_needs_overwrite_and_spares_other_files(demo, tmp_path):
    out, _ = demo
    with pytest.raises(ConfigError, match='use `existing="replace"` to replace it'):
        run_demo(DemoRequest(out=out))
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"contains other files \(thesis\.txt\)"):
        run_demo(DemoRequest(out=tmp_path, existing="replace"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        run_demo(DemoRequest(out=tmp_path / "file"))


def test_the_command_prints_the_comparison_and_the_page(tmp_path):
    settings = [part for setting in SMALL for part in ("--set", setting)]
    arguments = ["demo", "--out", str(tmp_path / "demo"), "--counts", "3", "2", "2", *settings]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "plain image difference" in result.output
    assert "summary.html" in result.output.replace("\n", "")
    page = (tmp_path / "demo" / "summary.html").read_text(encoding="utf-8")
    assert "changedet train demo --data PAIRS" in page
