"""``changedet ablate``: options become a request, the outcome a table and an exit status."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from changedet.ablation import runner
from changedet.ablation.findings import ClaimResult
from changedet.ablation.plan import AblationRequest
from changedet.ablation.results import AblationResults, RowResult
from changedet.ablation.runner import AblationOutcome
from changedet.ablation.table import parse_table
from changedet.ablation.verdict import Finding
from changedet.cli.ablate import ablate
from changedet.errors import ChangeDetError

TABLE = "{title: T, base: default, rows: [{name: one, title: First row}]}"


def outcome(problems: tuple[str, ...] = (), stopped_by: int | None = None) -> AblationOutcome:
    table = parse_table(TABLE, origin="t")
    results = AblationResults(
        table=table,
        rows=(RowResult(table.rows[0], (), ()),),
        baselines=(),
        command="",
        val_split="val",
        test_split="test",
        data="",
        shown=(),
        notes=(),
        problems=problems,
    )
    return AblationOutcome(results, problems, stopped_by)


@pytest.fixture
def asked(monkeypatch) -> list[AblationRequest]:
    """Requests that would have been run; the outcome is the list's attribute, set by the test."""
    requests: list[AblationRequest] = []

    def note(request, *, say) -> AblationOutcome:
        requests.append(request)
        say("a sentence")
        return outcome()

    monkeypatch.setattr(runner, "run_ablation", note)
    return requests


@pytest.fixture
def run(invoke, tmp_path, monkeypatch):
    """Run the command in a folder that holds a data set, D."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "D").mkdir()
    return partial(invoke, ablate)


def test_options_become_the_request(run, asked):
    result = run(
        *("seed", "--data", "D", "--out", "O", "--seeds", "0,2", "--minutes", "1.5"),
        *(
            "--set",
            "data.workers=0",
            "--set",
            "model.dropout=0",
            "--rows",
            "dasnet, v2_l2",
            "--resume",
        ),
        *("--no-floors", "--test-split", "holdout", "--device", "cpu"),
    )
    assert result.exit_code == 0, result.output
    (request,) = asked
    assert replace(request, command="", describe_training=None) == (
        AblationRequest(
            out=Path("O"),
            data=Path("D"),
            table="seed",
            seeds=(0, 2),
            minutes=1.5,
            overrides=("data.workers=0", "model.dropout=0"),
            rows=("dasnet", "v2_l2"),
            device="cpu",
            test_split="holdout",
            baselines="none",
            mode="resume",
        )
    )
    assert request.command == (
        "changedet ablate seed --data D --out O --seeds 0,2 --minutes 1.5 --set data.workers=0 "
        "--set model.dropout=0 --rows dasnet,v2_l2 --test-split holdout --shown 4 --device cpu "
        "--no-baselines"
    )
    assert request.describe_training is not None
    assert request.describe_training("default", ("model.distance=l2", "training.seed=2")) == (
        "changedet train default --data D --set model.distance=l2 --set training.seed=2 --out RUN"
    )


def test_the_table_on_the_terminal_shows_a_dash_where_there_is_no_figure(run, asked):
    result = run("--data", "D", "--out", "O")
    assert "First row" in result.output
    assert "optimistic" in result.output
    assert "report.html" in result.output.replace("\n", "")


@pytest.mark.parametrize(
    ("ended", "status", "words"),
    [
        (outcome(("row one, seed 0: out of memory",)), 1, "row one, seed 0: out of memory"),
        (outcome(stopped_by=2), 130, "resume with the same command and --resume"),
    ],
)
def test_a_failed_run_exits_1_and_ctrl_c_130(run, monkeypatch, ended, status, words):
    monkeypatch.setattr(runner, "run_ablation", lambda request, say: ended)
    result = run("--data", "D", "--out", "O")
    assert result.exit_code == status
    assert words in result.output


def test_report_only_runs_nothing(run, monkeypatch, asked):
    folders = []
    monkeypatch.setattr(runner, "report_ablation", lambda out: folders.append(out) or outcome())
    assert run("--out", "O", "--report-only").exit_code == 0
    assert folders == [Path("O")]
    assert asked == []
    failed = outcome(("row one, seed 0: out of memory",))
    monkeypatch.setattr(runner, "report_ablation", lambda out: failed)
    assert run("--out", "O", "--report-only").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--data DIR"),
        (("--data", "D", "--seeds", "0;1"), "whole numbers"),
        (("--data", "D", "--seeds", "0,-1"), "whole numbers from 0"),
        (("--data", "D", "--resume", "--overwrite"), "--resume and --overwrite exclude each other"),
        (("--data", "D", "--rows", "v2_l3"), "did you mean 'v2_l2'"),
        (("sed", "--data", "D"), "neither a file nor a table"),
        (("--data", "D", "--set", "data.wrokers=0"), "unknown key 'wrokers'"),
        (("--data", "E"), "E is not there"),
        (("--data", "D", "--device", "gpu"), "unknown device"),
    ],
)
def test_wrong_options_are_refused(run, asked, arguments, message):
    result = run("--out", "O", *arguments)
    assert isinstance(result.exception, ChangeDetError)
    assert message in str(result.exception)
    assert asked == []


VERDICTS = """
title: T
base: default
rows:
  - {name: one, title: First row}
  - {name: two, title: "Second [row]"}
  - {name: never, title: Nobody asked}
claims:
  - {text: one gains, kind: difference, row: one, against: two, difference: 0.01}
  - {text: never gains, kind: difference, row: never, against: one, difference: 0.01}
  - {text: one is cheap, kind: lower_cost, row: one, against: two, quantity: gflop}
"""


def with_verdicts() -> AblationOutcome:
    table = parse_table(VERDICTS, origin="t")
    results = replace(
        outcome().results,
        table=table,
        rows=tuple(RowResult(row, (), ()) for row in table.rows),
        asked=("one", "two"),
    )
    findings = [Finding("not judged", "w"), Finding("not run", "w"), Finding("holds", "w")]
    protocols = ("fixed_threshold", "fixed_threshold", None)
    claims = map(ClaimResult, table.claims, protocols, findings)
    return AblationOutcome(results, (), None, tuple(claims))


def test_rows_and_claims_that_nobody_asked_for_are_left_out(run, monkeypatch):
    monkeypatch.setattr(runner, "run_ablation", lambda request, say: with_verdicts())
    text = run("--data", "D", "--out", "O", "--rows", "dasnet,v2_l2").output
    assert "Second [row]" in text
    assert "Nobody asked" not in text
    assert "never gains" not in text


def test_a_verdict_is_a_word_and_on_a_terminal_a_colour(run, monkeypatch):
    monkeypatch.setattr(runner, "run_ablation", lambda request, say: with_verdicts())
    plain = run("--data", "D", "--out", "O").output
    lines = [line.split() for line in plain.splitlines()]
    assert ["not", "judged", "one", "gains", "fixed", "threshold"] in lines
    assert ["holds", "one", "is", "cheap", "-"] in lines
    assert "\x1b" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = run("--data", "D", "--out", "O").output
    assert "\x1b[1;32mholds" in coloured
    assert "\x1b[33mnot judged" in coloured
