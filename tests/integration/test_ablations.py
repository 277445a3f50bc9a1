"""Ablations on tiny data: rows, failures, resuming, reports. Steps run in this process."""

import csv
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablation_steps import StepsHere, steps_here
from changedet.ablation.plan import AblationRequest
from changedet.ablation.run_state import read_judgement, read_logs, read_record
from changedet.ablation.runner import (
    AblationOutcome,
    report_ablation,
    run_ablation,
)
from changedet.cli.ablate import with_commands
from changedet.errors import ConfigError, DataError, StorageError, TrainingError
from stand_ins import TINY_NETWORK

pytestmark = pytest.mark.usefixtures("blank_charts")
TABLE = """
title: Two distances
base: default
rows:
  - {name: l2, title: "L2 | plain", set: {model.distance: l2}}
  - {name: cosine, title: Cosine, note: the default}
  - {name: faulty, title: Faulty, set: {model.activatoin: relu}}
claims:
  - {text: cosine gains, kind: difference, row: cosine, against: l2, difference: 0.01}
  - {text: faulty gains, kind: difference, row: faulty, against: l2, difference: 0.01}
  - {text: terms stay equal, kind: loss_spread, row: l2, at_most: 5.0}
  - {text: both rise, kind: rank_correlation}
  - {text: same work, kind: lower_cost, row: cosine, against: l2, quantity: gflop}
  - {text: less memory, kind: lower_cost, row: faulty, against: l2, quantity: peak_memory}
"""
TINY = (
    *TINY_NETWORK,
    "training.epochs=1",
    "training.batch_size=4",
    "training.log_every=1",
)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("table") / "table.yaml"
    path.write_text(TABLE)
    return str(path)


def ablate(out: Path, data: Path, table: str, *, tiny=TINY, overrides=(), say=None, **request):
    asked = AblationRequest(
        out=out,
        data=data,
        table=table,
        overrides=(*tiny, *overrides),
        device="cpu",
        **{"baselines": "none", "shown": 1, **request},
    )
    return run_ablation(with_commands(asked), say=say or (lambda message: None))


@pytest.fixture
def steps() -> Iterator[StepsHere]:
    with steps_here() as here:
        yield here


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pairs_folder, table) -> tuple[Path, AblationOutcome, list[str]]:
    """Two good rows and a faulty one, with baselines."""
    out = tmp_path_factory.mktemp("ablation") / "out"
    said: list[str] = []
    with steps_here():
        outcome = ablate(out, pairs_folder, table, baselines="all", shown=2, say=said.append)
    return out, outcome, said


@pytest.fixture(scope="module")
def two_rows(tmp_path_factory, pairs_folder, table) -> Path:
    """An ablation of both good rows, without baselines. Do not change it."""
    out = tmp_path_factory.mktemp("ablation") / "out"
    with steps_here():
        ablate(out, pairs_folder, table, rows=("l2", "cosine"))
    return out


@pytest.fixture
def trained(two_rows, tmp_path) -> Path:
    """The same, for tests that go on with it."""
    return Path(shutil.copytree(two_rows, tmp_path / "out"))


def test_a_row_with_an_unknown_option_is_said_first_and_the_others_run(finished):
    out, outcome, said = finished
    first = next(line for line in said if line.startswith("row faulty"))
    assert "did you mean 'activation'" in first
    assert said.index(first) < next(i for i, line in enumerate(said) if ": training;" in line)
    assert [len(row.runs) for row in outcome.results.rows] == [1, 1, 0]
    assert len(outcome.problems) == 1
    assert outcome.stopped_by is None
    assert read_record(out / "runs" / "faulty" / "seed_0").status == "failed"


def test_figures_are_those_of_the_training_and_of_an_evaluation(finished, pairs_folder):
    from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model

    out, outcome, _ = finished
    run = outcome.results.row("cosine").runs[0]
    best = run.logs.max_f1.max()
    assert run.judgement.scores["best_threshold"].estimate().mean == pytest.approx(best)
    model = run.folder / "training" / "best.safetensors"
    target = out.parent / "evaluation"
    report = evaluate_model(
        EvaluationRequest(model=model, data=pairs_folder, out=target, device="cpu", panels=0)
    )
    fixed = run.judgement.scores["fixed_threshold"]
    assert fixed.split == "test"
    assert fixed.threshold == report.fixed_threshold.threshold
    assert fixed.estimate().mean == pytest.approx(report.fixed_threshold.f1, nan_ok=True)
    assert fixed.note is None
    assert "optimistic" in run.judgement.scores["best_threshold"].note


