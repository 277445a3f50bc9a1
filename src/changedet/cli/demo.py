"""``changedet demo``: the main job on generated pairs, from data to a page."""

from pathlib import Path
from typing import Annotated

import typer

from changedet.cli.options import DeviceOption, OverridesOption, OverwriteOption, QuietOption
from changedet.cli.preflight import check_device
from changedet.cli.streams import results_console
from changedet.cli.wording import with_options

# What the demo does, step by step.
_COMMANDS = """\
changedet data sample PAIRS
changedet train {recipe} --data PAIRS --out RUN
changedet evaluate RUN/best.safetensors --data PAIRS --out EVALUATION
changedet predict BEFORE AFTER --model RUN/best.safetensors --out RESULT"""
_REAL_COMMAND = """\
cd examples/data
changedet predict landsat_2000.tif landsat_2020.tif --model baseline:cva --out river"""


def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for everything.")] = Path(
        "demo"
    ),
    *,
    overrides: OverridesOption = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the generated pairs.")] = 0,
    counts: Annotated[
        tuple[int, int, int],
        typer.Option(
            metavar="N N N", help="Pairs for training, validation and test, three numbers."
        ),
    ] = (200, 30, 40),
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """See it work on generated pairs, from data to a page.

    Trains a small network, evaluates it and predicts one pair, in a few minutes on two CPU cores;
    nothing is downloaded.
    """
    from changedet.demo.request import RECIPE, DemoRequest, check_request

    request = DemoRequest(
        out=out,
        overrides=tuple(overrides or ()),
        seed=seed,
        counts=counts,
        device=device,
        existing="replace" if overwrite else "refuse",
        commands=_COMMANDS.format(recipe=RECIPE),
        real_command=_REAL_COMMAND,
    )
    check_device(device)
    check_request(request)
    from rich.table import Table

    from changedet.cli.progress import TrainingDisplay
    from changedet.demo.run import run_demo

    with TrainingDisplay(quiet=quiet) as display:
        report = run_demo(request, callbacks=[display], say=display.say, wording=with_options)
    table = Table(title="Test split; every threshold chosen on the validation split")
    table.add_column("score from")
    for name in ("F1", "IoU", "precision", "recall"):
        table.add_column(name, justify="right")
    for contender in report.contenders:
        result = contender.result
        figures = (result.f1, result.iou, result.precision, result.recall)
        table.add_row(contender.name, *(f"{figure:.4f}" for figure in figures))
    results_console().print(table)
    typer.echo(f"{sum(report.seconds.values()):.0f} s in all; open {report.page.resolve()}")
