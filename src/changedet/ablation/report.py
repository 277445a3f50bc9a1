"""The report of an ablation: a page, Markdown, JSON and CSV."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from changedet.ablation.findings import ClaimResult, judge_claims
from changedet.ablation.report_data import (
    AblationFindings,
    BaselineEstimate,
    BaselineFigures,
    ClaimFigures,
    HeatMapFigures,
    HeldOutFigures,
    RowFigures,
    RunFigures,
    RunScores,
    ScoreFigures,
)
from changedet.ablation.report_sections import report_sections
from changedet.ablation.resources import Resources
from changedet.ablation.results import (
    AblationResults,
    BaselineResult,
    RowResult,
    RunResult,
    mean,
)
from changedet.ablation.run_state import RunState
from changedet.ablation.scores import HEAT_MAP_MEASURES, PROTOCOLS, Evaluation, Protocol, SplitScore
from changedet.rendering.markdown import write_markdown
from changedet.rendering.page import write_summary
from changedet.storage.atomic import write_text
from changedet.storage.results import to_plain
from changedet.storage.text import plain_cell

#: What columns began with in earlier versions.
_FORMER_COLUMNS = {
    "best_threshold": "seed",
    "fixed_threshold": "honest",
    "false_positive_objects": "blotches",
}
REPORT_FILES = ("report.html", "report.md", "results.json", "rows.csv", "runs.csv")


def write_report(out: Path, results: AblationResults) -> list[ClaimResult]:
    """Write ``report.html``, ``report.md``, ``results.json``, ``rows.csv`` and ``runs.csv``.

    Args:
        out: Folder of the ablation.
        results: What its runs left behind.

    Returns:
        The claims of its table with their verdicts.

    Raises:
        StorageError: If a file cannot be written.
    """
    claims = judge_claims(results)
    sections = report_sections(results, claims)
    page: dict[str, Any] = {
        "title": results.table.title,
        "subtitle": results.table.description,
        "sections": sections,
    }
    write_summary(out / "report.html", **page)
    write_markdown(out / "report.md", **page)
    _content(results, claims).write(out / "results.json")
    _write_csv(out / "rows.csv", [_flat_row(results, row) for row in results.rows])
    runs = [_flat_run(results, run) for row in results.rows for run in row.runs]
    _write_csv(out / "runs.csv", runs)
    return claims


def _content(results: AblationResults, claims: Sequence[ClaimResult]) -> AblationFindings:
    return AblationFindings(
        title=results.table.title,
        command=results.command,
        data=results.data,
        val_split=results.val_split,
        test_split=results.test_split,
        held_out=results.held_out,
        notes=results.notes,
        problems=results.problems,
        rows=tuple(_row(results, row) for row in results.rows),
        baselines=tuple(_baseline(results, baseline) for baseline in results.baselines),
        claims=tuple(
            ClaimFigures(
                **to_plain(result.claim),
                protocol=result.protocol,
                held_out=result.held_out,
                **vars(result.finding),
            )
            for result in claims
        ),
    )


def _row(results: AblationResults, row: RowResult) -> RowFigures:
    return RowFigures(
        name=row.row.name,
        title=row.row.title,
        note=row.row.note,
        published=row.row.published,
        best_threshold=row.estimate("best_threshold"),
        fixed_threshold=row.estimate("fixed_threshold"),
        held_out={
            name: HeldOutFigures(
                **{each: row.estimate(each, held_out=name) for each in PROTOCOLS},
                average_precision=mean(
                    [
                        score.average_precision
                        for score in row.scores(Evaluation("best_threshold", name))
                    ]
                ),
            )
            for name in results.held_out
        },
        heat_maps=HeatMapFigures(
            **{measure: row.estimate("best_threshold", measure) for measure in HEAT_MAP_MEASURES}
        ),
        rank_correlation=row.correlation(),
        loss_spread=row.loss_spread(),
        runs=tuple(_run(run) for run in row.runs),
        open=tuple(RunState(**dict(record)) for record in row.open),
    )


def _run(run: RunResult) -> RunFigures:
    return RunFigures(
        **dict(run.record),
        scores=_scores(run.judgement.scores),
        held_out={name: _scores(scores) for name, scores in run.judgement.held_out.items()},
        parameters=run.judgement.parameters,
        gflop=run.judgement.gflop,
        epochs=run.logs.epochs,
        best_epoch=None if run.logs.best is None else run.logs.best.epoch,
        best_batch=None if run.logs.best is None else run.logs.best.batch,
        validations=len(run.logs.max_f1),
        resources=Resources(**dict(run.resources)),
        pairs_per_second=run.resources.pairs_per_second,
        loss_spread=run.loss_spread,
    )


def _scores(scores: Mapping[Protocol, SplitScore]) -> RunScores:
    """Leave out the thousands of numbers that stay in the run's own file."""
    return RunScores(
        **{
            protocol: ScoreFigures(
                **{name: getattr(score, name) for name in ScoreFigures.model_fields}
            )
            for protocol, score in scores.items()
        }
    )