def test_the_report_holds_every_row_claim_and_baseline(finished):
    out, outcome, _ = finished
    page, text = ((out / f"report.{kind}").read_text() for kind in ("html", "md"))
    for content in (page, text):
        for words in ("Cosine", "cosine gains", "IR-MAD", "selection set, optimistic", "GFLOP"):
            assert words in content
        assert "row faulty, seed 0" in content
        assert "row faulty failed" in content
        assert "changedet ablate" in content
    # Three pictures of a pair, and a heat map of two rows and of each baseline.
    assert page.count("data:image/png") == 2 * (3 + 2 + len(outcome.results.baselines))
    assert "L2 \\| plain" in text
    assert "l2/seed_0/heatmaps/01_score.png" in text


def test_figures_are_written_under_their_former_names_as_well(finished):
    out, _, _ = finished
    content = json.loads((out / "results.json").read_text())
    row = content["rows"][0]
    assert row["seed"] == row["best_threshold"]
    assert row["honest"] == row["fixed_threshold"]
    assert row["heat_maps"]["blotches"] == row["heat_maps"]["false_positive_objects"]
    assert content["floors"] == content["baselines"]
    table = csv.DictReader((out / "rows.csv").read_text().splitlines())
    for line in table:
        assert line["seed_f1_mean"] == line["best_threshold_f1_mean"]
        assert line["honest_f1_mean"] == line["fixed_threshold_f1_mean"]
        assert line["blotches"] == line["false_positive_objects"]


def test_baselines_of_an_earlier_version_are_found_and_kept(
    finished, pairs_folder, table, steps, tmp_path
):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    (out / "baselines").rename(out / "floors")
    names = [baseline.name for baseline in finished[1].results.baselines]
    found = report_ablation(out).results.baselines
    assert [baseline.name for baseline in found] == names
    assert all(baseline.judgement for baseline in found)
    request = {"rows": ("l2", "cosine"), "shown": 2, "baselines": "all", "mode": "resume"}
    outcome = ablate(out, pairs_folder, table, **request)
    assert steps.done == []
    assert [baseline.name for baseline in outcome.results.baselines] == names
    assert not (out / "floors").exists()


def test_claims_get_a_verdict_by_each_protocol_or_the_reason_for_none(finished):
    out, _, _ = finished
    claims = json.loads((out / "results.json").read_text())["claims"]
    verdicts = [(claim["text"], claim["protocol"], claim["verdict"]) for claim in claims]
    assert verdicts[2:] == [
        ("faulty gains", "best_threshold", "not run"),
        ("faulty gains", "fixed_threshold", "not run"),
        ("terms stay equal", None, "holds"),
        ("both rise", None, "not run"),
        ("same work", None, "does not hold"),
        ("less memory", None, "not run"),
    ]
    assert [protocol for _, protocol, _ in verdicts[:2]] == ["best_threshold", "fixed_threshold"]
    assert "did you mean" in claims[2]["why"]
    assert "four validations" in claims[5]["why"]


def test_tables_hold_a_line_for_each_row_and_run(finished):
    out, outcome, _ = finished
    rows, runs = (
        list(csv.DictReader((out / f"{name}.csv").read_text().splitlines()))
        for name in ("rows", "runs")
    )
    assert [row["row"] for row in rows] == ["l2", "cosine", "faulty"]
    assert rows[2]["best_threshold_f1_mean"] == ""
    assert "activatoin" in rows[2]["reason"]
    run = outcome.results.row("l2").runs[0]
    assert float(rows[0]["parameters"]) == run.judgement.parameters > 1000
    assert float(runs[0]["fixed_threshold_f1"]) == pytest.approx(
        float(rows[0]["fixed_threshold_f1_mean"])
    )
    assert int(runs[0]["epochs"]) == 1


