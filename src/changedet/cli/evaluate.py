"""``changedet evaluate``: evaluate a model or a baseline by both protocols."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.options import (
    OUTPUT,
    SCORING,
    UNTRAINED,
    BandsAfterOption,
    BandsOption,
    BaselineEncoderOption,
    BaselineEncoderWeightsOption,
    BatchSizeOption,
    BenchmarkOption,
    ChangedValuesOption,
    DataOption,
    DeviceOption,
    GsdOption,
    IgnoreValueOption,
    JsonOption,
    KindOption,
    MethodArgument,
    ModeOption,
    OutOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    RuntimeOption,
    SplitOption,
    TestTimeOption,
    ThresholdOption,
    band_numbers,
    whole_numbers,
)
from changedet.cli.preflight import check_data, check_device, check_method, check_mixture
from changedet.cli.streams import results_console
from changedet.cli.wording import figure, speaker, with_options

if TYPE_CHECKING:
    from rich.table import Table

    from changedet.evaluation.mixture_results import MixtureEvaluationResults
    from changedet.evaluation.request import EvaluationRequest
    from changedet.evaluation.results import EvaluationResults
    from changedet.metrics.calibration import Calibration

_FIGURES = (
    ("F1", "f1"),
    ("IoU", "iou"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("overall accuracy", "overall_accuracy"),
    ("kappa", "kappa"),
)


def evaluate(
    model: MethodArgument,
    *,
    data: DataOption,
    out: OutOption,
    split: SplitOption = "test",
    benchmark: BenchmarkOption = None,
    ignore_value: IgnoreValueOption = None,
    changed_values: ChangedValuesOption = None,
    bands: BandsOption = None,
    bands_after: BandsAfterOption = None,
    mode: ModeOption = "whole",
    threshold: ThresholdOption = None,
    threshold_split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Choose the threshold on this split first (best F1) and apply it unchanged.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    test_time: TestTimeOption = None,
    kind: KindOption = None,
    gsd: GsdOption = None,
    batch_size: BatchSizeOption = 8,
    device: DeviceOption = "auto",
    runtime: RuntimeOption = "auto",
    precision: PrecisionOption = "float32",
    channels: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Bands of the images.",
            show_default="all",
            rich_help_panel=UNTRAINED,
        ),
    ] = None,
    encoder: BaselineEncoderOption = None,
    encoder_weights: BaselineEncoderWeightsOption = None,
    panels: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Pairs that are drawn as pictures.", rich_help_panel=OUTPUT
        ),
    ] = 12,
    as_json: JsonOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model or an untrained method on a labelled split.

    Reports figures at a threshold chosen beforehand, and at the best one for comparison, with the
    precision-recall curve, a table of all pairs and pictures. Of a mixture of data sets each one is
    evaluated by itself, for the kind of change that it labels.
    """
    from changedet.evaluation.request import EvaluationRequest, check_request

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
        kind=kind,
        gsd_m=gsd,
        batch_size=batch_size,
        device=device,
        runtime=runtime,
        precision=precision,
        panels=panels,
        ignore_value=ignore_value,
        changed_values=whole_numbers("--changed-value", changed_values, such_as="1,2"),
        bands=band_numbers("--bands", bands),
        bands_after=band_numbers("--bands-after", bands_after),
        channels=channels,
        encoder=encoder,
        encoder_weights=encoder_weights,
        existing="replace" if overwrite else "refuse",
    )
    check_request(request)
    check_device(device)
    check_data(data, benchmark=benchmark)
    found = check_method(
        model,
        test_time=test_time,
        kind=kind,
        channels=channels,
        encoder=encoder,
        encoder_weights=encoder_weights,
        runtime=runtime,
        precision=precision,
        device=device,
    )
    mixture = check_mixture(request, method=found, also=("kind",))
    from changedet.data.index import check_splits

    splits = {"split": split, "threshold_split": threshold_split}
    check_splits(data, splits, benchmark=benchmark)

    (_on_one_set if mixture is None else _on_mixture)(request, as_json=as_json, quiet=quiet)
    if not as_json:
        typer.echo(f"results: {out}")


