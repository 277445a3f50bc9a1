"""The published kinds of result files, and the reader of them all."""

import inspect
import json
import math
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import changedet
from changedet.errors import ConfigError, ResultsError
from changedet.evaluation.results import EvaluationResults
from changedet.metrics.confusion import Confusion
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


def evaluation() -> dict[str, Any]:
    best = {
        **dict.fromkeys(("max_f1", "precision", "recall", "average_precision", "roc_auc")),
        **{"threshold": None, "distance": None, "images": 2, "note": "optimistic"},
    }
    figures = ("f1", "iou", "precision", "recall", "overall_accuracy", "kappa")
    fixed = {
        **{"threshold": 0.5, "distance": 1.0, **dict.fromkeys(figures, 0.5)},
        "intervals": {name: [None, 0.75] for name in figures},
        **{"level": 0.95, "average_precision": 0.5, "roc_auc": None},
        **{"confusion": {"tp": 1, "fp": 2, "fn": 3, "tn": 4}, "images": 2},
        **{"note": None, "threshold_source": "a test"},
    }
    label = {"kind": "binary", "changed": [255], "unchanged": [0]}
    data = {"name": "TINY", "root": "TINY", "layout": "folders", "benchmark": None}
    return {
        **{"version": "0.1.0", "model": MODEL},
        "data": {**data, "label": {**label, "grey_threshold": None, "ignore_value": None}},
        **{"split": "test", "threshold_split": None, "images": 2, "mode": "whole"},
        **{"tile_px": 64, "test_time": "none", "seed": best, "seen_blocks": None},
        **{"honest": fixed, "reason": None, "average_precision": 0.5, "roc_auc": None},
        **{"pictures_threshold": 0.5, "device": "cpu", "seconds": 1.5},
    }


#: Files as they were written before there were kinds and versions.
OLD: dict[str, Callable[[], dict[str, Any]]] = {
    "image_pair": image_pair,
    "images": images,
    "evaluation": evaluation,
}


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


def test_figures_of_an_old_evaluation_get_their_present_names(tmp_path: Path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(evaluation()))
    found = read_results(path)
    assert isinstance(found, EvaluationResults)
    assert math.isnan(found.best_threshold.max_f1)
    assert found.fixed_threshold is not None
    assert found.fixed_threshold.confusion == Confusion(tp=1, fp=2, fn=3, tn=4)
    assert found.fixed_threshold.threshold_source == "a test"
    written = found.to_dict()
    assert written["seed"] == written["best_threshold"] == evaluation()["seed"]
    assert written["honest"] == written["fixed_threshold"] == evaluation()["honest"]
    schema = results_schema("evaluation")["properties"]
    assert [name for name, part in schema.items() if part.get("deprecated")] == ["seed", "honest"]


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