def test_resuming_a_finished_ablation_trains_nothing_and_adds_what_is_new(
    finished, pairs_folder, table, steps, tmp_path
):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    said: list[str] = []
    outcome = ablate(
        out, pairs_folder, table, mode="resume", rows=("l2", "cosine"), shown=2, say=said.append
    )
    assert steps.done == []
    assert sum("done before" in line for line in said) == 2
    assert outcome.results.row("l2").runs
    outcome = ablate(out, pairs_folder, table, mode="resume", rows=("l2",), seeds=(0, 3), shown=2)
    assert steps.names("train") == ["l2/seed_3"]
    row = outcome.results.row("l2")
    assert [run.record.seed for run in row.runs] == [0, 3]
    assert row.estimate("fixed_threshold").std is not None
    assert row.runs[0].config.training.seed == 0
    assert not np.array_equal(*(run.logs.loss_terms["fused"] for run in row.runs))
    # All of the commands, each once.
    assert [line.count("changedet ablate") for line in outcome.results.command.splitlines()] == [
        1,
        1,
        1,
    ]
    assert "--seeds 0,3" in outcome.results.command
    with pytest.raises(ConfigError, match=r"row l2, seed 0 .* made with other settings"):
        ablate(out, pairs_folder, table, mode="resume", overrides=["training.batch_size=2"])
    with pytest.raises(
        ConfigError, match='`mode="resume"` to resume it, `mode="overwrite"` to replace it'
    ):
        ablate(out, pairs_folder, table)
    (out / "report.html").unlink()
    report_ablation(out)
    assert (out / "report.html").is_file()


def test_a_network_with_one_loss_term_and_the_seeds_networks_share_a_table(
    pairs_folder, steps, tmp_path
):
    table = tmp_path / "table.yaml"
    table.write_text(
        """
title: A pyramid
base: pyramid_small
rows:
  - {name: logit, title: Logit}
  - {name: distance, title: Distance, set: {model.output: distance, loss.terms: {wdmc: 1.0}}}
claims:
  - {text: logit gains, kind: difference, row: logit, against: distance, difference: 0.01}
  - {text: terms stay equal, kind: loss_spread, row: logit, at_most: 5.0}
"""
    )
    out = tmp_path / "out"
    crops = ("data.crop_px=64", "data.tile_px=64", "model.decoder_width=16")
    outcome = ablate(
        out,
        pairs_folder,
        str(table),
        tiny=[setting for setting in TINY if "head_width" not in setting],
        overrides=crops,
    )
    assert outcome.problems == ()
    for row in outcome.results.rows:
        (run,) = row.runs
        assert run.config.model.name == "siamese_pyramid"
        assert run.judgement.gflop > 0.0
        assert set(run.judgement.scores) == {"best_threshold", "fixed_threshold"}
        assert set(run.logs.loss_terms) == {"fused"}
        assert np.isnan(run.loss_spread)
    content = json.loads((out / "results.json").read_text())
    assert [row["loss_spread"] for row in content["rows"]] == [None, None]
    verdicts = {claim["text"]: claim["verdict"] for claim in content["claims"]}
    assert verdicts["logit gains"] != "not run"
    assert verdicts["terms stay equal"] == "not run"
    assert "| Logit |" in (out / "report.md").read_text()


def test_a_failed_run_is_recorded_the_others_go_on_and_resuming_tries_it_again(
    pairs_folder, table, steps, tmp_path
):
    out = tmp_path / "out"
    steps.fails = lambda name, job: "out of memory" if "runs/l2" in job["folder"] else None
    outcome = ablate(out, pairs_folder, table, rows=("l2", "cosine"))
    assert outcome.problems == ("row l2, seed 0: out of memory",)
    assert len(outcome.results.row("cosine").runs) == 1
    assert "row l2 failed: out of memory" in (out / "report.md").read_text()
    # Judging fails now: the training is not repeated afterwards.
    steps.fails = lambda name, job: "no room" if name == "judge" else None
    outcome = ablate(out, pairs_folder, table, rows=("l2",), mode="resume")
    assert outcome.problems == ("row l2, seed 0: no room",)
    steps.fails = lambda name, job: None
    steps.done.clear()
    outcome = ablate(out, pairs_folder, table, rows=("l2",), mode="resume")
    assert [name for name, _ in steps.done] == ["judge"]
    assert outcome.problems == ()


