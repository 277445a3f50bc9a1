"""``changedet ensemble``: put trained models together into one that scores by their mean."""

import shlex
from pathlib import Path
from typing import Annotated

import typer


def ensemble(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL", help="Model files, two or more (.safetensors)."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Model file to write (.safetensors).")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists.")
    ] = False,
) -> None:
    """Put separately trained models into one file, which scores with their mean.

    Its threshold has to be chosen again: changedet calibrate.
    """
    from changedet.evaluation.ensemble import build_ensemble

    report = build_ensemble(models, out, existing="replace" if overwrite else "refuse")
    typer.echo(
        f"{out}: {len(models)} models, {report.parameters / 1e6:.2f} M parameters, "
        f"{report.precision} weights, {report.size_bytes / 1e6:.1f} MB, "
        f"test-time augmentation {report.card.test_time}"
    )
    words = ["changedet", "calibrate", str(out), str(out), "--overwrite"]
    words += ["--precision", report.precision]
    if report.val_split not in (None, "val"):
        words += ["--split", str(report.val_split)]
    command = f"{shlex.join(words)} --data DIR"
    if report.members_differ_in_views:
        command = f"{command} --test-time VIEWS"
        typer.echo(
            "Its members use different test-time views, so it has none; choose them as well."
        )
    typer.echo(f"It has no threshold yet; choose one on the validation split:\n{command}")