def _on_one_set(request: "EvaluationRequest", *, as_json: bool, quiet: bool) -> None:
    """Evaluate on one data set, and show what was found."""
    from changedet.cli.pair_progress import pair_progress
    from changedet.evaluation.evaluate import evaluate_model

    with pair_progress("evaluate", quiet=quiet) as progress:
        results = evaluate_model(request, say=speaker(quiet=quiet), progress=progress)
    if as_json:
        typer.echo(results.to_json(), nl=False)
        return
    title = f"{request.data}, split {request.split}, {results.images} pairs"
    results_console().print(_table(results, title=title))
    for line in _remarks(results):
        typer.echo(with_options(line))


def _on_mixture(request: "EvaluationRequest", *, as_json: bool, quiet: bool) -> None:
    """Evaluate on each data set of a mixture, and show a row for each."""
    from changedet.cli.pair_progress import pair_progress
    from changedet.evaluation.evaluate_mixture import evaluate_mixture

    with pair_progress("evaluate", quiet=quiet) as progress:
        results = evaluate_mixture(request, say=speaker(quiet=quiet), progress=progress)
    if as_json:
        typer.echo(results.to_json(), nl=False)
        return
    typer.echo(f"{request.data}, split {request.split}, {results.images} pairs")
    results_console().print(_table_of_sets(results))
    worst = "" if results.worst_set is None else f" ({results.worst_set})"
    typer.echo(f"mean F1 {figure(results.mean_f1)}, worst {figure(results.worst_f1)}{worst}")
    for name, one in results.sets.items():
        if one.threshold is None:
            typer.echo(f"{name}: the model has no threshold for it")
        elif one.note is not None:
            typer.echo(with_options(f"{name}: {one.note}"))


def _table_of_sets(results: "MixtureEvaluationResults") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    # Narrow enough for 80 columns.
    table = Table(box=SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    # Long names are what gives way: a figure that is cut short says nothing.
    for column in ("data set", "kind"):
        table.add_column(column, overflow="fold")
    for column in ("pairs", "F1", "interval", "prec.", "recall", "best F1", "AP", "ECE"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, one in results.sets.items():
        low, high = one.intervals.get("f1", (math.nan, math.nan))
        table.add_row(
            name,
            one.change_kind or "-",
            str(one.images),
            _short(one.f1),
            "-" if math.isnan(low) else f"{low:.3f}-{high:.3f}",
            _short(one.precision),
            _short(one.recall),
            _short(one.best_f1),
            _short(one.average_precision),
            _short(one.expected_calibration_error),
        )
    return table


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


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
            figure(at_best.get(name, math.nan)),
            figure(getattr(fixed, name) if fixed else math.nan),
            "-" if math.isnan(low) else f"{low:.4f} to {high:.4f}",
        )
    table.add_section()
    for title_of_row, name in (
        ("threshold (score)", "threshold"),
        ("as distance (x 2)", "distance"),
    ):
        ours = figure(getattr(fixed, name) if fixed else math.nan)
        table.add_row(title_of_row, figure(getattr(best, name)), ours, "")
    return table


def _remarks(results: "EvaluationResults") -> list[str]:
    best, fixed = results.best_threshold, results.fixed_threshold
    remarks = [
        f"average precision {figure(best.average_precision)}, ROC-AUC {figure(best.roc_auc)}",
        _calibration(results.calibration),
        f"best threshold: {best.note}",
    ]
    if fixed is None:
        return [*remarks, f"fixed threshold: {results.reason}"]
    remarks.append(f"fixed threshold: {fixed.threshold_source or 'stored with the model'}")
    if fixed.note is not None:
        remarks.append(f"fixed threshold: {fixed.note}")
    return remarks


def _calibration(found: "Calibration | None") -> str:
    if found is None:
        return "calibration error: none, since these scores are no probabilities of change"
    return (
        f"expected calibration error {figure(found.expected_calibration_error)} (mean score "
        f"{figure(found.mean_score)}, changed pixels {figure(found.changed_share)})"
    )