def test_a_stopped_ablation_leaves_its_run_begun_and_goes_on_with_it(
    pairs_folder, table, steps, tmp_path
):
    out = tmp_path / "out"

    def stop(name, job) -> str | None:
        signal.raise_signal(signal.SIGINT)
        return None

    steps.fails = stop
    outcome = ablate(
        out,
        pairs_folder,
        table,
        rows=("l2", "cosine"),
        baselines="all",
        overrides=["training.epochs=2"],
    )
    assert outcome.stopped_by == signal.SIGINT
    assert [name for name, _ in steps.done] == ["train"]
    folder = out / "runs" / "l2" / "seed_0"
    assert read_record(folder).status == "begun"
    assert outcome.results.row("l2").absence() == "row l2 was not finished"
    steps.fails = lambda name, job: None
    outcome = ablate(
        out,
        pairs_folder,
        table,
        rows=("l2",),
        mode="resume",
        overrides=["training.epochs=2"],
    )
    assert read_logs(folder).epochs == 2
    assert len(outcome.results.row("l2").runs) == 1


def test_a_budget_before_the_first_validation_fails_the_row_with_the_remedy(
    pairs_folder, table, steps, tmp_path
):
    for mode in ("new", "resume"):
        outcome = ablate(
            tmp_path / "out", pairs_folder, table, rows=("cosine",), minutes=1e-9, mode=mode
        )
        assert "ended before the first validation; raise `minutes`" in outcome.problems[0]


def test_a_budget_after_a_validation_ends_the_run_and_its_best_one_counts(
    pairs_folder, table, steps, tmp_path
):
    out = tmp_path / "out"
    outcome = ablate(
        out,
        pairs_folder,
        table,
        rows=("cosine",),
        minutes=0.01,
        overrides=["training.epochs=2000", "training.validate_every=1"],
    )
    run = outcome.results.row("cosine").runs[0]
    assert outcome.problems == ()
    assert run.resources.state == "budget spent"
    assert run.resources.seconds >= 0.6
    assert run.judgement.scores["best_threshold"].estimate().mean == pytest.approx(
        run.logs.max_f1.max()
    )


def test_without_a_test_split_there_is_the_optimistic_protocol_alone_and_a_warning(
    own_pairs_folder, table, steps, tmp_path
):
    shutil.rmtree(own_pairs_folder / "test")
    said: list[str] = []
    out = tmp_path / "out"
    outcome = ablate(out, own_pairs_folder, table, rows=("cosine",), say=said.append)
    assert any("WARNING" in line and "selection set, optimistic" in line for line in said)
    assert set(outcome.results.row("cosine").runs[0].judgement.scores) == {"best_threshold"}
    assert "Nothing is evaluated at a fixed threshold" in (out / "report.md").read_text()
    assert outcome.problems == ()


def test_what_judges_has_changed_so_every_run_is_judged_again_and_none_trained(
    own_pairs_folder, table, steps, tmp_path
):
    out, hidden = tmp_path / "out", tmp_path / "hidden"
    (own_pairs_folder / "test").rename(hidden)
    ablate(out, own_pairs_folder, table, rows=("l2",))
    steps.done.clear()
    hidden.rename(own_pairs_folder / "test")
    outcome = ablate(
        out, own_pairs_folder, table, rows=("cosine",), baselines="all", shown=2, mode="resume"
    )
    assert steps.names("train") == ["cosine/seed_0"]
    judged = [source for name, source in steps.done if name == "judge"]
    assert sum("runs/l2" in source for source in judged) == 1
    assert set(outcome.results.row("l2").runs[0].judgement.scores) == {
        "best_threshold",
        "fixed_threshold",
    }
    assert len(list(csv.DictReader((out / "runs.csv").read_text().splitlines()))) == 2
    # Both rows show the same two pairs now.
    assert len(outcome.results.shown) == 2
    shown = [pictures_of(outcome, row) for row in ("l2", "cosine")]
    assert shown[0] == shown[1]
    assert len(shown[0]) == 2
    steps.done.clear()
    ablate(out, own_pairs_folder, table, rows=("l2",), baselines="all", shown=2, mode="resume")
    assert steps.done == []
    # What was judged on, or shows, other pairs stands beside nothing.
    steps.fails = lambda name, job: "no room" if "runs/l2" in job["folder"] else None
    outcome = ablate(out, own_pairs_folder, table, rows=("l2",), shown=1, mode="resume")
    assert outcome.problems == ("row l2, seed 0: no room",)
    assert len(pictures_of(outcome, "cosine")) == 1
    assert all("other pairs" in baseline.reason for baseline in outcome.results.baselines)
    assert not any(baseline.judgement for baseline in outcome.results.baselines)
    # The trained model is kept, even if the row is not asked for.
    steps.fails = lambda name, job: None
    steps.done.clear()
    outcome = ablate(out, own_pairs_folder, table, rows=("cosine",), shown=1, mode="resume")
    assert [name for name, _ in steps.done] == ["judge"]
    assert outcome.problems == ()
    assert len(outcome.results.row("l2").runs) == 1


