"""Options that several commands share, so that they mean and say the same everywhere."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import typer

from changedet.cli.completion import (
    complete_benchmark,
    complete_device,
    complete_kind,
    complete_method,
    complete_model,
)
from changedet.errors import ConfigError
from changedet.types import Arithmetic, Mode, Runtime, TestTime

#: Panels of the help, in the order in which commands first use them.
SCORING: Final = "Scoring"
LABELS: Final = "Data and labels"
UNTRAINED: Final = "Untrained methods"
OUTPUT: Final = "Output"
_scoring: Final = partial(typer.Option, rich_help_panel=SCORING)
_labels: Final = partial(typer.Option, rich_help_panel=LABELS)
_untrained: Final = partial(typer.Option, rich_help_panel=UNTRAINED)
_output: Final = partial(typer.Option, rich_help_panel=OUTPUT)

DataOption: TypeAlias = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Data set: a folder, or a manifest of scenes (YAML).")
]
OutOption: TypeAlias = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the results go.")]
ModelArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Model file, folder of a training run, or name (see changedet models).",
        autocompletion=complete_model,
        show_default=False,
    ),
]
OutModelArgument: TypeAlias = Annotated[
    Path,
    typer.Argument(metavar="OUT", help="Model file to write (.safetensors).", show_default=False),
]
MethodArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Model file, folder of a training run, name (see changedet models), or an untrained "
        "method: baseline:difference, baseline:cva, baseline:ir_mad, baseline:deep_difference.",
        autocompletion=complete_method,
        show_default=False,
    ),
]
BenchmarkOption: TypeAlias = Annotated[
    str | None,
    _labels(
        metavar="NAME",
        help="Known benchmark whose layout the data have: CDD, LEVIR-CD, CLCD, ...",
        show_default="detected",
        autocompletion=complete_benchmark,
    ),
]
SplitOption: TypeAlias = Annotated[str, _labels(metavar="NAME", help="Split to report.")]
ModeOption: TypeAlias = Annotated[
    Mode,
    _scoring(
        help="How large images are scored: whole, as overlapping tiles that are blended; or as a "
        "grid of tiles side by side."
    ),
]
TestTimeOption: TypeAlias = Annotated[
    TestTime | None,
    _scoring(
        help="Test-time augmentation, the mean score of several views of each tile: mirror 2 "
        "views, flips 4, turns 8, scales 3, coarse 4, coarse_few 2.",
        show_default="the model's",
    ),
]
ThresholdOption: TypeAlias = Annotated[
    float | None,
    _scoring(
        metavar="SCORE",
        help="Score in [0, 1] from which on a pixel counts as changed.",
        show_default="the model's",
    ),
]
KindOption: TypeAlias = Annotated[
    str | None,
    _scoring(
        metavar="NAME",
        help="Kind of change to find, such as any, building or cropland, of those that the model "
        "tells apart (see changedet info).",
        show_default="the model's first",
        autocompletion=complete_kind,
    ),
]
GsdOption: TypeAlias = Annotated[
    float | None,
    _scoring(
        metavar="METRES",
        help="Side of a pixel on the ground; images are resampled to one at which the model works.",
        show_default="from the georeference",
    ),
]
BatchSizeOption: TypeAlias = Annotated[
    int, _scoring(min=1, metavar="N", help="Tiles scored at once.")
]
BandsOption: TypeAlias = Annotated[
    str | None,
    _labels(
        metavar="N,N,...",
        help="Bands of rasters in the model's order, from 1, such as 4,3,2.",
        show_default="the model's, or all",
    ),
]
BandsAfterOption: TypeAlias = Annotated[
    str | None,
    _labels(metavar="N,N,...", help="The same for the second date.", show_default="as --bands"),
]
DeviceOption: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Where to compute: auto, cpu, cuda, cuda:1, mps.",
        autocompletion=complete_device,
    ),
]
RuntimeOption: TypeAlias = Annotated[
    Runtime,
    typer.Option(
        help="What computes the network: torch reads .safetensors, onnx and openvino read .onnx "
        "(changedet export); auto: the fastest that is installed.",
        rich_help_panel=SCORING,
    ),
]
PrecisionOption: TypeAlias = Annotated[
    Arithmetic,
    typer.Option(
        help="In what an exported model is computed: bf16 (OpenVINO; faster on some CPUs, less "
        "exact); int8 asks for a file of changedet quantise.",
        rich_help_panel=SCORING,
    ),
]
IgnoreValueOption: TypeAlias = Annotated[
    int | None,
    _labels(min=0, max=255, metavar="VALUE", help="Label value of pixels that do not count."),
]
ChangedValuesOption: TypeAlias = Annotated[
    list[str] | None,
    _labels(
        "--changed-value",
        metavar="VALUE",
        help="Label value that means changed; several: 1,2,3, or repeat the option.",
    ),
]
BaselineEncoderOption: TypeAlias = Annotated[
    str | None,
    _untrained(
        metavar="NAME",
        help="timm encoder of baseline:deep_difference.",
        show_default="tf_efficientnet_lite0",
    ),
]
BaselineEncoderWeightsOption: TypeAlias = Annotated[
    str | None,
    _untrained(
        metavar="SOURCE", help="Its weights: package, hub, none or a file.", show_default="package"
    ),
]
BaselinesOption: TypeAlias = Annotated[
    bool,
    _untrained("--baselines/--no-baselines", help="Also evaluate all untrained methods."),
]
#: What :data:`BaselinesOption` was called before.
FloorsOption: TypeAlias = Annotated[bool, typer.Option("--floors/--no-floors", hidden=True)]
OverridesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting, such as optimizer.lr=1e-4; repeat it for several.",
    ),
]
JsonOption: TypeAlias = Annotated[
    bool,
    _output("--json", help="Print the results as JSON instead of a table."),
]
OverwriteOption: TypeAlias = Annotated[
    bool,
    _output("--overwrite", help="Replace the results of an earlier run."),
]
QuietOption: TypeAlias = Annotated[
    bool,
    _output(
        "--quiet", "-q", help="Print no progress and no notes; results, warnings and errors stay."
    ),
]
#: How a command tells how far it is.
ProgressForm: TypeAlias = Literal["bar", "lines"]
ProgressOption: TypeAlias = Annotated[
    ProgressForm,
    _output(
        help="bar: on a terminal only; lines: 'progress DONE/ALL' on the error stream, for "
        "programs that start changedet."
    ),
]


def whole_numbers(
    option: str,
    texts: Sequence[str] | None,
    *,
    such_as: str,
    least: int = 0,
    what: str = "whole numbers",
) -> tuple[int, ...] | None:
    """Read the whole numbers of an option, separated by commas or given one by one.

    Args:
        option: For the message.
        texts: What was given, each with one number or several.
        such_as: An example for the message.
        least: Smallest number that makes sense.
        what: What the numbers are, in the plural.

    Returns:
        The numbers in their order; None if none were given.

    Raises:
        ConfigError: If a part is no such number.
    """
    if not texts:
        return None
    try:
        numbers = tuple(int(part) for text in texts for part in text.split(","))
    except ValueError:
        numbers = (least - 1,)
    if min(numbers) < least:
        given = " ".join(texts)
        raise ConfigError(
            f"{option} takes {what} from {least}, separated by commas without spaces, such "
            f"as {such_as}; got {given!r}"
        )
    return numbers


def band_numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Read band numbers, such as ``4,3,2``.

    Raises:
        ConfigError: If they are none.
    """
    return whole_numbers(
        option, None if text is None else [text], such_as="4,3,2", least=1, what="band numbers"
    )
