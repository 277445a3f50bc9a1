"""Figures on sets that no row was trained on: claims, tables, files."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from changedet.ablation.findings import judge_claims
from changedet.ablation.report import write_report
from changedet.ablation.report_held_out import held_out_tables
from changedet.ablation.resources import Resources
from changedet.ablation.results import AblationResults, BaselineResult, RowResult, RunResult
from changedet.ablation.run_state import Judgement, RunLogs, RunRecord
from changedet.ablation.scores import Evaluation, SplitScore
from changedet.ablation.table import parse_table
from changedet.results import read_results
from changedet.training.config import parse_config

TABLE = """
title: Ingredients
rows: [{name: with, title: With it}, {name: without, title: Without it}]
claims: [{text: it gains, kind: difference, row: with, against: without, difference: 0.1}]
"""
IMAGES = 6


def score(protocol: str, hits: int, *, precision: float = 0.5) -> SplitScore:
    """Figures of images of which each has 100 changed pixels, so many of them found."""
    return SplitScore(
        protocol=protocol,
        split="val",
        threshold=0.5,
        counts=np.tile([hits, 100 - hits, 100 - hits], (IMAGES, 1)),
        false_positive_objects=np.tile([2, 1], (IMAGES, 1)),
        moments=np.tile([100, 80, 65, 900, 180, 45], (IMAGES, 1)),
        precision=precision,
        recall=0.5,
        average_precision=hits / 100,
        roc_auc=0.5,
        note=None,
    )


def judgement(hits: int, unseen: int, title: str = "model") -> Judgement:
    return Judgement(
        title=title,
        scores={"best_threshold": score("best_threshold", hits)},
        held_out={
            "Town": {
                "best_threshold": score("best_threshold", unseen),
                "fixed_threshold": score("fixed_threshold", unseen - 20),
            }
        },
    )


def results(own: Judgement, other: Judgement, *baselines: Judgement) -> AblationResults:
    table = parse_table(TABLE, origin="test")
    runs = [
        RunResult(
            folder=Path(),
            record=RunRecord(row="a", seed=0, status="finished", settings="", command=""),
            config=parse_config({"augmentation": {"sensor": sensor}}, origin="test"),
            judgement=one,
            resources=Resources(),
            logs=RunLogs(1, np.arange(6.0), np.arange(6.0), {}),
        )
        for one, sensor in ((own, 0.5), (other, 0.0))
    ]
    return AblationResults(
        table=table,
        rows=tuple(RowResult(row, (run,), ()) for row, run in zip(table.rows, runs, strict=True)),
        baselines=tuple(
            BaselineResult(f"cva{number}", Path(), one, None)
            for number, one in enumerate(baselines)
        ),
        command="",
        val_split="val",
        test_split=None,
        data="",
        shown=(),
        notes=(),
        problems=(),
        held_out=("Town",),
    )


def test_a_claim_is_tested_on_every_held_out_set_at_both_thresholds():
    # Better where it was trained, worse where nobody has been.
    found = judge_claims(results(judgement(90, 50), judgement(80, 70)))
    assert [(one.protocol, one.held_out, one.finding.verdict) for one in found] == [
        ("best_threshold", None, "holds"),
        ("best_threshold", "Town", "does not hold"),
        ("fixed_threshold", "Town", "does not hold"),
    ]
    assert [one.where for one in found] == [
        "best threshold",
        "best threshold, held-out set Town",
        "fixed threshold, held-out set Town",
    ]


def test_a_row_has_to_beat_the_untrained_methods_there_as_well():
    found = judge_claims(results(judgement(90, 70), judgement(80, 50), judgement(10, 60)))
    assert [one.finding.verdict for one in found] == ["holds", "not judged", "not judged"]


def test_a_run_that_was_not_evaluated_there_is_not_compared():
    lacking = judgement(80, 50).model_copy(update={"held_out": {}})
    found = judge_claims(results(judgement(90, 70), lacking))
    assert [one.finding.verdict for one in found] == ["holds", "not run", "not run"]
    table = held_out_tables(results(judgement(90, 70), lacking))[0]
    assert table.rows[1] == ["Without it", None, None, None, None, None, None]


def test_the_table_of_a_set_shows_rows_and_untrained_methods_side_by_side():
    ablation = results(judgement(90, 70), judgement(80, 50), judgement(10, 30, "CVA"))
    (table,) = held_out_tables(ablation)
    assert table.caption == "Held-out set Town"
    assert [row[0] for row in table.rows] == ["With it", "Without it", "untrained: CVA"]
    assert [row[1] for row in table.rows] == pytest.approx([0.5, 0.3, 0.1])
    assert [row[3] for row in table.rows] == pytest.approx([0.7, 0.5, 0.3])
    assert [row[5] for row in table.rows] == pytest.approx([0.7, 0.5, 0.3])
    assert {row[6] for row in table.rows} == {IMAGES}
    assert held_out_tables(replace(ablation, held_out=())) == []


def test_several_sets_have_a_mean_where_a_row_was_evaluated_on_all_of_them():
    both = judgement(90, 70)
    both.held_out["Village"] = judgement(90, 40).held_out["Town"]
    ablation = replace(results(both, judgement(80, 50)), held_out=("Town", "Village"))
    means, *each = held_out_tables(ablation)
    assert [table.caption for table in each] == ["Held-out set Town", "Held-out set Village"]
    assert means.rows[0] == ["With it", pytest.approx(0.35), pytest.approx(0.55)]
    assert means.rows[1] == ["Without it", None, None]


def test_every_file_of_the_report_holds_the_held_out_figures(tmp_path):
    ablation = results(judgement(90, 70), judgement(80, 50), judgement(10, 30, "CVA"))
    write_report(tmp_path, ablation)
    for name in ("report.html", "report.md"):
        assert "Held-out set Town" in (tmp_path / name).read_text()
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["held_out"] == ["Town"]
    assert content["rows"][0]["held_out"]["Town"]["fixed_threshold"]["mean"] == pytest.approx(0.5)
    assert content["rows"][0]["held_out"]["Town"]["average_precision"] == pytest.approx(0.7)
    assert content["rows"][1]["runs"][0]["held_out"]["Town"]["best_threshold"]["f1"] == 0.5
    assert content["baselines"][0]["held_out"]["Town"]["best_threshold"]["mean"] == 0.3
    assert [claim["held_out"] for claim in content["claims"]] == [None, "Town", "Town"]
    assert read_results(tmp_path / "results.json").rows[0].held_out["Town"].average_precision == 0.7
    (row, _) = csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())
    assert float(row["held_out_Town_fixed_threshold_f1_mean"]) == pytest.approx(0.5)
    assert not any("seed_f1" in name and "Town" in name for name in row)
    (run, _) = csv.DictReader((tmp_path / "runs.csv").read_text().splitlines())
    assert float(run["held_out_Town_best_threshold_average_precision"]) == pytest.approx(0.7)


def test_figures_of_held_out_sets_are_kept_with_the_run(tmp_path):
    judgement(90, 70).write(tmp_path / "judgement.json")
    read = Judgement.read(tmp_path / "judgement.json")
    assert read.score(Evaluation("fixed_threshold", "Town")).f1 == pytest.approx(0.5)
    assert read.score(Evaluation("fixed_threshold")) is None
    assert read.score(Evaluation("best_threshold", "Village")) is None
