"""``changedet calibrate``: choose a model file's threshold again, for the way it will be used."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.completion import complete_model
from changedet.cli.options import (
    LABELS,
    OUTPUT,
    BandsAfterOption,
    BandsOption,
    BatchSizeOption,
    BenchmarkOption,
    ChangedValuesOption,
    DeviceOption,
    GsdOption,
    IgnoreValueOption,
    KindOption,
    ModelArgument,
    ModeOption,
    OutModelArgument,
    QuietOption,
    TestTimeOption,
    band_numbers,
    whole_numbers,
)
from changedet.cli.preflight import (
    check_data,
    check_device,
    check_method,
    check_mixture,
    check_model_file,
)
from changedet.cli.streams import results_console
from changedet.cli.wording import figure, speaker
from changedet.errors import ConfigError
from changedet.types import Precision

if TYPE_CHECKING:
    from changedet.evaluation.calibrate import Operation
    from changedet.evaluation.calibration_request import CalibrationRequest


def calibrate(
    model: ModelArgument,
    out: OutModelArgument,
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Data set that chooses the threshold: a folder, a manifest of scenes or a mixture "
            "of data sets (YAML).",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Set it by hand instead; --reason says where it is from."
        ),
    ] = None,
    threshold_of: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Take over that of another model instead, such as one trained with the same "
            "settings on fewer images, and its test-time augmentation.",
            autocompletion=complete_model,
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Sentence for the model's card.")
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Split that chooses the threshold.", rich_help_panel=LABELS
        ),
    ] = "val",
    benchmark: BenchmarkOption = None,
    ignore_value: IgnoreValueOption = None,
    changed_values: ChangedValuesOption = None,
    bands: BandsOption = None,
    bands_after: BandsAfterOption = None,
    mode: ModeOption = "whole",
    test_time: TestTimeOption = None,
    kind: KindOption = None,
    gsd: GsdOption = None,
    temperature: Annotated[
        bool | None,
        typer.Option(
            "--temperature/--no-temperature",
            help="Fit a temperature, too, which makes scores probabilities; by default if the "
            "kind of change has one.",
            show_default=False,
        ),
    ] = None,
    batch_size: BatchSizeOption = 8,
    device: DeviceOption = "auto",
    precision: Annotated[
        Precision,
        typer.Option(
            help="Type of the stored weights; float16 halves the file, int8 halves it again.",
            rich_help_panel=OUTPUT,
        ),
    ] = "float32",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace OUT if it exists, even if it is MODEL.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Choose a model's threshold again, on a validation split, or set it by hand.

    A mixture of data sets settles temperature and threshold of each kind of change.

    The new file has the threshold, its source, the test-time augmentation and the weights as they
    were scored, rounded if that is asked for; everything else stays the same.
    """
    existing = check_model_file(out, overwrite=overwrite)
    check_device(device)
    if threshold is not None or threshold_of is not None:
        if data is not None:
            given = "--threshold" if threshold_of is None else "--threshold-of"
            raise ConfigError(f"--data chooses a threshold, {given} gives one; remove one of them")
        from changedet.evaluation.set_threshold import set_threshold

        card = set_threshold(
            Path(check_method(model, kind=kind)),
            out,
            threshold=threshold,
            threshold_of=threshold_of,
            kind=kind,
            reason=reason,
            test_time=test_time,
            precision=precision,
            existing=existing,
        )
        names = [kind] if kind or not card.kinds else [one.name for one in card.kinds]
        for name in names if threshold is None else [kind]:
            of = card.for_kind(name)
            whose = "" if name is None else f"{name}: "
            typer.echo(f"{whose}threshold: {of.threshold:.4f}, {of.threshold_source}")
        typer.echo(f"model file: {out} ({out.stat().st_size / 1e6:.1f} MB)")
        return
    if reason is not None:
        raise ConfigError("--reason goes with --threshold or --threshold-of; remove it")
    if data is None:
        raise ConfigError(
            "give the labelled images that choose the threshold (--data FOLDER), or a threshold "
            "(--threshold NUMBER, --threshold-of MODEL)"
        )
    check_data(data, benchmark=benchmark)
    changed = whole_numbers("--changed-value", changed_values, such_as="1,2")
    found = Path(check_method(model, kind=kind, gsd_m=gsd))
    from changedet.evaluation.calibration_request import CalibrationRequest

    request = CalibrationRequest(
        model=found,
        out=out,
        data=data,
        split=split,
        benchmark=benchmark,
        mode=mode,
        test_time=test_time,
        kind=kind,
        gsd_m=gsd,
        temperature=temperature,
        precision=precision,
        batch_size=batch_size,
        device=device,
        ignore_value=ignore_value,
        changed_values=changed,
        bands=band_numbers("--bands", bands),
        bands_after=band_numbers("--bands-after", bands_after),
        existing=existing,
    )
    mixture = check_mixture(request, method=str(found), kind=kind)
    if mixture is not None and temperature is False:
        raise ConfigError(
            "a mixture settles the temperature of each kind of change; remove --no-temperature"
        )
    from changedet.data.index import check_splits

    check_splits(data, {"split": split}, benchmark=benchmark)
    size_bytes = (_on_one_set if mixture is None else _on_mixture)(request, quiet=quiet)
    typer.echo(f"model file: {out} ({size_bytes / 1e6:.1f} MB)")


