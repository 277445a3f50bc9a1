"""``changedet calibrate``: choose a model file's threshold again, for the way it will be used."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.options import (
    LABELS,
    OUTPUT,
    BandsAfterOption,
    BandsOption,
    BatchSizeOption,
    BenchmarkOption,
    ChangedValuesOption,
    DataOption,
    DeviceOption,
    IgnoreValueOption,
    ModelArgument,
    ModeOption,
    QuietOption,
    TestTimeOption,
    band_numbers,
    whole_numbers,
)
from changedet.cli.preflight import check_data, check_device, check_method, check_model_file
from changedet.cli.wording import speaker
from changedet.types import Precision

if TYPE_CHECKING:
    from changedet.evaluation.calibrate import Operation


def calibrate(
    model: ModelArgument,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="Model file to write (.safetensors).", show_default=False
        ),
    ],
    *,
    data: DataOption,
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
    """Choose a model's threshold again, on a validation split.

    The new file has the threshold, its source, the test-time augmentation and the weights as they
    were scored, rounded if that is asked for; everything else stays the same.
    """
    existing = check_model_file(out, overwrite=overwrite)
    check_device(device)
    check_data(data, benchmark=benchmark)
    changed = whole_numbers("--changed-value", changed_values, such_as="1,2")
    found = Path(check_method(model))
    from changedet.data.index import check_splits

    check_splits(data, {"split": split}, benchmark=benchmark)

    from changedet.cli.pair_progress import pair_progress
    from changedet.evaluation.calibrate import CalibrationRequest, calibrate_model
    from changedet.metrics.protocol import SELECTION_SET_NOTE

    request = CalibrationRequest(
        model=found,
        out=out,
        data=data,
        split=split,
        benchmark=benchmark,
        mode=mode,
        test_time=test_time,
        precision=precision,
        batch_size=batch_size,
        device=device,
        ignore_value=ignore_value,
        changed_values=changed,
        bands=band_numbers("--bands", bands),
        bands_after=band_numbers("--bands-after", bands_after),
        existing=existing,
    )
    with pair_progress("calibrate", quiet=quiet) as progress:
        report = calibrate_model(request, say=speaker(quiet=quiet), progress=progress)
    typer.echo(f"{data}, split {split}, {report.images} pairs: {SELECTION_SET_NOTE}")
    typer.echo(f"before: {_operation(report.before)}")
    typer.echo(f"after:  {_operation(report.after)}")
    typer.echo(f"model file: {out} ({report.size_bytes / 1e6:.1f} MB)")


def _operation(used: "Operation") -> str:
    how = f"test-time augmentation {used.test_time}, {used.precision} weights"
    if used.f1 is None or used.threshold is None:
        return f"no threshold ({how})"
    return f"F1 {used.f1:.4f} at threshold {used.threshold:.4f} ({how})"
