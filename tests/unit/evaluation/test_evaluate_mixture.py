"""A model on every data set of a mixture by itself."""

import io
import json
import math
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import changedet
from changedet.cli.evaluate import _table_of_sets, evaluate
from changedet.cli.wording import with_options
from changedet.errors import ConfigError, DataError
from changedet.evaluation.evaluate import evaluate_model
from changedet.evaluation.evaluate_mixture import evaluate_mixture
from changedet.evaluation.mixture_results import MixtureEvaluationResults
from changedet.evaluation.request import EvaluationRequest
from changedet.results import read_results
from mixtures import FORMER, GSD_M, KINDS, write_mixture, write_model

pytestmark = pytest.mark.usefixtures("blank_charts")


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixture(tmp_path_factory.mktemp("mixture"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "trained.safetensors")


@pytest.fixture
def run(tmp_path: Path, model: Path, mixture: Path):
    def call(**options: Any) -> MixtureEvaluationResults:
        callbacks = {name: options.pop(name) for name in ("say", "progress") if name in options}
        settings = {"model": model, "data": mixture, "out": tmp_path / "out", "split": "val"}
        request = EvaluationRequest(**{**settings, "panels": 1, "device": "cpu", **options})
        return evaluate_mixture(request, **callbacks)

    return call


def test_each_set_has_the_results_that_it_has_alone(run, model, mixture, tmp_path):
    steps, said = [], []
    results = run(progress=lambda *step: steps.append(step), say=said.append)
    assert steps == [(done, 4) for done in range(1, 5)]
    assert any(line.startswith("towns: labels: ") for line in said)
    for name, kind in KINDS.items():
        alone = evaluate_model(
            EvaluationRequest(
                model=model,
                data=mixture.parent / name,
                out=tmp_path / name,
                split="val",
                kind=kind,
                gsd_m=GSD_M[name],
                panels=1,
                device="cpu",
            )
        )
        own = read_results(tmp_path / "out" / name / "metrics.json")
        assert own.model_copy(update={"seconds": 0}) == alone.model_copy(update={"seconds": 0})
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert {path.name for path in (tmp_path / "out" / name).iterdir()} == files
        one = results.sets[name]
        assert (one.change_kind, one.labelled_kind, one.gsd_m) == (kind, kind, GSD_M[name])
        assert one.f1 == alone.fixed_threshold.f1
        assert one.intervals["recall"] == alone.fixed_threshold.intervals["recall"]
        # Of finer thresholds than those of the papers.
        assert 1 > one.best_f1 >= max(one.f1, alone.best_threshold.max_f1)
        assert one.expected_calibration_error == alone.calibration.expected_calibration_error
    scores = {name: one.f1 for name, one in results.sets.items()}
    assert len(set(scores.values())) == 3
    assert results.mean_f1 == pytest.approx(sum(scores.values()) / 3)
    assert results.worst_f1 == min(scores.values()) == scores[results.worst_set]
    assert read_results(tmp_path / "out" / "metrics.json") == results


def test_sets_of_unknown_kinds_and_without_the_split_are_left_out(run, mixture, tmp_path):
    path = write_model(tmp_path / "towns_only.safetensors", kinds=FORMER[:2])
    folder = tmp_path / "sets"
    shutil.copytree(mixture.parent, folder)
    shutil.rmtree(folder / "suburbs" / "val")
    said = []
    results = run(model=path, data=folder / "mixture.yaml", say=said.append)
    assert set(results.sets) == {"towns"}
    assert results.left_out == ("suburbs", "fields")
    assert "left out, because the model does not know their kind of change: fields (cropland)" in (
        said
    )
    assert "left out, because they have no split 'val': suburbs" in said
    only_any = write_model(tmp_path / "any.safetensors", kinds=FORMER[:1])
    with pytest.raises(ConfigError, match=r"finds any change, and the data sets .* show building"):
        run(model=only_any, existing="replace")


@pytest.mark.parametrize("spec", ["plain", "baseline:difference"])
def test_without_kinds_every_set_is_taken_as_it_is(run, tmp_path, spec):
    said = []
    if spec == "plain":
        spec = write_model(tmp_path / "plain.safetensors", kinds=(), threshold=None)
    results = run(model=spec, say=said.append)
    assert set(results.sets) == set(KINDS)
    assert any("names no kinds of change: every data set is taken as it is" in one for one in said)
    for name, one in results.sets.items():
        assert one.change_kind is None
        assert one.labelled_kind == KINDS[name]
        assert math.isnan(one.f1) == (not str(spec).startswith("baseline"))
        assert 0 < one.best_f1 <= 1
    assert math.isnan(results.mean_f1) == (results.worst_set is None)


def test_a_threshold_by_hand_or_of_each_set(run, tmp_path):
    by_hand = run(threshold=0.4)
    assert {one.threshold for one in by_hand.sets.values()} == {0.4}
    chosen = run(threshold_split="train", test_time="mirror", existing="replace")
    assert chosen.test_time == "mirror"
    for name, one in chosen.sets.items():
        assert f"split 'train' of {name}" in one.threshold_source


def test_what_a_model_has_seen_of_the_mixture_is_said(run, tmp_path):
    recipe = {"data": {"train_split": "train", "val_split": "val", "held_out": ["towns"]}}
    path = write_model(tmp_path / "trained.safetensors", data_name="mixture", recipe=recipe)
    results = run(model=path)
    assert results.sets["suburbs"].note == "selection set, optimistic"
    assert results.sets["fields"].note == "selection set, optimistic"
    # Held out of the training.
    assert results.sets["towns"].note is None
    recipe = {"data": {"train_split": "train", "val_split": "val"}}
    path = write_model(tmp_path / "on_towns.safetensors", data_name="towns", recipe=recipe)
    results = run(model=path, split="train", existing="replace")
    assert results.sets["towns"].note == "training set, optimistic"
    assert results.sets["fields"].note is None


def test_new_results_leave_nothing_of_the_old_ones(run, model, mixture, tmp_path):
    out = tmp_path / "out"
    run()
    (out / "mine.txt").write_text("kept")
    smaller = tmp_path / "smaller.yaml"
    towns = mixture.parent / "towns"
    smaller.write_text(f"sets: {{towns: {{data: {towns}, kind: building}}}}")
    run(data=smaller, existing="replace")
    assert {path.name for path in out.iterdir()} == {"metrics.json", "mine.txt", "towns"}
    request = EvaluationRequest(
        model=model, data=towns, out=out, split="val", panels=0, device="cpu", existing="replace"
    )
    evaluate_model(request)
    assert not (out / "towns").exists()
    assert (out / "per_image.csv").is_file()
    run(existing="replace")
    assert {path.name for path in out.iterdir()} == {"metrics.json", "mine.txt", *KINDS}


def test_mixtures_and_data_sets_are_evaluated_by_functions_of_their_own(
    run, model, mixture, tmp_path
):
    out = tmp_path / "out"
    request = EvaluationRequest(model=model, data=mixture, out=out)
    with pytest.raises(ConfigError, match="is a mixture of data sets"):
        evaluate_model(request)
    with pytest.raises(ConfigError, match="is no mixture of data sets"):
        run(data=mixture.parent / "towns")
    results = changedet.evaluate(model, mixture, out=out, split="val", device="cpu", panels=0)
    assert set(results.sets) == set(KINDS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "building"}, "--kind is for one data set, and .* states it for each"),
        ({"gsd": 1.0}, "--gsd is for one data set"),
        ({"changed_values": "1"}, "--changed-value is for one data set"),
        ({"ignore_value": 9}, "--ignore-value is for one data set"),
        ({"split": "test"}, "no data set of .* has a split 'test'; choose one of: train, val"),
        ({"threshold_split": "test"}, "no data set .* a split 'test'.*--threshold-split NAME"),
    ],
)
def test_mistakes_are_told_before_pytorch_is_loaded(options, message, model, mixture, tmp_path):
    # What loads PyTorch is not asked for.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "changedet.evaluation.evaluate_mixture", None)
        with pytest.raises((ConfigError, DataError)) as error:
            evaluate(str(model), data=mixture, out=tmp_path / "out", **{"split": "val", **options})
    assert re.search(message, with_options(str(error.value)))