def test_another_pair_to_test_on_has_the_baselines_judged_again_too(
    own_pairs_folder, table, steps, tmp_path
):
    out = tmp_path / "out"
    ablate(out, own_pairs_folder, table, rows=("l2",), baselines="all")
    for kind in (own_pairs_folder / "test").iterdir():
        known = min(kind.iterdir())
        shutil.copyfile(known, known.with_stem("another"))
    steps.done.clear()
    outcome = ablate(out, own_pairs_folder, table, rows=("l2",), baselines="all", mode="resume")
    assert [name for name, _ in steps.done] == ["judge"] * (1 + len(outcome.results.baselines))
    assert all(baseline.judgement for baseline in outcome.results.baselines)
    assert len(outcome.results.row("l2").runs) == 1


def pictures_of(outcome: AblationOutcome, row: str) -> list[bytes]:
    """The pictures of the earlier date that a row's heat maps stand beside."""
    folder = outcome.results.row(row).runs[0].folder / "heatmaps"
    return [path.read_bytes() for path in sorted(folder.glob("*_before.png"))]


@pytest.mark.parametrize("change", ["data", "pairs", "val_split"])
def test_other_pairs_for_training_or_choosing_are_refused(
    change, own_pairs_folder, pairs_folder, table, steps, tmp_path
):
    out = tmp_path / "out"
    ablate(out, own_pairs_folder, table, rows=("l2",))
    request = {"rows": ("cosine",), "mode": "resume"}
    if change == "pairs":
        for kind in (own_pairs_folder / "train").iterdir():
            min(kind.iterdir()).unlink()
    elif change == "val_split":
        request["overrides"] = ["data.val_split=test"]
    data = pairs_folder if change == "data" else own_pairs_folder
    steps.done.clear()
    with pytest.raises(ConfigError, match="other pairs"):
        ablate(out, data, table, **request)
    assert steps.done == []


def test_a_row_is_judged_as_the_first_of_the_table_even_if_that_is_not_asked_for(
    pairs_folder, steps, tmp_path
):
    table = tmp_path / "table.yaml"
    table.write_text(TABLE.replace("note: the default", "set: {data.val_split: test}"))
    out = tmp_path / "out"
    outcome = ablate(out, pairs_folder, str(table), rows=("cosine",))
    assert "all rows must be evaluated in the same way" in outcome.problems[0]
    assert steps.done == []


def test_a_training_without_its_facts_is_a_problem_and_the_others_are_reported(
    trained, pairs_folder, table, steps
):
    (trained / "runs" / "l2" / "seed_0" / "training" / "run.json").unlink()
    outcome = ablate(trained, pairs_folder, table, rows=("l2",), shown=2, mode="resume")
    assert "row l2, seed 0: its training is damaged" in outcome.problems[0]
    assert len(outcome.results.row("cosine").runs) == 1


def test_a_damaged_baseline_is_shown_as_such_and_judged_again(
    finished, pairs_folder, table, steps, tmp_path
):
    out = Path(shutil.copytree(finished[0], tmp_path / "out"))
    judgement = out / "baselines" / "cva" / "judgement.json"
    judgement.write_text("{}")
    outcome = report_ablation(out)
    damaged = [
        baseline.name for baseline in outcome.results.baselines if baseline.judgement is None
    ]
    assert damaged == ["cva"]
    assert "not evaluated: its results are damaged" in (out / "report.md").read_text()
    request = {"rows": ("cosine",), "baselines": "all", "shown": 2, "mode": "resume"}
    outcome = ablate(out, pairs_folder, table, **request)
    assert [source for _, source in steps.done] == ["baseline:cva"]
    assert all(baseline.judgement for baseline in outcome.results.baselines)


