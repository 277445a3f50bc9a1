"""Models that are asked for by name: where they are looked for, and in which order."""

import os
import sys
from pathlib import Path

import pytest

from changedet import model_search
from changedet.errors import CheckpointError, ConfigError
from changedet.model_search import (
    find_method,
    find_model,
    list_models_at_hand,
    model_folders,
    user_models,
)


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one model, which the package seems to run from, and no other models."""
    folder = put(tmp_path / "checkout", "pyproject.toml")
    put(folder / "models", "pyramid_small_clcd.safetensors")
    monkeypatch.setattr(model_search, "__file__", str(folder / "src/changedet/model_search.py"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("CHANGEDET_MODELS", raising=False)
    return folder


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(str(folder))
    return folder


def test_the_variable_comes_before_the_users_folder_and_that_before_the_checkout(
    tmp_path, monkeypatch, checkout
):
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("CHANGEDET_MODELS", os.pathsep.join(["", str(first), str(second)]))
    user = tmp_path / "home" / "changedet" / "models"
    assert model_folders() == [first, second, user, checkout / "models"]


@pytest.mark.parametrize(
    ("installed", "meant"),
    [
        ({"torch", "onnxruntime", "openvino"}, ".safetensors"),
        ({"onnxruntime"}, ".onnx"),
        ({"openvino"}, ".onnx"),
        # Nothing computes either: the one that more commands read.
        (set(), ".safetensors"),
    ],
)
def test_of_a_model_and_its_exported_form_the_one_is_meant_that_can_be_used(
    installed, meant, tmp_path, monkeypatch
):
    is_installed = property(lambda self: self.module in installed)
    monkeypatch.setattr("changedet._optional.Requirement.is_installed", is_installed)
    folder = put(tmp_path / "mine", "roads.onnx", "roads.safetensors", "only.onnx")
    monkeypatch.setenv("CHANGEDET_MODELS", str(folder))
    assert find_model("roads") == folder / f"roads{meant}"
    for name in ("roads.onnx", "roads.safetensors"):
        assert find_model(name) == folder / name
    assert find_model("only") == folder / "only.onnx"
    assert [model.name for model in list_models_at_hand()].count("roads") == 1


def test_of_two_models_of_one_name_the_first_folders_is_taken(tmp_path, monkeypatch):
    first = put(tmp_path / "first", "roads.safetensors")
    user = put(
        tmp_path / "home" / "changedet" / "models", "roads.safetensors", "fields.safetensors"
    )
    assert find_model("roads") == user / "roads.safetensors"
    monkeypatch.setenv("CHANGEDET_MODELS", str(first))
    assert find_model("roads") == first / "roads.safetensors"
    assert find_model("fields.safetensors") == user / "fields.safetensors"
    names = [model.name for model in list_models_at_hand()]
    assert names[:2] == ["roads", "fields"]
    assert names.count("roads") == 1


def test_other_files_hidden_ones_and_absent_folders_are_passed_over(tmp_path, monkeypatch):
    folder = put(tmp_path / "m", "notes.txt", ".half.safetensors", "one.safetensors")
    (folder / "folder.safetensors").mkdir()
    monkeypatch.setenv("CHANGEDET_MODELS", os.pathsep.join([str(tmp_path / "gone"), str(folder)]))
    assert list_models_at_hand()[0].path == folder / "one.safetensors"
    assert all("half" not in model.name for model in list_models_at_hand())


def test_a_file_of_that_name_here_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(put(tmp_path / "here", "roads"))
    put(tmp_path / "home" / "changedet" / "models", "roads.safetensors")
    assert find_model("roads") == Path("roads")


def test_a_folder_that_is_no_run_does_not_hide_a_model_of_its_name(tmp_path, monkeypatch):
    user = put(tmp_path / "home" / "changedet" / "models", "roads.safetensors")
    monkeypatch.chdir(put(tmp_path / "here"))
    put(tmp_path / "here" / "roads")
    assert find_model("roads") == user / "roads.safetensors"


def test_a_run_stands_for_its_best_model(tmp_path):
    run = put(tmp_path / "run", "best.safetensors")
    assert find_model(run) == run / "best.safetensors"
    assert find_model(f"{run}/") == run / "best.safetensors"
    with pytest.raises(CheckpointError, match=r"is a folder without best\.safetensors"):
        find_model(tmp_path)


def test_an_unknown_name_is_answered_with_the_nearest_or_with_what_there_is(tmp_path):
    put(tmp_path / "home" / "changedet" / "models", "roads.safetensors")
    with pytest.raises(CheckpointError, match=r"no model file raods; did you mean 'roads'\?"):
        find_model("raods")
    with pytest.raises(CheckpointError, match=r"those at hand \(roads, pyramid_small_clcd\)"):
        find_model("x/y.safetensors")


@pytest.mark.parametrize(
    ("platform", "variable", "below"),
    [
        ("linux", "XDG_DATA_HOME", "changedet/models"),
        ("win32", "LOCALAPPDATA", "changedet/models"),
    ],
)
def test_the_users_folder_is_where_the_system_has_it(
    tmp_path, monkeypatch, platform, variable, below
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert user_models() == tmp_path / below


def test_without_a_variable_the_users_folder_is_below_the_home(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert user_models() == tmp_path / ".local" / "share" / "changedet" / "models"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert user_models() == (tmp_path / "Library" / "Application Support" / "changedet" / "models")


def test_a_baseline_is_checked_and_stays_a_name(tmp_path):
    assert find_method("baseline:ir_mad") == "baseline:ir_mad"
    with pytest.raises(ConfigError, match="did you mean 'ir_mad'"):
        find_method("baseline:irmad")
    with pytest.raises(ConfigError, match="`encoder` and `encoder_weights`"):
        find_method("baseline:cva", encoder="resnet18")
    with pytest.raises(ConfigError, match="`test_time` applies to models only"):
        find_method("baseline:cva", test_time="flips")
    run = put(tmp_path / "run", "best.safetensors")
    with pytest.raises(ConfigError, match="`channels` applies to baselines only"):
        find_method(run, channels=4)
