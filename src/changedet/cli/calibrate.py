"""``changedet calibrate``: choose a model file's threshold again, for the way it will be used."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.options import (
    BatchSizeOption,
    BenchmarkOption,
    ChangedValuesOption,
    DataOption,
    DeviceOption,
    IgnoreValueOption,
    ModeOption,
    TestTimeOption,
)
from changedet.cli.wording import say
from changedet.types import Precision

if TYPE_CHECKING:
    from changedet.evaluation.calibrate import Operation


def calibrate(
    model: Annotated[Path, typer.Argument(help="Model file (.safetensors).")],
    out: Annotated[Path, typer.Argument(help="Model file to write (.safetensors).")],
    *,
    data: DataOption,
    split: Annotated[str, typer.Option(help="Split that chooses the threshold.")] = "val",
    benchmark: BenchmarkOption = None,
    mode: ModeOption = "whole",
    test_time: TestTimeOption = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Type of the stored weights; float16 halves the file, int8 halves it again."
        ),
    ] = "float32",
    batch_size: BatchSizeOption = 8,
    device: DeviceOption = "auto",
    ignore_value: IgnoreValueOption = None,
    changed_values: ChangedValuesOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists, even if it is MODEL.")
    ] = False,
) -> None:
    """Choose the threshold on a validation split, for test-time augmentation and rounded weights.

    The new file has the threshold, its source, the test-time augmentation and the weights as
    they were scored; everything else stays the same.
    """
    from changedet.cli.pair_progress import pair_progress
    from changedet.evaluation.calibrate import CalibrationRequest, calibrate_model
    from changedet.metrics.protocol import SELECTION_SET_NOTE

    request = CalibrationRequest(
        model=model,
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
        changed_values=tuple(changed_values) if changed_values else None,
        existing="replace" if overwrite else "refuse",
    )
    with pair_progress("calibrate") as progress:
        report = calibrate_model(request, say=say, progress=progress)
    typer.echo(f"{data}, split {split}, {report.images} pairs: {SELECTION_SET_NOTE}")
    typer.echo(f"before: {_operation(report.before)}")
    typer.echo(f"after:  {_operation(report.after)}")
    typer.echo(f"model file: {out} ({report.size_bytes / 1e6:.1f} MB)")


def _operation(used: "Operation") -> str:
    how = f"test-time augmentation {used.test_time}, {used.precision} weights"
    if used.f1 is None or used.threshold is None:
        return f"no threshold ({how})"
    return f"F1 {used.f1:.4f} at threshold {used.threshold:.4f} ({how})"