def _on_one_set(request: "CalibrationRequest", *, quiet: bool) -> int:
    """Calibrate on one data set, say what was chosen, and return the size of the file."""
    from changedet.cli.pair_progress import pair_progress
    from changedet.evaluation.calibrate import calibrate_model
    from changedet.metrics.protocol import SELECTION_SET_NOTE

    with pair_progress("calibrate", quiet=quiet) as progress:
        report = calibrate_model(request, say=speaker(quiet=quiet), progress=progress)
    typer.echo(
        f"{request.data}, split {request.split}, {report.images} pairs: {SELECTION_SET_NOTE}"
    )
    typer.echo(f"before: {_operation(report.before)}")
    typer.echo(f"after:  {_operation(report.after)}")
    if report.errors is not None:
        divided = "" if report.temperature is None else f" (temperature {report.temperature:.4g})"
        before, after = report.errors
        typer.echo(f"expected calibration error: {before:.4f} before, {after:.4f} after{divided}")
    return report.size_bytes


def _on_mixture(request: "CalibrationRequest", *, quiet: bool) -> int:
    """Calibrate on a mixture of data sets, show it as a table, and return the size of the file."""
    from rich.table import Table

    from changedet.cli.pair_progress import pair_progress
    from changedet.evaluation.calibrate_mixture import calibrate_on_mixture
    from changedet.metrics.protocol import SELECTION_SET_NOTE

    with pair_progress("calibrate", quiet=quiet) as progress:
        report = calibrate_on_mixture(request, say=speaker(quiet=quiet), progress=progress)
    pairs = sum(one.images for one in report.sets.values())
    typer.echo(f"{request.data}, split {request.split}, {pairs} pairs: {SELECTION_SET_NOTE}")
    table = Table()
    table.add_column("data set")
    table.add_column("kind")
    for column in ("pairs", "F1 before", "F1", "best F1", "ECE"):
        table.add_column(column, justify="right")
    for name, one in report.sets.items():
        figures = (one.f1_before, one.f1, one.best_f1, one.expected_calibration_error)
        table.add_row(name, one.kind or "-", str(one.images), *map(figure, figures))
    results_console().print(table)
    for kind in report.kinds:
        warmth = "" if kind.temperature is None else f", temperature {kind.temperature:.4f}"
        whose = f"{kind.name}: " if report.card.kinds else ""
        typer.echo(
            f"{whose}threshold {figure(kind.threshold)}{warmth}, mean F1 "
            f"{figure(report.mean_f1(kind.name))}"
        )
    return report.size_bytes


def _operation(used: "Operation") -> str:
    how = f"test-time augmentation {used.test_time}, {used.precision} weights"
    if used.f1 is None or used.threshold is None:
        return f"no threshold ({how})"
    return f"F1 {used.f1:.4f} at threshold {used.threshold:.4f} ({how})"
