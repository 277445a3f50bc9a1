import json
import shutil
from pathlib import Path

import pytest

from changedet.cli.benchmark import app
from changedet.errors import ConfigError


@pytest.fixture
def run(invoke, pairs_folder: Path, tmp_path: Path):
    def call(*words: object, data: Path = pairs_folder):
        given = ("--data", data, "--out", tmp_path / "out", "--device", "cpu", *words)
        return invoke(app, "accuracy", *given)

    return call


def test_a_baseline_is_judged_and_printed_for_tiles_and_whole_images(run, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/bin/changedet", "benchmark", "accuracy"])
    result = run("baseline:difference", "--no-baselines", "--seed", 4, "--duplicate-limit", 0.95)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert content["origin"]["seed"] == 4
    assert content["near_duplicates"]["limit"] == 0.95
    assert content["origin"]["command"] == "changedet benchmark accuracy"
    (entry,) = content["methods"]
    for view, title in zip(
        entry["views"], ("256 x 256 tiles side by side", "whole images"), strict=True
    ):
        assert f"{title}, 2 pairs" in result.stdout
        assert f"{view['pixels']['f1']:.4f}" in result.stdout
    assert "near-duplicates of training images: " in result.stdout
    assert f"results: {tmp_path / 'out'}" in result.stdout


def test_json_is_printed_alone_and_notes_go_to_the_error_stream(run, tmp_path):
    result = run("baseline:cva", "--no-baselines", "--split", "val", "--json", "--gsd", 2)
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content == json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert content["methods"][0]["note"] == "selection set, optimistic"
    assert content["gsd_m"] == 2.0
    assert "labels: " in result.stderr


def test_the_note_of_a_method_is_printed_and_a_missing_comparison_said(run, pairs_folder):
    result = run("baseline:cva", "--no-baselines", "--split", "train", "--threshold", "stored")
    assert result.exit_code == 0, result.output
    assert "no training split to compare with" in result.stdout
    optimistic = run("baseline:cva", "--no-baselines", "--split", "val", "--overwrite")
    assert "change vector analysis: selection set, optimistic" in optimistic.stdout


def test_views_and_weights_that_fit_no_method_are_refused(run):
    turned = run("baseline:cva", "--no-baselines", "--test-time", "flips")
    assert str(turned.exception).startswith("`test_time` applies to models only")
    weights = run("baseline:cva", "--no-baselines", "--encoder-weights", "hub")
    assert str(weights.exception).startswith(
        "`encoder_weights` applies to baseline:deep_difference only"
    )


def test_nothing_to_judge_is_an_error(run):
    result = run("--no-floors")
    assert isinstance(result.exception, ConfigError)
    assert "nothing to evaluate" in str(result.exception)


def test_undefined_figures_are_dashes(run, tmp_path, pairs_folder):
    """Where both dates are the same nothing is detected, so there is no precision."""
    own = shutil.copytree(pairs_folder, tmp_path / "data")
    shutil.copytree(own / "test" / "A", own / "test" / "B", dirs_exist_ok=True)

    result = run("floor:difference", "--no-floors", data=own)

    assert result.exit_code == 0, result.output
    [row, _] = [line for line in result.stdout.splitlines() if "image difference" in line]
    f1, interval, precision, recall = row.removeprefix("image difference").split()[:4]
    assert (f1, interval, precision, recall) == ("0.0000", "0.000-0.000", "-", "0.0000")
    content = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    pixels = content["methods"][0]["views"][0]["pixels"]
    assert (pixels["precision"], pixels["recall"]) == (None, 0.0)
