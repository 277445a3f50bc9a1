"""``changedet benchmark``: compare models with each other and with untrained baselines."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from changedet.cli.options import (
    BaselineEncoderWeightsOption,
    BaselinesOption,
    BatchSizeOption,
    BenchmarkOption,
    ChangedValuesOption,
    DataOption,
    DeviceOption,
    FloorsOption,
    IgnoreValueOption,
    TestTimeOption,
)
from changedet.cli.streams import results_console
from changedet.cli.wording import say, with_options

if TYPE_CHECKING:
    from rich.table import Table

    from changedet.evaluation.benchmark.results import AccuracyResults

app = typer.Typer(
    help="Measure models against each other and against untrained methods.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _benchmark() -> None:
    """Measure models against each other and against untrained methods."""


@app.command()
def accuracy(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...", help="Model files, or untrained methods as baseline:NAME."
        ),
    ] = None,
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    split: Annotated[str, typer.Option(help="Split to report.")] = "test",
    threshold: Annotated[
        Literal["split", "stored"],
        typer.Option(help="Choose thresholds on --threshold-split, or use each method's own."),
    ] = "split",
    threshold_split: Annotated[str, typer.Option(help="Split that chooses thresholds.")] = "val",
    baselines: BaselinesOption = True,
    floors: FloorsOption = True,
    benchmark: BenchmarkOption = None,
    test_time: TestTimeOption = None,
    encoder_weights: BaselineEncoderWeightsOption = None,
    batch_size: BatchSizeOption = 8,
    device: DeviceOption = "auto",
    ignore_value: IgnoreValueOption = None,
    changed_values: ChangedValuesOption = None,
    gsd: Annotated[
        float | None,
        typer.Option(help="Side of a pixel on the ground in metres, for object sizes in m²."),
    ] = None,
    duplicate_limit: Annotated[
        float | None,
        typer.Option(help="Correlation of near-duplicates between splits; default 0.9."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print accuracy.json and nothing else.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results of an earlier benchmark.")
    ] = False,
) -> None:
    """Judge models by pixels and objects, as 256 tiles and whole, thresholds from another split."""
    from changedet.cli.pair_progress import pair_progress
    from changedet.evaluation.benchmark.benchmark import measure_accuracy
    from changedet.evaluation.benchmark.request import AccuracyRequest

    request = AccuracyRequest(
        methods=tuple(models or ()),
        data=data,
        out=out,
        split=split,
        threshold=threshold,
        threshold_split=threshold_split,
        baselines="all" if baselines and floors else "none",
        benchmark=benchmark,
        test_time=test_time,
        encoder_weights=encoder_weights,
        batch_size=batch_size,
        device=device,
        ignore_value=ignore_value,
        changed_values=tuple(changed_values) if changed_values else None,
        gsd_m=gsd,
        seed=seed,
        command=_command_line(),
        existing="replace" if overwrite else "refuse",
    )
    if duplicate_limit is not None:
        request = replace(request, duplicate_limit=duplicate_limit)
    with pair_progress("benchmark") as progress:
        report = measure_accuracy(request, say=say, progress=progress)
    if as_json:
        typer.echo(report.to_json(), nl=False)
        return
    console = results_console()
    for number in range(len(report.methods[0].views)):
        console.print(_table(report, number))
    for line in _remarks(report):
        typer.echo(with_options(line))
    typer.echo(f"results: {out}")


def _command_line() -> str:
    import shlex
    import sys

    return shlex.join(["changedet", *sys.argv[1:]])


def _table(report: AccuracyResults, number: int) -> Table:
    from rich.table import Table

    view = report.methods[0].views[number]
    title = f"{view.title}, {report.images} pairs"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    # Eighty columns: what cannot be broken is kept short.
    for name in (
        "F1",
        "95 %\ninterval",
        "preci-\nsion",
        "recall",
        "object\nF1",
        "AP",
        "thres-\nhold",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in report.methods:
        result = entry.views[number]
        pixels = result.pixels
        low, high = pixels.intervals["f1"]
        table.add_row(
            entry.title,
            _number(pixels.f1),
            "-" if math.isnan(low) else f"{low:.3f}-{high:.3f}",
            _number(pixels.precision),
            _number(pixels.recall),
            _number(result.objects.f1),
            _number(pixels.average_precision),
            _number(pixels.threshold),
        )
    return table


def _remarks(report: AccuracyResults) -> list[str]:
    remarks = [f"{entry.title}: {entry.note}" for entry in report.methods if entry.note is not None]
    repeated = report.near_duplicates.repeats_of_training
    if repeated is None:
        return [*remarks, "near-duplicates of training images: no training split to compare with"]
    remarks.append(
        f"near-duplicates of training images: {repeated} of {report.images} pairs"
        + ("; the results include the figures without them" if repeated else "")
    )
    return remarks


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
