"""The published kinds of result files, and the reader of them all."""

import inspect
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import changedet
from changedet.errors import ConfigError, ResultsError
from changedet.results import KINDS, list_kinds, read_results, results_schema
from changedet.storage.results import Results

MODEL = {"file": "m.safetensors", "sha256": "0", "architecture": "dasnet", "options": {}}
THRESHOLD = {"score": 0.25, "distance": 0.5, "source": "a test"}


def picture_run() -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "model": {**MODEL, "data": None},
        "threshold": THRESHOLD,
        "device": "cpu",
        "tile_px": 64,
        "test_time": "none",
    }


def image_pair() -> dict[str, Any]:
    pair = {"name": "a", "before": "A/a.png", "after": "B/a.png", "width": 4, "height": 4}
    return {**picture_run(), **pair, "changed_share": 0.5}


def images() -> dict[str, Any]:
    pair = {name: image_pair()[name] for name in list(image_pair())[6:]}
    return {**picture_run(), "images": 1, "pairs": [pair]}


#: Files as they were written before there were kinds and versions.
OLD: dict[str, Callable[[], dict[str, Any]]] = {"image_pair": image_pair, "images": images}


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_has_a_model_and_a_schema(kind: str):
    module, name = KINDS[kind]
    model = getattr(import_module(module), name)
    assert issubclass(model, Results)
    assert model.model_fields["kind"].default == kind
    schema = results_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["kind"]["const"] == kind
    undescribed = [key for key, part in schema["properties"].items() if not part.get("description")]
    assert undescribed == []
    assert inspect.getdoc(model)


@pytest.mark.parametrize("kind", list(OLD))
def test_files_of_before_there_were_kinds_are_read(tmp_path: Path, kind: str):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(OLD[kind]()))
    found = changedet.read_results(path)
    assert found.kind == kind
    jsonschema.validate(found.to_dict(), results_schema(kind))
    found.write(tmp_path / "new.json")
    assert read_results(str(tmp_path / "new.json")) == found


def test_an_unknown_kind_and_other_json_are_refused(tmp_path: Path):
    path = tmp_path / "file.json"
    path.write_text('{"kind": "nonsense"}')
    with pytest.raises(ResultsError, match="unknown kind 'nonsense'; known kinds are: scene, "):
        read_results(path)
    path.write_text('{"kind": 3}')
    with pytest.raises(ResultsError, match="unknown kind 3"):
        read_results(path)
    path.write_text('{"type": "Feature"}')
    with pytest.raises(ResultsError, match="holds no changedet results"):
        read_results(path)


def test_there_is_no_schema_of_another_name():
    with pytest.raises(ConfigError, match=r"results must be one of scene, .*, got 'nonsense'"):
        results_schema("nonsense")
    assert list_kinds() == list(KINDS)
