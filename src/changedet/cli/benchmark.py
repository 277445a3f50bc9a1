"""``changedet benchmark``: compare models with each other and with untrained baselines."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from changedet.cli.benchmark_speed import speed
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
    ModelArgument,
    OutOption,
    OverwriteOption,
    QuietOption,
    SplitOption,
    TestTimeOption,
    ThresholdOption,
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
from changedet.errors import ConfigError
from changedet.storage.markers import ACCURACY, GSD_CURVE
from changedet.storage.secrets import hidden

if TYPE_CHECKING:
    from rich.table import Table

    from changedet.evaluation.benchmark.results import AccuracyResults
    from changedet.evaluation.gsd_curve.results import GsdCurveResults

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
    split: SplitOption = "test",
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
    from changedet.model_search import find_method

    # Before packages are asked for, that only some of the models need.
    check_kind([str(find_method(model)) for model in models or ()], kind)
    methods = tuple(check_method(model, gsd_m=gsd) for model in models or ())
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


@app.command()
def gsd(
    model: ModelArgument,
    *,
    data: DataOption,
    out: OutOption,
    own: Annotated[
        float | None,
        typer.Option(
            "--gsd",
            metavar="METRES",
            help="Side of a pixel of the images on the ground.",
            show_default="from the georeference",
            rich_help_panel=LABELS,
        ),
    ] = None,
    split: SplitOption = "val",
    pairs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="So many pairs of it, spread evenly.",
            show_default="all",
            rich_help_panel=LABELS,
        ),
    ] = None,
    benchmark: BenchmarkOption = None,
    ignore_value: IgnoreValueOption = None,
    changed_values: ChangedValuesOption = None,
    bands: BandsOption = None,
    bands_after: BandsAfterOption = None,
    lengths: Annotated[
        str | None,
        typer.Option(
            metavar="METRES",
            help="Lengths to which the images are brought, such as 0.25,0.5,1,2.",
            show_default="half of their own to four times it",
            rich_help_panel=SCORING,
        ),
    ] = None,
    kind: KindOption = None,
    threshold: ThresholdOption = None,
    test_time: TestTimeOption = None,
    batch_size: BatchSizeOption = 8,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure F1 of a model over the ground sample distance of the images.

    The images of a labelled split are brought to several lengths, and the model sees them as they
    are and, where it states at which lengths it works, resampled for that. Choose that range by it:
    changedet describe --working-gsd.
    """
    from changedet.evaluation.gsd_curve.request import GsdCurveRequest

    existing = check_results(out, marker=GSD_CURVE, overwrite=overwrite)
    check_device(device)
    check_data(data, benchmark=benchmark)
    found = check_method(
        model, threshold=threshold, kind=kind, gsd_m=own, needs_threshold=True, test_time=test_time
    )
    request = GsdCurveRequest(
        model=Path(found),
        data=data,
        out=out,
        gsd_m=own,
        lengths_m=_lengths(lengths),
        split=split,
        pairs=pairs,
        benchmark=benchmark,
        kind=kind,
        threshold=threshold,
        test_time=test_time,
        batch_size=batch_size,
        device=device,
        ignore_value=ignore_value,
        changed_values=whole_numbers("--changed-value", changed_values, such_as="1,2"),
        bands=band_numbers("--bands", bands),
        bands_after=band_numbers("--bands-after", bands_after),
        existing=existing,
    )
    request.check()
    from changedet.data.index import check_splits

    check_splits(data, {"split": split}, benchmark=benchmark)
    from changedet.cli.pair_progress import pair_progress
    from changedet.evaluation.gsd_curve.curve import measure_gsd_curve

    with pair_progress("benchmark", quiet=quiet) as progress:
        report = measure_gsd_curve(request, say=speaker(quiet=quiet), progress=progress)
    if as_json:
        typer.echo(report.to_json(), nl=False)
        return
    results_console().print(_gsd_table(report))
    if report.note is not None:
        typer.echo(report.note)
    typer.echo(f"threshold {report.threshold:.4f} ({report.threshold_source})")
    typer.echo(f"results: {out}")


app.command()(speed)


def _lengths(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--lengths takes lengths in metres, such as 0.25,0.5,1,2; got {text!r}"
        ) from error


def _gsd_table(report: GsdCurveResults) -> Table:
    from rich.table import Table

    title = f"F1 on {report.data}, split {report.split}, {report.images} pairs"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for name in ("pixels (m)", "as they are", "95 % interval", "resampled", "95 % interval", "by"):
        table.add_column(name, justify="right", no_wrap=True)
    for point in report.points:
        cells = [f"{point.gsd_m:.3g}"]
        for figures in (point.as_they_are, point.resampled):
            low, high = figures.interval if figures else (math.nan, math.nan)
            cells.append(figure(figures.f1 if figures else math.nan))
            cells.append("-" if math.isnan(low) else f"{low:.3f}-{high:.3f}")
        table.add_row(*cells, "-" if point.resampled is None else f"{point.resampled.factor:.3g}")
    return table


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
