"""``changedet evaluate``: evaluate a model or a baseline by both protocols."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.options import (
    BaselineEncoderWeightsOption,
    BatchSizeOption,
    BenchmarkOption,
    ChangedValuesOption,
    DataOption,
    DeviceOption,
    IgnoreValueOption,
    ModeOption,
    TestTimeOption,
)
from changedet.cli.streams import results_console
from changedet.cli.wording import say, with_options

if TYPE_CHECKING:
    from rich.table import Table

    from changedet.evaluation.results import EvaluationResults

_FIGURES = (
    ("F1", "f1"),
    ("IoU", "iou"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("overall accuracy", "overall_accuracy"),
    ("kappa", "kappa"),
)


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Model file (.safetensors), or an untrained method: baseline:difference, "
            "baseline:cva, "
            "baseline:ir_mad, baseline:deep_difference."
        ),
    ],
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    split: Annotated[str, typer.Option(help="Split to report.")] = "test",
    benchmark: BenchmarkOption = None,
    mode: ModeOption = "whole",
    threshold: Annotated[
        float | None, typer.Option(help="Score in [0, 1] to use instead of the model's own.")
    ] = None,
    threshold_split: Annotated[
        str | None,
        typer.Option(
            help="Choose the threshold on this split first (best F1) and apply it unchanged."
        ),
    ] = None,
    test_time: TestTimeOption = None,
    batch_size: BatchSizeOption = 8,
    device: DeviceOption = "auto",
    panels: Annotated[int, typer.Option(min=0, help="Number of pairs shown as images.")] = 12,
    ignore_value: IgnoreValueOption = None,
    changed_values: ChangedValuesOption = None,
    channels: Annotated[
        int | None,
        typer.Option(min=1, help="Untrained methods: bands of the images.  [default: 3]"),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="deep_difference: timm encoder.  [default: tf_efficientnet_lite0]"),
    ] = None,
    encoder_weights: BaselineEncoderWeightsOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print metrics.json and nothing else.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results of an earlier evaluation.")
    ] = False,
) -> None:
    """Report figures at the best and at a fixed threshold, with curve, table and panels."""
    from changedet.cli.pair_progress import pair_progress
    from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model

    request = EvaluationRequest(
        model=model,
        data=data,
        out=out,
        split=split,
        benchmark=benchmark,
        mode=mode,
        threshold=threshold,
        threshold_split=threshold_split,
        test_time=test_time,
        batch_size=batch_size,
        device=device,
        panels=panels,
        ignore_value=ignore_value,
        changed_values=tuple(changed_values) if changed_values else None,
        channels=channels,
        encoder=encoder,
        encoder_weights=encoder_weights,
        existing="replace" if overwrite else "refuse",
    )
    with pair_progress("evaluate") as progress:
        results = evaluate_model(request, say=say, progress=progress)
    if as_json:
        typer.echo(results.to_json(), nl=False)
        return
    results_console().print(_table(results, title=f"{data}, split {split}, {results.images} pairs"))
    for line in _remarks(results):
        typer.echo(with_options(line))
    typer.echo(f"results: {out}")


def _table(results: "EvaluationResults", *, title: str) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("best threshold (optimistic)", justify="right")
    table.add_column("fixed threshold", justify="right")
    table.add_column("95 % interval", justify="right")
    best, fixed = results.best_threshold, results.fixed_threshold
    at_best = {"f1": best.max_f1, "precision": best.precision, "recall": best.recall}
    for title_of_row, name in _FIGURES:
        low, high = fixed.intervals[name] if fixed else (math.nan, math.nan)
        table.add_row(
            title_of_row,
            _number(at_best.get(name, math.nan)),
            _number(getattr(fixed, name) if fixed else math.nan),
            "-" if math.isnan(low) else f"{low:.4f} to {high:.4f}",
        )
    table.add_section()
    for title_of_row, name in (
        ("threshold (score)", "threshold"),
        ("as distance (x 2)", "distance"),
    ):
        ours = _number(getattr(fixed, name) if fixed else math.nan)
        table.add_row(title_of_row, _number(getattr(best, name)), ours, "")
    return table


def _remarks(results: "EvaluationResults") -> list[str]:
    best, fixed = results.best_threshold, results.fixed_threshold
    remarks = [
        f"average precision {_number(best.average_precision)}, ROC-AUC {_number(best.roc_auc)}",
        f"best threshold: {best.note}",
    ]
    if fixed is None:
        return [*remarks, f"fixed threshold: {results.reason}"]
    remarks.append(f"fixed threshold: {fixed.threshold_source or 'stored with the model'}")
    if fixed.note is not None:
        remarks.append(f"fixed threshold: {fixed.note}")
    return remarks


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