def test_the_command_shows_a_row_for_each_set_or_json(model, mixture, tmp_path, capsys):
    settings = {"data": mixture, "split": "val", "device": "cpu", "panels": 0}
    evaluate(str(model), out=tmp_path / "shown", **settings)
    shown = capsys.readouterr().out
    results = read_results(tmp_path / "shown" / "metrics.json")
    for name, one in results.sets.items():
        assert re.search(rf"{name} +{one.change_kind} +{one.images} +{one.f1:.3f} ", shown)
    assert f"mean F1 {results.mean_f1:.4f}" in shown
    evaluate(str(model), out=tmp_path / "json", as_json=True, **settings)
    content = json.loads(capsys.readouterr().out)
    assert content["kind"] == "mixture_evaluation"
    assert content == json.loads((tmp_path / "json" / "metrics.json").read_text())


def test_no_figure_is_cut_short_in_80_columns():
    names = ("levir_half", "a_very_long_name_of_a_data_set")
    figures = dict.fromkeys(("f1", "precision", "recall", "best_f1"), 0.791)
    row = SimpleNamespace(
        change_kind="building",
        images=2000,
        intervals={"f1": (0.755, 0.801)},
        average_precision=0.87,
        expected_calibration_error=0.034,
        **figures,
    )
    out = io.StringIO()
    Console(file=out, width=80).print(
        _table_of_sets(SimpleNamespace(sets=dict.fromkeys(names, row)))
    )
    shown = out.getvalue()
    assert shown.count("0.755-0.801") == len(names)
    assert "…" not in shown
