import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from changedet.data.labels.encoding import LabelEncoding
from changedet.errors import ConfigError, ResultsError
from changedet.evaluation.evaluate import evaluate_model
from changedet.evaluation.evaluate_mixture import evaluate_mixture
from changedet.evaluation.request import EvaluationRequest
from changedet.predict.images import PredictionReport, predict_files
from changedet.report.found import short_names
from changedet.report.report import write_report
from changedet.report.request import ReportRequest
from changedet.results import read_results
from changedet.training.dataset_statistics import TrainingRecord
from changedet.types import Normalisation

pytestmark = pytest.mark.usefixtures("blank_charts")


class Text(HTMLParser):
    """The text of a page, without scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._skipped = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self._skipped += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._skipped -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._skipped and data.strip():
            self.parts.append(" ".join(data.split()))


def report(out: Path, *sources: Path, **options) -> list[str]:
    page = write_report(ReportRequest(sources=sources, out=out, existing="replace", **options))
    return Text(page).parts


def evaluation_of(data: Path, out: Path, *, model: str = "baseline:difference", **options) -> Path:
    evaluate_model(
        EvaluationRequest(
            model=model,
            data=data,
            out=out,
            device="cpu",
            **{"split": "test", "panels": 2, **options},
        )
    )
    return out


def predict_pair(before: Path, after: Path, out: Path) -> PredictionReport:
    return predict_files(before, after, model="baseline:difference", out=out, device="cpu")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, pairs_folder):
    return evaluation_of(pairs_folder, tmp_path_factory.mktemp("evaluated") / "first")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "logs").mkdir(parents=True)
    TrainingRecord(
        data=Path("pairs"),
        data_name="pairs",
        label=LabelEncoding("binary", (255,), (0,)),
        changed_share=0.25,
        normalisation=Normalisation((0.0,) * 3, (0.0,) * 3, (1.0,) * 3, (1.0,) * 3),
        package_version="0.1.0",
        torch_version="2.0",
        threads=1,
    ).write(folder / "run.json")
    write_log(
        folder,
        "train",
        ["step", "epoch", "learning_rate", "loss", "loss_position", "loss_fused"],
        [[step, 1 + step // 50, 1e-3, 1 / step, "", 1 / step] for step in range(1, 101)],
    )
    write_log(
        folder,
        "validation",
        ["step", "epoch", "max_f1", "precision", "recall", "average_precision"],
        [[50, 1, 0.4, 0.5, 0.3, 0.35], [100, 2, 0.6123, 0.7, 0.5, 0.55], [150, 3, "", "", "", ""]],
    )
    (folder / "config.yaml").write_text(
        "model: {name: dasnet, kinds: [any]}\noptimizer: {lr: 1e-3}\n"
    )
    return folder


def write_log(folder: Path, name: str, columns: list[str], rows: list[list[object]]) -> None:
    with (folder / "logs" / f"{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def test_an_evaluation_is_shown_with_its_own_figures(evaluated, tmp_path):
    results = read_results(evaluated / "metrics.json")
    text = report(tmp_path / "page.html", evaluated)
    fixed = results.fixed_threshold
    assert text.count(f"{fixed.f1:.4f}") >= 2  # The headline, and the slider at its start.
    low, high = fixed.intervals["f1"]
    assert f"95 % interval {low:.3f} to {high:.3f}" in text
    assert f"{fixed.confusion.tp:,}" in text
    assert "Threshold, precision and recall" in text
    assert "untrained baseline difference" in text
    assert f"Evaluation on {results.data.name}, split test" in text
    assert any("one of the worst" in part for part in text)


def test_the_slider_begins_with_the_figures_of_the_evaluation(evaluated, tmp_path):
    report(tmp_path / "page.html", evaluated)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    confusion = read_results(evaluated / "metrics.json").fixed_threshold.confusion
    shown = dict(re.findall(r'data-figure="(tp|fp|fn|tn)">([\d,]+)<', page))
    assert {key: int(value.replace(",", "")) for key, value in shown.items()} == confusion._asdict()


def test_found_objects_are_shown_by_size(evaluated, tmp_path):
    objects = read_results(evaluated / "metrics.json").objects
    assert objects is not None
    assert objects.labelled == 2
    text = report(tmp_path / "page.html", evaluated)
    assert "Labelled objects by size" in text
    assert any(f"F1 {objects.f1:.3f}" in part for part in text)


def test_an_evaluation_of_an_earlier_version_shows_its_panels(evaluated, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(evaluated, old)
    shutil.rmtree(old / "panel_parts")
    (old / "score_histogram.csv").unlink()
    text = report(tmp_path / "page.html", old)
    assert "Threshold, precision and recall" not in text
    assert any("one of the worst" in part for part in text)


def test_several_evaluations_are_set_side_by_side(evaluated, pairs_folder, tmp_path):
    other = evaluation_of(pairs_folder, tmp_path / "second", model="baseline:cva")
    text = report(tmp_path / "page.html", evaluated, other)
    assert "Evaluations side by side" in text
    assert {"first", "second"} <= set(text)
    assert not any("different images" in part for part in text)
    validated = evaluation_of(pairs_folder, tmp_path / "third", split="val")
    text = report(tmp_path / "page.html", evaluated, validated)
    assert any("different images" in part for part in text)


def test_every_set_of_a_mixture_has_its_part(pairs_folder, tmp_path):
    mixture = tmp_path / "mixture.yaml"
    mixture.write_text(
        f"sets:\n  town: {{data: {pairs_folder}, kind: any}}\n"
        f"  field: {{data: {pairs_folder}, kind: any}}\n"
    )
    out = tmp_path / "judged"
    evaluate_mixture(
        EvaluationRequest(
            model="baseline:difference", data=mixture, out=out, split="test", device="cpu", panels=1
        )
    )
    text = report(tmp_path / "page.html", out)
    assert "mean F1 of the sets" in text
    assert "town: threshold, precision and recall" in text
    assert "field: examples, worst to best" in text
    shutil.rmtree(out / "field")
    with pytest.raises(ResultsError, match="field"):
        report(tmp_path / "page.html", out)


def test_a_training_run_is_shown_with_its_best_validation_and_its_settings(run, tmp_path):
    text = report(tmp_path / "page.html", run)
    assert "0.6123" in text
    assert "epoch 2, optimistic" in text
    assert {"model.name", "dasnet", "optimizer.lr", "0.001", "25.00 %"} <= set(text)
    assert "Training on pairs" in text
    # A branch that is the whole loss is not drawn twice.
    assert "fused result" not in text


def test_a_run_that_has_only_begun_says_so(run, tmp_path):
    shutil.rmtree(run / "logs")
    (run / "config.yaml").unlink()
    text = report(tmp_path / "page.html", run)
    assert "No validation has taken place yet." in text


def test_training_runs_are_set_side_by_side(run, tmp_path):
    shutil.copytree(run, tmp_path / "other")
    text = report(tmp_path / "page.html", run, tmp_path / "other")
    assert "Training runs side by side" in text
    assert text.count("0.6123") >= 3


def test_a_prediction_on_two_images_lies_one_over_the_other(pairs_folder, tmp_path):
    before, after = (pairs_folder / "test" / name / "000.png" for name in ("A", "B"))
    found = predict_pair(before, after, tmp_path / "pair")
    text = report(tmp_path / "page.html", tmp_path / "pair")
    assert f"{100 * found.pairs[0].changed_share:.2f} %" in text
    assert "000: before and after" in text
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert 'data-part="score"' in page


def test_a_prediction_whose_images_are_gone_shows_what_is_left(pairs_folder, tmp_path):
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    for image in images:
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(image)
    predict_pair(*images, tmp_path / "pair")
    images[0].unlink()
    text = report(tmp_path / "page.html", tmp_path / "pair")
    assert any("cannot be read any more" in part for part in text)
    assert "what has changed, on the later image" in text


def test_the_page_is_the_same_each_time_and_needs_nothing_else(evaluated, run, tmp_path):
    for name in ("one", "two"):
        report(tmp_path / f"{name}.html", evaluated, run, title="Weekly")
    one, two = ((tmp_path / f"{name}.html").read_bytes() for name in ("one", "two"))
    assert one == two
    assert b"<h1>Weekly</h1>" in one
    assert not re.search(rb'(?:src|href)="(?!data:image/)', one)
    assert b"http" not in one.replace(b"http-equiv", b"")


def test_the_result_file_stands_for_its_folder(evaluated, tmp_path):
    assert "Threshold, precision and recall" in report(
        tmp_path / "page.html", evaluated / "metrics.json"
    )


def test_names_are_the_shortest_ends_that_differ():
    assert short_names([Path("/a/x/run"), Path("/a/y/run"), Path("/a/z")]) == [
        "x/run",
        "y/run",
        "z",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "holds no results"),
        ({"ablation.json": "{}"}, "has a page of its own: look at"),
        ({"accuracy.json": "{}"}, "has a page of its own: look at"),
        ({"metrics.json": "{half"}, "metrics.json"),
        ({"summary.json": json.dumps({"kind": "validation"})}, "summary.json"),
    ],
)
def test_folders_that_cannot_be_shown_are_refused_in_one_line(tmp_path, content, words):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    with pytest.raises(ResultsError, match=words) as refused:
        report(tmp_path / "page.html", folder)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "page.html").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ResultsError, match="missing is not there"):
        report(tmp_path / "page.html", tmp_path / "missing")


@pytest.mark.parametrize("name", ["score_histogram.csv", "per_image.csv"])
def test_damaged_tables_are_named(evaluated, tmp_path, name):
    damaged = tmp_path / "damaged"
    shutil.copytree(evaluated, damaged)
    (damaged / name).write_text("name,f1\na,high\n")
    with pytest.raises(ResultsError, match=name):
        report(tmp_path / "page.html", damaged)


def test_a_damaged_log_is_named(run, tmp_path):
    (run / "logs" / "train.csv").write_text("step,loss\n1,low\n")
    with pytest.raises(ResultsError, match=r"train\.csv is damaged"):
        report(tmp_path / "page.html", run)


@pytest.mark.parametrize(
    ("sources", "out", "words"),
    [
        ((), "page.html", "at least one"),
        (("a", "b/../a"), "page.html", "given twice"),
        (("a",), "page.pdf", r"end in \.html"),
    ],
)
def test_requests_that_make_no_sense_are_refused(tmp_path, sources, out, words):
    request = ReportRequest(sources=tuple(Path(one) for one in sources), out=tmp_path / out)
    with pytest.raises(ConfigError, match=words):
        write_report(request)


def test_a_page_is_not_replaced_unasked(evaluated, tmp_path):
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(ConfigError, match="exists"):
        write_report(ReportRequest(sources=(evaluated,), out=tmp_path / "page.html"))
    assert (tmp_path / "page.html").read_text() == "mine"
