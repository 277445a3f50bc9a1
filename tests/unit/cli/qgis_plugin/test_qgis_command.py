"""The command line that the QGIS plugin starts."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer.main

from changedet.baselines.names import BASELINE_PREFIX, list_baselines
from changedet.cli.main import app
from changedet_qgis.command import (
    UNTRAINED,
    CommandError,
    Request,
    clean_environment,
    find_command,
    read_models,
    split_options,
)

PLAIN = Request(
    before="/a b/é.tif", after=r"C:\Daten\nach her.tif", model="any-change", out="/o ut"
)


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_what_is_not_given_is_left_to_the_command():
    assert PLAIN.words() == [
        *("predict", "/a b/é.tif", r"C:\Daten\nach her.tif"),
        *("--model=any-change", "--out=/o ut", "--progress=lines"),
    ]


def test_all_that_is_given_becomes_options_that_the_command_has():
    request = replace(
        PLAIN,
        kind="building",
        gsd_m=0.5,
        threshold=0.0,
        min_area=25.0,
        region="-71.5,42.0,-71.25,42.5",
        region_crs="EPSG:4326",
        overwrite=True,
        further="--bands 4,3,2 --coregister",
    )
    words = request.words()
    assert words[3:] == [
        *("--model=any-change", "--out=/o ut", "--kind=building", "--gsd=0.5", "--threshold=0.0"),
        *("--min-area=25.0", "--aoi=-71.5,42.0,-71.25,42.5", "--aoi-crs=EPSG:4326"),
        *("--overwrite", "--bands", "4,3,2", "--coregister", "--progress=lines"),
    ]
    command = typer.main.get_command(app).commands["predict"]
    parsed = command.make_context("predict", words[1:]).params
    assert (parsed["before"], parsed["after"]) == (request.before, request.after)
    assert (parsed["aoi"], parsed["aoi_crs"]) == (request.region, "EPSG:4326")
    assert (parsed["threshold"], parsed["min_area"], parsed["gsd"]) == (0.0, 25.0, 0.5)
    assert (parsed["overwrite"], parsed["coregister"], parsed["progress"]) == (True, True, "lines")


@pytest.mark.parametrize("model", ["", "  "])
def test_without_a_model_nothing_is_started(model):
    with pytest.raises(CommandError, match="no model is chosen"):
        replace(PLAIN, model=model).words()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("--bands 4,3,2", ["--bands", "4,3,2"]),
        (r'--encoder-weights "C:\my files\w.pth"', ["--encoder-weights", r"C:\my files\w.pth"]),
        ("--stretch '0,3000' --nodata=#1", ["--stretch", "0,3000", "--nodata=#1"]),
    ],
)
def test_further_options_are_split_as_a_shell_does_but_for_backslashes(text, words):
    assert split_options(text) == words


def test_an_open_quotation_mark_is_named():
    with pytest.raises(CommandError, match="quotation mark is not closed in '--out \"a'"):
        split_options('--out "a')


def test_the_command_is_found_by_the_setting_on_path_or_where_users_have_it(tmp_path):
    on_path = program(tmp_path / "bin" / "changedet")
    variables = {"PATH": str(on_path.parent), "HOME": str(tmp_path / "home")}
    assert find_command("", environment=variables) == str(on_path)
    environment = program(tmp_path / "my env" / "bin" / "changedet")
    for setting in (environment, environment.parents[1], environment.parent, f' "{environment}" '):
        assert find_command(str(setting), environment=variables) == str(environment)
    nowhere = {**variables, "PATH": str(tmp_path)}
    with pytest.raises(CommandError, match="is not on PATH: install it; enter its path under Sett"):
        find_command("", environment=nowhere)
    users = program(tmp_path / "home" / ".local" / "bin" / "changedet")
    assert find_command("", environment=nowhere) == str(users)
    windows = program(tmp_path / "env" / "Scripts" / "changedet.exe")
    found = find_command(str(tmp_path / "env"), environment=variables, platform="win32")
    assert found == str(windows)


def test_a_wrong_setting_is_told_even_if_another_command_is_on_path(tmp_path):
    variables = {"PATH": str(program(tmp_path / "changedet").parent), "HOME": str(tmp_path)}
    readable = tmp_path / "notes.txt"
    readable.write_text("")
    for setting in (tmp_path / "none", readable):
        with pytest.raises(CommandError, match="is neither the changedet command nor an environme"):
            find_command(str(setting), environment=variables)


def test_the_command_gets_nothing_that_qgis_set_for_its_own_python():
    of_qgis = {"PYTHONHOME": "q", "PythonPath": "q", "GDAL_DATA": "q", "PROJ_LIB": "q"}
    kept = {"PATH": "p", "HOME": "h", "CHANGEDET_MODELS": "m", "OMP_NUM_THREADS": "1"}
    cleaned = clean_environment({**of_qgis, **kept})
    assert kept.items() <= cleaned.items()
    assert not of_qgis.keys() & cleaned.keys()
    printed = subprocess.run(
        [sys.executable, "-c", "print('größe')"],
        env=clean_environment({**os.environ, "LC_ALL": "C"}),
        capture_output=True,
        check=True,
    )
    assert printed.stdout.decode("utf-8").strip() == "größe"


def test_the_list_of_models_is_read_as_the_command_prints_it(run, monkeypatch, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"no model")
    monkeypatch.setenv("CHANGEDET_MODELS", str(tmp_path))
    code, printed, _ = run("models", "--json")
    assert code == 0
    assert "broken" in printed
    models = {model.name: model for model in read_models(printed)}
    assert "broken" not in models
    assert models["any-change"].kinds == ("any", "building", "cropland")
    assert "pixels of 0.6 to 1.2 m" in models["any-change"].facts
    assert models["pyramid_small_clcd"].kinds == ()


@pytest.mark.parametrize("text", ["", "no such command", "{}", json.dumps([{"name": "a"}]), "[1]"])
def test_a_list_of_another_version_is_told_so(text):
    with pytest.raises(CommandError, match="different versions"):
        read_models(text if text != "{}" else '{"a": 1}')


def test_the_methods_without_training_are_those_of_the_command():
    assert [f"{BASELINE_PREFIX}{name}" for name in list_baselines()] == list(UNTRAINED)
