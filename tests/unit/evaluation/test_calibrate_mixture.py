"""Temperature and threshold of each kind of change, chosen again on a mixture of data sets."""

import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from changedet.card import read_card, read_precision, replace_card
from changedet.cli.calibrate import calibrate
from changedet.cli.wording import with_options
from changedet.data.index import index_pairs
from changedet.data.labelled import read_pair
from changedet.errors import ConfigError, DataError
from changedet.evaluation.calibrate import calibrate_model
from changedet.evaluation.calibrate_mixture import (
    MixtureCalibrationReport,
    calibrate_on_mixture,
)
from changedet.evaluation.calibration_request import CalibrationRequest
from changedet.inference.detector import load
from changedet.metrics.confusion import confusion_at
from changedet.metrics.counter import ScoreCounter
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.shared_kind import settle_kind
from mixtures import FORMER, GSD_M, KINDS, write_mixture, write_model


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixture(tmp_path_factory.mktemp("mixture"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "trained.safetensors")


@pytest.fixture
def run(tmp_path: Path, model: Path, mixture: Path):
    def call(**options: Any) -> MixtureCalibrationReport:
        say = options.pop("say", lambda text: None)
        progress = options.pop("progress", None)
        settings = {"model": model, "out": tmp_path / "new.safetensors", "data": mixture}
        request = CalibrationRequest(**{**settings, "device": "cpu", **options})
        return calibrate_on_mixture(request, say=say, progress=progress)

    return call


def counted(path: Path, mixture: Path, name: str) -> ScoreHistogram:
    """Predict with a model file as a user would, and count."""
    detector = load(path, device="cpu", kind=KINDS[name])
    counter = ScoreCounter(extra_thresholds=[0.3, 0.9])
    for pair in index_pairs(mixture).data_sets[name].split("val"):
        read = read_pair(pair, encoding=pair.member.encoding)
        score = detector.predict(read.before, read.after, gsd_m=GSD_M[name]).score
        counter.update(torch.from_numpy(score[None]), torch.from_numpy(read.label[None]))
    return counter.compute()


def without_temperature(path: Path, target: Path) -> Path:
    card = read_card(path)
    kinds = tuple(replace(kind, temperature=None) for kind in card.kinds)
    replace_card(path, target, replace(card, kinds=kinds))
    return target


@pytest.mark.parametrize("stored", [{}, {"precision": "int8", "test_time": "scales"}])
def test_each_kind_is_settled_on_its_own_sets_for_the_file_as_it_is_stored(
    run, mixture, tmp_path, stored
):
    steps = []
    report = run(**stored, progress=lambda done, total: steps.append((done, total)))
    card = read_card(report.out)
    assert card == report.card
    assert read_precision(report.out) == stored.get("precision", "float32")
    assert card.test_time == stored.get("test_time", "none")
    raw = without_temperature(report.out, tmp_path / "raw.safetensors")
    of_any, building, cropland = card.kinds
    for kind, names in ((building, ["towns", "suburbs"]), (cropland, ["fields"])):
        expected = settle_kind(kind.name, [counted(raw, mixture, name) for name in names])
        assert kind.temperature == pytest.approx(expected.temperature, rel=1e-3)
        assert kind.threshold == pytest.approx(expected.threshold, abs=2 / 1024)
        assert kind.threshold_selection.kind == "calibration"
        assert kind.threshold_selection.data == "mixture"
        assert kind.threshold_selection.images == {"building": 3, "cropland": 1}[kind.name]
    assert (of_any.threshold, of_any.temperature) == (0.25, 1.5)
    assert card.threshold == 0.25
    assert {kind.name for kind in report.kinds} == {"building", "cropland"}
    # Four pairs, twice where the former file has to be scored by itself.
    total = 8 if stored else 4
    assert steps == [(done, total) for done in range(1, total + 1)]


def test_figures_are_those_of_the_files_before_and_after(run, model, mixture):
    report = run(precision="float16")
    for name, one in report.sets.items():
        before, after = (
            confusion_at(
                counted(path, mixture, name), read_card(path).for_kind(KINDS[name]).threshold
            )
            for path in (model, report.out)
        )
        assert one.kind == KINDS[name]
        assert one.f1_before == pytest.approx(before.f1, abs=1e-3)
        assert one.f1 == pytest.approx(after.f1, abs=0.02)
        assert one.recall == pytest.approx(after.recall, abs=0.02)
        assert one.f1 <= one.best_f1 + 1e-9
        assert 0 <= one.expected_calibration_error <= 1
    both = [report.sets[name].f1 for name in ("towns", "suburbs")]
    assert report.mean_f1("building") == pytest.approx(sum(both) / 2)
    figures = report.card.metrics["calibration_building"]
    assert figures["f1"] == report.mean_f1("building")
    assert set(figures["sets"]) == {"towns", "suburbs"}
    assert figures["note"].startswith("selection set, optimistic")
    assert set(report.card.metrics["calibration_cropland"]["sets"]) == {"fields"}


def test_calibrating_again_changes_nothing(run, tmp_path):
    first = run()
    second = run(model=first.out, out=tmp_path / "again.safetensors")
    for one, other in zip(first.card.kinds[1:], second.card.kinds[1:], strict=True):
        assert other.threshold == one.threshold
        assert other.temperature == pytest.approx(one.temperature, rel=1e-4)
    for one in second.sets.values():
        assert one.f1_before == pytest.approx(one.f1, abs=0.01)


def test_one_kind_alone_leaves_the_others(run):
    said = []
    report = run(kind="cropland", say=said.append)
    _, building, cropland = report.card.kinds
    assert (building.threshold, building.temperature) == (0.3, 2.5)
    assert cropland.threshold != 0.9
    assert set(report.sets) == {"fields"}
    assert any("kept as they are" in line and "any, building" in line for line in said)


def test_a_kind_that_the_model_does_not_know_is_left_out(run, tmp_path):
    path = write_model(tmp_path / "towns_only.safetensors", kinds=FORMER[:2])
    said = []
    report = run(model=path, say=said.append)
    assert set(report.sets) == {"towns", "suburbs"}
    assert "left out, because the model does not know their kind of change: fields (cropland)" in (
        said
    )
    path = write_model(tmp_path / "any.safetensors", kinds=FORMER[:1])
    with pytest.raises(ConfigError, match=r"finds any change, and the data sets .* show building"):
        run(model=path, existing="replace")


def test_a_model_without_kinds_gets_one_threshold_for_all_sets(run, tmp_path):
    path = write_model(tmp_path / "plain.safetensors", kinds=(), threshold=None)
    said = []
    report = run(model=path, say=said.append)
    assert any("names no kinds of change" in line for line in said)
    assert set(report.sets) == set(KINDS)
    assert report.card.kinds == ()
    assert report.card.threshold == report.kinds[0].threshold
    assert report.card.threshold_selection.images == 4
    assert all(math.isnan(one.f1_before) for one in report.sets.values())
    assert set(report.card.metrics["calibration"]["sets"]) == set(KINDS)


def test_sets_without_change_or_without_the_split(run, mixture, tmp_path, blank_labels):
    folder = tmp_path / "sets"
    shutil.copytree(mixture.parent, folder)
    shutil.rmtree(folder / "suburbs" / "val")
    blank_labels(folder / "fields" / "val")
    said = []
    report = run(data=folder / "mixture.yaml", say=said.append)
    assert set(report.sets) == {"towns"}
    assert "left out, because they have no split 'val': suburbs" in said
    assert "warning: no pixel of the sets of kind cropland is labelled changed: left out" in said
    assert report.card.kinds[2].threshold == 0.9
    blank_labels(folder / "towns" / "val")
    with pytest.raises(DataError, match="no pixel of any data set is labelled changed"):
        run(data=folder / "mixture.yaml", existing="replace")


def test_the_split_of_the_training_is_refused(run, tmp_path):
    path = write_model(
        tmp_path / "trained.safetensors",
        data_name="mixture",
        recipe={"data": {"train_split": "train", "val_split": "val"}},
    )
    with pytest.raises(ConfigError, match="was trained on split 'train' of mixture"):
        run(model=path, split="train")
    path = write_model(
        tmp_path / "on_towns.safetensors",
        data_name="towns",
        recipe={"data": {"train_split": "train", "val_split": "val"}},
    )
    with pytest.raises(ConfigError, match="was trained on split 'train' of towns"):
        run(model=path, split="train")


def test_a_mixture_is_asked_for_by_its_own_function(run, mixture, model, tmp_path):
    request = CalibrationRequest(model=model, out=tmp_path / "new.safetensors", data=mixture)
    with pytest.raises(ConfigError, match="is a mixture of data sets"):
        calibrate_model(request)
    with pytest.raises(ConfigError, match="is no mixture of data sets"):
        run(data=mixture.parent / "towns")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gsd", "1"], "--gsd is for one data set"),
        (["--changed-value", "1"], "--changed-value is for one data set"),
        (["--ignore-value", "9"], "--ignore-value is for one data set"),
        (["--split", "test"], "no data set of .* has a split 'test'; choose one of: train, val"),
        (["--kind", "any"], "no data set of .* shows the kind of change 'any'; there are: build"),
    ],
)
def test_mistakes_are_told_before_pytorch_is_loaded(options, message, model, mixture, tmp_path):
    # What loads PyTorch is not asked for.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "changedet.evaluation.calibrate_mixture", None)
        out = tmp_path / "new.safetensors"
        with pytest.raises((ConfigError, DataError)) as error:
            calibrate(str(model), out, data=mixture, **as_arguments(options))
    assert re.search(message, with_options(str(error.value)))


def as_arguments(options: list[str]) -> dict[str, Any]:
    name, value = options
    names = {"--gsd": "gsd", "--changed-value": "changed_values", "--ignore-value": "ignore_value"}
    key = names.get(name, name.removeprefix("--"))
    types = {"gsd": float, "ignore_value": int}
    return {key: types.get(key, str)(value)}


def test_the_command_shows_every_set_and_every_kind(model, mixture, tmp_path, capsys):
    out = tmp_path / "new.safetensors"
    calibrate(str(model), out, data=mixture, device="cpu", precision="int8")
    shown = capsys.readouterr().out
    for name, kind in KINDS.items():
        assert re.search(rf"{name} +. {kind} +. +[12] . +0\.\d{{4}} . 0\.\d{{4}}", shown)
    card = read_card(out)
    for kind in card.kinds[1:]:
        expected = (
            f"{kind.name}: threshold {kind.threshold:.4f}, temperature {kind.temperature:.4f}"
        )
        assert expected in shown
    assert "selection set, optimistic" in shown