def test_a_setting_that_a_rows_network_lacks_is_said_before_anything_is_trained(
    pairs_folder, table, steps, tmp_path
):
    said: list[str] = []
    with pytest.raises(ConfigError, match=r"model\.decoder_width is not a setting of"):
        ablate(
            tmp_path / "out",
            pairs_folder,
            table,
            rows=("l2", "cosine"),
            overrides=["model.decoder_width=16"],
            say=said.append,
        )
    assert steps.done == []


def test_a_row_with_a_seed_of_its_own_is_faulty(pairs_folder, steps, tmp_path):
    table = tmp_path / "table.yaml"
    table.write_text(TABLE.replace("note: the default", "set: {training.seed: 3}"))
    outcome = ablate(tmp_path / "out", pairs_folder, str(table), rows=("l2", "cosine"))
    assert outcome.results.row("l2").runs[0].record.status == "finished"
    assert "`training.seed` is the same for all rows" in " ".join(outcome.problems)


def test_resuming_what_was_never_begun_begins_it(pairs_folder, table, steps, tmp_path):
    outcome = ablate(tmp_path / "out", pairs_folder, table, rows=("cosine",), mode="resume")
    assert len(outcome.results.row("cosine").runs) == 1


def test_stopped_while_judging_again_the_rest_is_judged_the_next_time(
    trained, pairs_folder, table, steps
):
    def stop(name, job) -> str | None:
        signal.raise_signal(signal.SIGINT)
        return None

    steps.fails = stop
    request = {"rows": ("l2", "cosine"), "shown": 2, "mode": "resume"}
    outcome = ablate(trained, pairs_folder, table, **request)
    assert outcome.stopped_by == signal.SIGINT
    assert len(steps.done) == 1
    # One of them has other pictures than the other: neither is reported as if it had not.
    assert [row.runs for row in outcome.results.rows] == [(), (), ()]
    assert all("other pairs" in problem for problem in outcome.problems)
    steps.fails = lambda name, job: None
    steps.done.clear()
    ablate(trained, pairs_folder, table, **request)
    assert [Path(source).parts[-4] for _, source in steps.done] == ["l2", "cosine"]


def test_a_damaged_run_is_a_problem_and_hides_no_other(trained, pairs_folder, table, steps):
    judgement = trained / "runs" / "l2" / "seed_0" / "judgement.json"
    judgement.write_text('{"scores": {"seed": {}}}')
    outcome = report_ablation(trained)
    assert len(outcome.results.row("cosine").runs) == 1
    assert "row l2, seed 0: its results are damaged" in outcome.problems[0]
    outcome = ablate(trained, pairs_folder, table, rows=("l2",), mode="resume")
    assert [name for name, _ in steps.done] == ["judge"]
    assert outcome.problems == ()


def test_a_validation_split_that_is_called_test_is_no_test_split(
    own_pairs_folder, table, steps, tmp_path
):
    (own_pairs_folder / "val").rename(tmp_path / "val")
    said: list[str] = []
    outcome = ablate(
        tmp_path / "out",
        own_pairs_folder,
        table,
        rows=("cosine",),
        overrides=["data.val_split=test"],
        say=said.append,
    )
    assert any("no split other than 'test'" in line and "optimistic" in line for line in said)
    assert set(outcome.results.row("cosine").runs[0].judgement.scores) == {"best_threshold"}


@pytest.mark.parametrize("missing", ["changed", "unchanged"])
def test_training_labels_of_one_class_are_said_first_in_the_report_and_in_the_log(
    missing, own_pairs_folder, blank_labels, steps, tmp_path, caplog
):
    blank_labels(own_pairs_folder / "train")
    if missing == "unchanged":
        for path in (own_pairs_folder / "train" / "label").iterdir():
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    table = tmp_path / "table.yaml"
    table.write_text(
        "{title: T, base: pyramid_small, rows: ["
        "{name: bce, title: BCE}, "
        "{name: wdmc, title: WDMC, set: {model.output: distance, loss.terms: {wdmc: 1.0}}}]}"
    )
    tiny = [setting for setting in TINY if "head_width" not in setting]
    small = ("data.crop_px=64", "data.tile_px=64", "model.decoder_width=16")
    said: list[str] = []
    with caplog.at_level("INFO"):
        outcome = ablate(
            tmp_path / "out",
            own_pairs_folder,
            str(table),
            tiny=tiny,
            overrides=small,
            say=said.append,
        )
    assert any("'train' have only one class" in line for line in outcome.results.notes)
    assert any("'train' have only one class" in line for line in said)
    assert f"no {missing} pixel, so no model can learn that class" in caplog.text
    assert f"no {missing} pixel, so the class weights cannot be measured" in caplog.text
    assert [len(row.runs) for row in outcome.results.rows] == [1, 0]


