"""The report of an ablation: a page, Markdown, JSON and CSV."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from changedet.ablation.findings import ClaimResult, judge_claims
from changedet.ablation.report_sections import report_sections
from changedet.ablation.results import (
    AblationResults,
    BaselineResult,
    RowResult,
    RunResult,
    mean,
)
from changedet.ablation.scoring import HEAT_MAP_MEASURES, Measure
from changedet.rendering.markdown import write_markdown
from changedet.rendering.page import write_summary
from changedet.storage.atomic import write_text
from changedet.storage.json_values import JsonValue, to_json_value

REPORT_FILES = ("report.html", "report.md", "results.json", "rows.csv", "runs.csv")


def write_report(out: Path, results: AblationResults) -> None:
    """Write ``report.html``, ``report.md``, ``results.json``, ``rows.csv`` and ``runs.csv``.

    Args:
        out: Folder of the ablation.
        results: What its runs left behind.

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
    write_text(out / "results.json", json.dumps(_content(results, claims), indent=2) + "\n")
    _write_csv(out / "rows.csv", [_flat_row(results, row) for row in results.rows])
    runs = [_flat_run(results, run) for row in results.rows for run in row.runs]
    _write_csv(out / "runs.csv", runs)


def _content(results: AblationResults, claims: Sequence[ClaimResult]) -> dict[str, JsonValue]:
    return {
        "title": results.table.title,
        "command": results.command,
        "data": results.data,
        "val_split": results.val_split,
        "test_split": results.test_split,
        "notes": list(results.notes),
        "problems": list(results.problems),
        "rows": [_row(results, row) for row in results.rows],
        "floors": [_baseline(floor) for floor in results.floors],
        "claims": [
            {
                **_plain(result.claim.model_dump(mode="json")),
                "protocol": result.protocol,
                **result.finding.to_dict(),
            }
            for result in claims
        ],
    }


def _plain(fields: dict[str, Any]) -> dict[str, JsonValue]:
    """Fields as plain JSON types."""
    return {name: to_json_value(value) for name, value in fields.items()}


def _row(results: AblationResults, row: RowResult) -> dict[str, JsonValue]:
    return {
        "name": row.row.name,
        "title": row.row.title,
        "note": row.row.note,
        **{
            protocol: None if (f1 := row.estimate(protocol)) is None else f1.to_dict()
            for protocol in results.protocols
        },
        "heat_maps": {measure: _heat_map(row, measure) for measure in HEAT_MAP_MEASURES},
        "rank_correlation": row.correlation().to_dict(),
        "loss_spread": to_json_value(row.loss_spread()),
        "runs": [_run(run) for run in row.runs],
        "open": [to_json_value(vars(record)) for record in row.open],
    }


def _heat_map(row: RowResult, measure: Measure) -> JsonValue:
    """A measure of the heat maps of the validation split."""
    estimate = row.estimate("seed", measure)
    return None if estimate is None else to_json_value(estimate.to_dict())


def _run(run: RunResult) -> dict[str, JsonValue]:
    scores = {protocol: score.to_dict() for protocol, score in run.judgement.scores.items()}
    for score in scores.values():
        # Thousands of numbers that stay in the run's own file.
        for name in ("counts", "blotches", "moments"):
            del score[name]
    return {
        **_plain(vars(run.record)),
        "scores": to_json_value(scores),
        "parameters": run.judgement.parameters,
        "gflop": run.judgement.gflop,
        "epochs": run.logs.epochs,
        "validations": len(run.logs.max_f1),
        "resources": to_json_value(vars(run.resources)),
        "pairs_per_second": run.resources.pairs_per_second,
        "loss_spread": to_json_value(run.loss_spread),
    }


def _baseline(floor: BaselineResult) -> dict[str, JsonValue]:
    figures: dict[str, JsonValue] = {}
    if floor.judgement is not None:
        for protocol, score in floor.judgement.scores.items():
            figures[protocol] = {**score.estimate().to_dict(), "threshold": score.threshold}
        figures["heat_maps"] = {
            measure: to_json_value(floor.judgement.scores["seed"].estimate(measure).to_dict())
            for measure in HEAT_MAP_MEASURES
        }
    return {"name": floor.name, "reason": floor.reason, **figures}


def _flat_row(results: AblationResults, row: RowResult) -> dict[str, Any]:
    flat: dict[str, Any] = {"row": row.row.name, "title": row.row.title, "seeds": len(row.runs)}
    for protocol in results.protocols:
        f1 = row.estimate(protocol)
        for name in ("mean", "std", "low", "high"):
            flat[f"{protocol}_f1_{name}"] = None if f1 is None else getattr(f1, name)
    resources = [run.resources for run in row.runs]
    flat["parameters"] = row.runs[0].judgement.parameters if row.runs else None
    flat["gflop"] = row.runs[0].judgement.gflop if row.runs else None
    flat["peak_bytes"] = max((r.peak_bytes for r in resources if r.peak_bytes), default=None)
    flat["pairs_per_second"] = mean([r.pairs_per_second or math.nan for r in resources])
    for measure in HEAT_MAP_MEASURES:
        estimate = row.estimate("seed", measure)
        flat[measure] = None if estimate is None else estimate.mean
    flat["rank_correlation"] = row.correlation().mean
    flat["loss_spread"] = row.loss_spread()
    flat["reason"] = None if row.runs else row.absence()
    return flat


def _flat_run(results: AblationResults, run: RunResult) -> dict[str, Any]:
    flat: dict[str, Any] = {"row": run.record.row, "seed": run.record.seed}
    for protocol in results.protocols:
        score = run.judgement.scores.get(protocol)
        flat[f"{protocol}_f1"] = None if score is None else score.estimate().mean
        for name in ("threshold", "precision", "recall", "average_precision", "roc_auc"):
            flat[f"{protocol}_{name}"] = None if score is None else getattr(score, name)
    flat["epochs"] = run.logs.epochs
    flat["seconds"] = run.resources.seconds
    flat["state"] = run.resources.state
    flat["pairs_per_second"] = run.resources.pairs_per_second
    flat["peak_bytes"] = run.resources.peak_bytes
    return flat


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of the same keys; what is undefined stays empty."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: to_json_value(value) for name, value in row.items()})
    write_text(path, text.getvalue())
