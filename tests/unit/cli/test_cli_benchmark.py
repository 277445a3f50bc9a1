import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from changedet.cli.benchmark import app
from changedet.errors import ConfigError


@pytest.fixture
def run(pairs_folder: Path, tmp_path: Path):
    def call(*words: object):
        given = ["--data", pairs_folder, "--out", tmp_path / "out", "--device", "cpu", *words]
        return CliRunner().invoke(
            app, ["accuracy", *map(str, given)], env={"COLUMNS": "160"}, prog_name="benchmark"
        )

    return call


def test_a_floor_is_judged_and_printed_for_tiles_and_whole_images(run, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/bin/changedet", "benchmark", "accuracy"])
    result = run("floor:difference", "--no-floors", "--seed", 4, "--duplicate-limit", 0.95)
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
    result = run("floor:cva", "--no-floors", "--split", "val", "--json", "--gsd", 2)
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content == json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert content["methods"][0]["note"] == "selection set, optimistic"
    assert content["gsd_m"] == 2.0
    assert "labels: " in result.stderr


def test_the_note_of_a_method_is_printed_and_a_missing_comparison_said(run, pairs_folder):
    result = run("floor:cva", "--no-floors", "--split", "train", "--threshold", "stored")
    assert result.exit_code == 0, result.output
    assert "no training split to compare with" in result.stdout
    optimistic = run("floor:cva", "--no-floors", "--split", "val", "--overwrite")
    assert "change vector analysis: selection set, optimistic" in optimistic.stdout


def test_views_and_weights_that_fit_no_method_are_refused(run):
    turned = run("floor:cva", "--no-floors", "--test-time", "flips")
    assert str(turned.exception).startswith("--test-time is for models")
    weights = run("floor:cva", "--no-floors", "--encoder-weights", "hub")
    assert str(weights.exception).startswith("--encoder-weights is for baseline:deep_difference")


def test_nothing_to_judge_is_an_error(run):
    result = run("--no-floors")
    assert isinstance(result.exception, ConfigError)
    assert "nothing to judge" in str(result.exception)


def test_undefined_figures_are_dashes():
    from changedet.cli.benchmark import _number

    assert _number(np.nan) == "-"