def _baseline(results: AblationResults, baseline: BaselineResult) -> BaselineFigures:
    if baseline.judgement is None:
        return BaselineFigures(name=baseline.name, reason=baseline.reason)
    scores = baseline.judgement.scores
    return BaselineFigures(
        name=baseline.name,
        reason=baseline.reason,
        **{
            protocol: BaselineEstimate(**vars(score.estimate()), threshold=score.threshold)
            for protocol, score in scores.items()
        },
        held_out={
            name: HeldOutFigures(
                **{each: own[each].estimate() for each in PROTOCOLS},
                average_precision=own["best_threshold"].average_precision,
            )
            for name, own in baseline.judgement.held_out.items()
            if name in results.held_out
        },
        heat_maps=HeatMapFigures(
            **{measure: scores["best_threshold"].estimate(measure) for measure in HEAT_MAP_MEASURES}
        ),
    )


def _flat_row(results: AblationResults, row: RowResult) -> dict[str, Any]:
    flat: dict[str, Any] = {"row": row.row.name, "title": row.row.title, "seeds": len(row.runs)}
    for one in results.evaluations:
        f1 = row.estimate(one.protocol, held_out=one.held_out)
        for name in ("mean", "std", "low", "high"):
            flat[f"{one.column}_f1_{name}"] = None if f1 is None else getattr(f1, name)
    resources = [run.resources for run in row.runs]
    flat["parameters"] = row.runs[0].judgement.parameters if row.runs else None
    flat["gflop"] = row.runs[0].judgement.gflop if row.runs else None
    flat["average_bytes"] = mean([r.average_bytes or math.nan for r in resources])
    flat["peak_bytes"] = max((r.peak_bytes for r in resources if r.peak_bytes), default=None)
    flat["pairs_per_second"] = mean([r.pairs_per_second or math.nan for r in resources])
    for measure in HEAT_MAP_MEASURES:
        estimate = row.estimate("best_threshold", measure)
        flat[measure] = None if estimate is None else estimate.mean
    flat["rank_correlation"] = row.correlation().mean
    flat["loss_spread"] = row.loss_spread()
    flat["reason"] = None if row.runs else row.absence()
    return flat


def _flat_run(results: AblationResults, run: RunResult) -> dict[str, Any]:
    flat: dict[str, Any] = {"row": run.record.row, "seed": run.record.seed}
    for one in results.evaluations:
        score = run.judgement.score(one)
        flat[f"{one.column}_f1"] = None if score is None else score.estimate().mean
        for name in ("threshold", "precision", "recall", "average_precision", "roc_auc"):
            flat[f"{one.column}_{name}"] = None if score is None else getattr(score, name)
    flat["epochs"] = run.logs.epochs
    flat["best_epoch"], flat["best_batch"] = run.logs.best or (None, None)
    flat["seconds"] = run.resources.seconds
    flat["state"] = run.resources.state
    flat["pairs_per_second"] = run.resources.pairs_per_second
    flat["average_bytes"] = run.resources.average_bytes
    flat["peak_bytes"] = run.resources.peak_bytes
    return flat


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of the same keys; what is undefined stays empty.

    Columns under the names of earlier versions follow at the end, for one more version.
    """
    text = io.StringIO()
    if rows:
        former = {
            column.replace(present, name): column
            for present, name in _FORMER_COLUMNS.items()
            for column in rows[0]
            if column.startswith(present)
        }
        writer = csv.DictWriter(text, [*rows[0], *former], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            plain = {name: plain_cell(value) for name, value in to_plain(row).items()}
            writer.writerow(plain | {name: plain[column] for name, column in former.items()})
    write_text(path, text.getvalue())
