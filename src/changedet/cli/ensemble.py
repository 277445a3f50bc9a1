"""``changedet ensemble``: put trained models together: the mean of their scores, or weights."""

import shlex
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from changedet.cli.completion import complete_model
from changedet.cli.preflight import check_method, check_model_file

Average: TypeAlias = Literal["scores", "weights"]


def ensemble(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Model files, runs or names (see changedet models), two or more.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Model file to write (.safetensors).")],
    average: Annotated[
        Average,
        typer.Option(
            help="Average the models' scores; or the weights of models that were trained from one "
            "start, which costs no more than one of them."
        ),
    ] = "scores",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it exists.")
    ] = False,
) -> None:
    """Put trained models into one file that averages their scores, or their weights.

    Its threshold has to be chosen again: changedet calibrate.
    """
    existing = check_model_file(out, overwrite=overwrite)
    files = [Path(check_method(model)) for model in models]
    from changedet.evaluation.ensemble import build_ensemble

    report = build_ensemble(files, out, average=average, existing=existing)
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
        typer.echo("The models use different test-time views, so it has none; choose them as well.")
    typer.echo(f"It has no threshold yet; choose one on the validation split:\n{command}")