def test_a_test_split_without_positives_is_a_problem_and_the_rows_are_kept(
    own_pairs_folder, blank_labels, table, steps, tmp_path
):
    blank_labels(own_pairs_folder / "test")
    outcome = ablate(tmp_path / "out", own_pairs_folder, table, rows=("cosine",))
    assert len(outcome.results.row("cosine").runs) == 1
    assert "no changed pixel" in outcome.problems[0]


def test_a_validation_split_without_positives_ends_it_before_any_run(
    own_pairs_folder, blank_labels, table, steps, tmp_path
):
    blank_labels(own_pairs_folder / "val")
    with pytest.raises(TrainingError, match=r"'val' .* no changed pixel") as error:
        ablate(tmp_path / "out", own_pairs_folder, table)
    assert error.value.exit_code == 1
    assert steps.done == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changed", ["data.val_split: test", "data.ignore_value: 7", "data.changed_values: [255]"]
)
def test_rows_that_would_be_judged_otherwise_are_refused(changed, pairs_folder, steps, tmp_path):
    table = tmp_path / "table.yaml"
    table.write_text(TABLE.replace("note: the default", f"set: {{{changed}}}"))
    outcome = ablate(tmp_path / "out", pairs_folder, str(table), rows=("l2", "cosine"))
    assert "all rows must be evaluated in the same way" in outcome.problems[0]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"epochs": 1, "minutes": 1.0}, "`epochs` and `minutes` exclude each other"),
        ({"epochs": 0}, "`epochs` must be at least 1"),
        ({"minutes": 0.0}, "`minutes` must be above 0"),
        ({"seeds": (0, 0)}, "`seeds` must be distinct"),
        ({"seeds": ()}, "`seeds` must be distinct"),
        ({"overrides": ["training.seed=3"]}, "set `seeds` instead"),
        ({"rows": ("l2", "l2")}, "names a row twice"),
        ({"rows": ("l3",)}, "did you mean 'l2'"),
        ({"rows": ("faulty",)}, "no row can be run"),
        ({"test_split": "val"}, "chooses models and thresholds"),
        (
            {"test_split": "train"},
            "`test_split=train` is the split that rows are trained on, so it cannot test them",
        ),
        ({"mode": "resume"}, "do not belong to an ablation"),
        ({"mode": "overwrite"}, "do not belong to an ablation"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    request_, message, pairs_folder, table, tmp_path
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    with pytest.raises(ConfigError, match=message):
        ablate(out, pairs_folder, table, **request_)
    assert [path.name for path in out.iterdir()] == ["precious.txt"]


def test_a_split_that_is_not_there_and_a_file_as_folder_are_refused(pairs_folder, table, tmp_path):
    with pytest.raises(DataError, match="no split 'tset'"):
        ablate(tmp_path / "out", pairs_folder, table, test_split="tset")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        ablate(tmp_path / "file", pairs_folder, table)


def test_overwriting_replaces_what_is_the_ablations_own(trained, pairs_folder, table, steps):
    (trained / "precious.txt").write_text("mine")
    steps.fails = lambda name, job: "no"
    outcome = ablate(trained, pairs_folder, table, rows=("l2",), mode="overwrite")
    assert not outcome.results.row("cosine").runs
    assert not (trained / "runs" / "cosine").exists()
    assert (trained / "precious.txt").is_file()


def test_a_baseline_that_cannot_be_judged_is_shown_with_its_reason(
    trained, pairs_folder, table, steps
):
    steps.fails = lambda name, job: "not installed" if job["folder"].endswith("cva") else None
    said = []
    request = {"rows": ("cosine",), "baselines": "all", "mode": "resume"}
    outcome = ablate(trained, pairs_folder, table, say=said.append, **request)
    assert "untrained method cva not evaluated: not installed" in said
    failed = [baseline.name for baseline in outcome.results.baselines if baseline.judgement is None]
    assert failed == ["cva"]
    assert outcome.problems == ()
    assert "untrained: cva (not evaluated: not installed)" in (trained / "report.md").read_text()
    steps.done.clear()
    steps.fails = lambda name, job: None
    ablate(trained, pairs_folder, table, **request)
    assert [source for _, source in steps.done] == ["baseline:cva"]


def test_damaged_results_are_named(pairs_folder, tmp_path):
    with pytest.raises(ConfigError, match="contains no ablation"):
        report_ablation(tmp_path)
    (tmp_path / "ablation.json").write_text("{")
    with pytest.raises(StorageError, match="cannot be read"):
        report_ablation(tmp_path)
    with pytest.raises(StorageError, match=r"judgement\.json cannot be read"):
        read_judgement(tmp_path)
    with pytest.raises(StorageError, match=r"train\.csv cannot be read"):
        read_logs(tmp_path)


@pytest.mark.slow
def test_real_processes_train_and_judge(pairs_folder, table, tmp_path):
    outcome = ablate(tmp_path / "out", pairs_folder, table, rows=("cosine",))
    assert outcome.problems == ()
    resources = outcome.results.row("cosine").runs[0].resources
    assert resources.state == "finished"
    if sys.platform == "linux":
        assert resources.peak_bytes > 1e8


def test_rows_that_were_not_asked_for_are_left_out_of_the_report(
    trained, pairs_folder, table, steps
):
    text = (trained / "report.md").read_text()
    assert "Faulty" not in text
    assert "faulty gains" not in text
    assert "2 claims are about rows that were not asked for" in text
    # The machine's file keeps all of them; asked for once, a row stays asked for.
    assert len(json.loads((trained / "results.json").read_text())["rows"]) == 3
    ablate(trained, pairs_folder, table, rows=("faulty", "l2"), mode="resume")
    text = (trained / "report.md").read_text()
    assert all(title in text for title in ("Faulty", "Cosine", "faulty gains"))


def test_rows_that_learned_less_than_untrained_methods_are_not_judged(finished):
    out, outcome, _ = finished
    [result, *_] = [each for each in outcome.claims if each.claim.text == "cosine gains"]
    best = max(
        baseline.judgement.scores["best_threshold"].f1
        for baseline in outcome.results.baselines
        if baseline.judgement is not None
    )
    own = [outcome.results.row(name).estimate("best_threshold").mean for name in ("cosine", "l2")]
    assert min(own) < best, "the case is gone: train less"
    assert result.finding.verdict == "not judged"
    assert "not judged" in (out / "report.html").read_text()
    assert "do not beat the best untrained method" in (out / "report.md").read_text()


def test_pairs_that_rows_were_trained_on_are_said_of_the_test_split(
    own_pairs_folder, table, steps, tmp_path
):
    for kind in ("A", "B", "label"):
        first = sorted((own_pairs_folder / "train" / kind).iterdir())[0]
        target = sorted((own_pairs_folder / "test" / kind).iterdir())[0]
        shutil.copyfile(first, target)
    said: list[str] = []
    ablate(tmp_path / "out", own_pairs_folder, table, rows=("l2",), say=said.append)
    [leak] = [line for line in said if "leak" in line]
    assert leak.startswith("WARNING: leak: test: 1 of ")
    assert "leak: test" in (tmp_path / "out" / "report.md").read_text()


def test_heat_maps_name_the_threshold_in_the_middle_of_their_colours(two_rows):
    judgement = read_judgement(two_rows / "runs" / "l2" / "seed_0")
    text = (two_rows / "report.md").read_text()
    assert f"({judgement.heat_map_middle:.3f})" in text
    assert "green: the threshold that validation chose" in text


def test_the_best_model_of_each_row_is_placed(two_rows):
    rows = list(csv.DictReader((two_rows / "runs.csv").read_text().splitlines()))
    logs = read_logs(two_rows / "runs" / "l2" / "seed_0")
    assert rows[0]["best_epoch"] == str(logs.best.epoch) == "1"
    name = f"best_{logs.best.epoch}_{logs.best.batch}.safetensors"
    assert (two_rows / "runs" / "l2" / "seed_0" / "training" / "checkpoints" / name).is_file()
    assert f"epoch 1, batch {logs.best.batch}" in (two_rows / "report.md").read_text()
