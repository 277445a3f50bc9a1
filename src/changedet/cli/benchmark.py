"""``changedet benchmark``: compare models with each other and with untrained baselines."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from changedet.cli.completion import complete_method
from changedet.cli.options import (
    LABELS,
    OUTPUT,
    SCORING,
    BandsAfterOption,
    BandsOption,
    BaselineEncoderWeightsOption,
    BaselinesOption,
    BatchSizeOption,
    BenchmarkOption,
    ChangedValuesOption,
    DataOption,
    DeviceOption,
    FloorsOption,
    IgnoreValueOption,
    JsonOption,
    KindOption,
    OutOption,
    OverwriteOption,
    QuietOption,
    TestTimeOption,
    band_numbers,
    whole_numbers,
)
from changedet.cli.preflight import (
    check_data,
    check_device,
    check_kind,
    check_method,
    check_results,
)
from changedet.cli.streams import results_console
from changedet.cli.wording import figure, print_help_of_group, speaker, with_options
from changedet.storage.markers import ACCURACY
from changedet.storage.secrets import hidden

if TYPE_CHECKING:
    from rich.table import Table

    from changedet.evaluation.benchmark.results import AccuracyResults

app = typer.Typer()


@app.callback(invoke_without_command=True)
def _benchmark(ctx: typer.Context) -> None:
    """Compare models with each other and with untrained methods."""
    print_help_of_group(ctx)


@app.command()
def accuracy(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Model files, runs or names (see changedet models), or untrained methods as "
            "baseline:NAME.",
            autocompletion=complete_method,
            show_default=False,
        ),
    ] = None,
    *,
    data: DataOption,
    out: OutOption,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Split to report.", rich_help_panel=LABELS)
    ] = "test",
    benchmark: BenchmarkOption = None,
    ignore_value: IgnoreValueOption = None,
    changed_values: ChangedValuesOption = None,
    bands: BandsOption = None,
    bands_after: BandsAfterOption = None,
    gsd: Annotated[
        float | None,
        typer.Option(
            metavar="METRES",
            help="Side of a pixel on the ground, for the sizes of objects in m², and for models "
            "that state at which ones they work.",
            rich_help_panel=LABELS,
        ),
    ] = None,
    duplicate_limit: Annotated[
        float | None,
        typer.Option(
            metavar="CORRELATION",
            help="From which on two images of different splits count as near-duplicates.",
            show_default="0.9",
            rich_help_panel=LABELS,
        ),
    ] = None,
    threshold: Annotated[
        Literal["split", "stored"],
        typer.Option(
            help="Choose thresholds on --threshold-split, or use each method's own.",
            rich_help_panel=SCORING,
        ),
    ] = "split",
    threshold_split: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Split that chooses thresholds.", rich_help_panel=SCORING
        ),
    ] = "val",
    test_time: TestTimeOption = None,
    kind: KindOption = None,
    batch_size: BatchSizeOption = 8,
    device: DeviceOption = "auto",
    baselines: BaselinesOption = True,
    floors: FloorsOption = True,
    encoder_weights: BaselineEncoderWeightsOption = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Seed of the bootstrap intervals.", rich_help_panel=OUTPUT
        ),
    ] = 0,
    as_json: JsonOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare methods by pixels and by objects, in tiles of 256 and whole.

    Thresholds come from another split than the one that is reported, and near-duplicates between
    the splits are looked for.
    """
    existing = check_results(out, marker=ACCURACY, overwrite=overwrite)
    check_device(device)
    check_data(data, benchmark=benchmark)
    changed = whole_numbers("--changed-value", changed_values, such_as="1,2")
    methods = tuple(check_method(model, gsd_m=gsd) for model in models or ())
    check_kind(methods, kind)
    from changedet.cli.pair_progress import pair_progress
    from changedet.evaluation.benchmark.request import AccuracyRequest

    request = AccuracyRequest(
        methods=methods,
        data=data,
        out=out,
        split=split,
        threshold=threshold,
        threshold_split=threshold_split,
        baselines="all" if baselines and floors else "none",
        benchmark=benchmark,
        test_time=test_time,
        kind=kind,
        encoder_weights=encoder_weights,
        batch_size=batch_size,
        device=device,
        ignore_value=ignore_value,
        changed_values=changed,
        bands=band_numbers("--bands", bands),
        bands_after=band_numbers("--bands-after", bands_after),
        gsd_m=gsd,
        seed=seed,
        command=_command_line(),
        existing=existing,
    )
    if duplicate_limit is not None:
        request = replace(request, duplicate_limit=duplicate_limit)
    request.check()
    from changedet.evaluation.benchmark.benchmark import measure_accuracy

    with pair_progress("benchmark", quiet=quiet) as progress:
        report = measure_accuracy(request, say=speaker(quiet=quiet), progress=progress)
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

    return hidden(shlex.join(["changedet", *sys.argv[1:]]))


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
            figure(pixels.f1),
            "-" if math.isnan(low) else f"{low:.3f}-{high:.3f}",
            figure(pixels.precision),
            figure(pixels.recall),
            figure(result.objects.f1),
            figure(pixels.average_precision),
            figure(pixels.threshold),
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
