"""``changedet ensemble``: put trained models together into one that scores by their mean."""

from pathlib import Path
from typing import Annotated

import typer


def ensemble(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL MODEL...", help="Model files, two or more (.safetensors)."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Model file to write (.safetensors).")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists.")
    ] = False,
) -> None:
    """Put models that were trained apart into one file, which scores by the mean of theirs.

    The threshold has to be chosen anew for it: changedet calibrate.
    """
    from changedet.experiment.ensembling import build_ensemble

    report = build_ensemble(models, out, existing="replace" if overwrite else "refuse")
    typer.echo(
        f"{out}: {len(models)} models, {report.parameters / 1e6:.2f} M parameters, "
        f"{report.precision} weights, {report.size_bytes / 1e6:.1f} MB, "
        f"test-time augmentation {report.card.test_time}"
    )
    typer.echo(
        "It has no threshold yet; choose one on the validation split:\n"
        f"changedet calibrate {out} {out} --overwrite --data DIR --precision {report.precision}"
    )
