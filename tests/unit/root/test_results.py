"""The published kinds of result files, and the reader of them all."""

import inspect
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import changedet
from changedet.ablation.report_data import AblationFindings
from changedet.ablation.run_state import Judgement
from changedet.errors import ConfigError, ResultsError
from changedet.evaluation.results import EvaluationResults
from changedet.metrics.confusion import Confusion
from changedet.results import KINDS, list_kinds, read_results, results_schema
from changedet.storage.results import Results

#: A file of each kind, as the version before kinds and schema versions wrote it (59bc17a).
OLD = Path(__file__).parent / "old_results"


def old(kind: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((OLD / f"{kind}.json").read_text())
    return content


def lost(before: Any, after: Any) -> list[str]:
    """Keys of a file that are not in another one, or hold something else there."""
    if isinstance(before, dict) and isinstance(after, dict):
        missing = [key for key in before if key not in after]
        deeper = [
            f"{key}.{rest}" if rest else key
            for key in before.keys() & after.keys()
            for rest in lost(before[key], after[key])
        ]
        return [*missing, *deeper]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = zip(before, after, strict=True)
        return [rest for one, other in pairs for rest in lost(one, other)]
    return [] if before == after else [""]


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


@pytest.mark.parametrize("kind", sorted(path.stem for path in OLD.glob("*.json")))
def test_files_of_before_there_were_kinds_are_read(tmp_path: Path, kind: str):
    found = changedet.read_results(OLD / f"{kind}.json")
    assert found.kind == kind
    assert type(found).__name__ == KINDS[kind][1]
    jsonschema.validate(found.to_dict(), results_schema(kind))
    found.write(tmp_path / "new.json")
    assert read_results(str(tmp_path / "new.json")).to_json() == found.to_json()
    # Nothing that a user may have read from such a file is lost.
    renamed = {
        "ablation": {"protocol", "claims.protocol", "claims.quantity"},
        "ablation_judgement": {"scores.seed", "scores.honest"},
    }
    gone = {
        re.sub(r"rows\.runs\.scores\.\w+\.", "", key) for key in lost(old(kind), found.to_dict())
    }
    assert gone == renamed.get(kind, set())


def test_every_file_of_an_old_ablation_gets_the_present_names():
    judgement = read_results(OLD / "ablation_judgement.json")
    assert isinstance(judgement, Judgement)
    score = judgement.scores["fixed_threshold"]
    stored = old("ablation_judgement")["scores"]["honest"]
    assert score.counts.tolist() == stored["counts"]
    assert score.false_positive_objects.tolist() == stored["blotches"]
    assert score.f1 == pytest.approx(stored["f1"])
    findings = read_results(OLD / "ablation.json")
    assert isinstance(findings, AblationFindings)
    assert findings.claims[0].protocol == "best_threshold"
    assert findings.claims[0].model_extra["quantity"] == "false_positive_objects"
    stored = old("ablation")["rows"][0]
    assert findings.rows[0].fixed_threshold.mean == stored["honest"]["mean"]
    stored = old("ablation")["floors"][0]
    assert findings.baselines[0].best_threshold.threshold == stored["seed"]["threshold"]


def test_figures_of_an_old_evaluation_get_their_present_names():
    found = read_results(OLD / "evaluation.json")
    assert isinstance(found, EvaluationResults)
    stored = old("evaluation")
    assert found.best_threshold.max_f1 == stored["seed"]["max_f1"]
    assert found.fixed_threshold is not None
    assert found.fixed_threshold.confusion == Confusion(**stored["honest"]["confusion"])
    written = found.to_dict()
    assert written["seed"] == written["best_threshold"] == stored["seed"]
    assert written["honest"] == written["fixed_threshold"] == stored["honest"]
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
    with pytest.raises(ResultsError, match="contains no changedet results"):
        read_results(path)


def test_there_is_no_schema_of_another_name():
    with pytest.raises(
        ConfigError, match=r"result files of kind 'xyz' do not exist; there are: scene, .*"
    ):
        results_schema("xyz")
    assert list_kinds() == list(KINDS)


def test_summaries_and_metrics_are_read_without_torch():
    code = (
        "import sys, changedet\n"
        "for kind in sys.argv[2:]: changedet.read_results(f'{sys.argv[1]}/{kind}.json')\n"
        "print('torch' in sys.modules)"
    )
    kinds = ("scene", "images", "image_pair", "evaluation")
    command = [sys.executable, "-c", code, str(OLD), *kinds]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_counts_that_are_no_numbers_are_no_traceback(tmp_path):
    content = json.loads((OLD / "ablation_judgement.json").read_text())
    text = json.dumps(content)
    # An infinite number where an array of whole ones stands.
    path = tmp_path / "judgement.json"
    for start in re.finditer(r"\[\[", text):
        path.write_text(f"{text[: start.end()]}Infinity, {text[start.end() :]}")
        with pytest.raises(ResultsError):
            read_results(path)
