"""Options that several commands share, so that they mean and say the same everywhere."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from changedet.types import Mode, TestTime

DataOption: TypeAlias = Annotated[
    Path, typer.Option(help="Folder of the data set, or manifest of scenes (YAML).")
]
BenchmarkOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Name of a known benchmark; default: layout detected.")
]
ModeOption: TypeAlias = Annotated[
    Mode, typer.Option(help="Large images: overlapping, blended tiles, or tiles side by side.")
]
TestTimeOption: TypeAlias = Annotated[
    TestTime | None,
    typer.Option(
        help="Average a model's scores of mirrored (2 views, flips: 4), rotated (8) or coarser "
        "(scales: 3, coarse: 4, coarse_few: 2) tiles.  [default: by model]"
    ),
]
BatchSizeOption: TypeAlias = Annotated[int, typer.Option(min=1, help="Tiles scored at once.")]
DeviceOption: TypeAlias = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
IgnoreValueOption: TypeAlias = Annotated[
    int | None, typer.Option(min=0, max=255, help="Label value of pixels to ignore.")
]
ChangedValuesOption: TypeAlias = Annotated[
    list[int] | None,
    typer.Option("--changed-value", help="Label value that means changed (repeatable)."),
]
BaselineEncoderWeightsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(help="deep_difference: package, hub, none or a file.  [default: package]"),
]
BaselinesOption: TypeAlias = Annotated[
    bool,
    typer.Option("--baselines/--no-baselines", help="Also evaluate all untrained methods."),
]
#: What :data:`BaselinesOption` was called before.
FloorsOption: TypeAlias = Annotated[bool, typer.Option("--floors/--no-floors", hidden=True)]
