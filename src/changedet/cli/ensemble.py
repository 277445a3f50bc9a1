"""``changedet ensemble``: put trained models together: the mean of their scores, or weights."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from changedet.cli.completion import complete_kind, complete_model
from changedet.cli.options import OUTPUT, TestTimeOption, whole_numbers
from changedet.cli.preflight import check_method, check_model_file
from changedet.types import Precision

if TYPE_CHECKING:
    from changedet.evaluation.ensemble import EnsembleReport

Average: TypeAlias = Literal["scores", "weights"]


def ensemble(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Model files, runs or names (see changedet models), two or more; or one with "
            "--keep or --kind. The networks of an ensemble are taken one by one.",
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
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NUMBERS",
            help="Take only these networks of one ensemble, counted from 1 (1,3); a single one "
            "becomes a model of its own.",
            show_default="all",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Kind of change that those models find which name none, such as cropland.",
            show_default=False,
            autocompletion=complete_kind,
        ),
    ] = None,
    test_time: TestTimeOption = None,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Type of the stored weights; by default float16 if all models have such, that of "
            "a single model, else float32. What is rounded to it already stays as it is.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it exists.")
    ] = False,
) -> None:
    """Put trained models into one file that averages their scores, or their weights.

    The file finds the kinds of change of all models, each by those that know it. A kind that
    several of them find needs a threshold of its own: changedet calibrate.
    """
    existing = check_model_file(out, overwrite=overwrite)
    kept = whole_numbers("--keep", keep, such_as="1,3", least=1)
    files = [Path(check_method(model)) for model in models]
    from changedet.evaluation.ensemble_plan import plan_ensemble

    plan_ensemble(files, keep=kept, kind=kind)
    from changedet.evaluation.ensemble import build_ensemble

    report = build_ensemble(
        files,
        out,
        average=average,
        keep=kept,
        kind=kind,
        test_time=test_time,
        precision=precision,
        existing=existing,
    )
    for path in report.taken_apart if len(files) > 1 else ():
        typer.echo(f"{path} is an ensemble: its networks are taken one by one")
    count = "1 model" if report.members == 1 else f"{report.members} models"
    typer.echo(
        f"{out}: {count}, {report.parameters / 1e6:.2f} M parameters, "
        f"{report.precision} weights, {report.size_bytes / 1e6:.1f} MB, "
        f"test-time augmentation {report.card.test_time}"
    )
    if report.members_differ_in_views:
        typer.echo("The models use different test-time views, so it has none; choose them as well.")
    _say_thresholds(report)


def _say_thresholds(report: "EnsembleReport") -> None:
    """Say which kinds of change keep their thresholds, and how the others get one."""
    without = [one.kind for one in report.uncalibrated]
    kept = [kind.name for kind in report.card.kinds if kind.name not in without]
    if kept:
        typer.echo(f"kept as they are: threshold and temperature of {', '.join(kept)}")
    if not without:
        return
    subject = f"{', '.join(map(str, without))} {'have' if len(without) > 1 else 'has'}"
    typer.echo(
        f"{subject if kept else 'It has'} no threshold yet; choose one on the validation split:"
    )
    for kind, val_split in report.uncalibrated:
        words = ["changedet", "calibrate", str(report.out), str(report.out), "--overwrite"]
        words += ["--precision", report.precision]
        words += ["--kind", kind] if kind is not None and len(report.card.kinds) > 1 else []
        words += ["--split", val_split] if val_split not in (None, "val") else []
        views = " --test-time VIEWS" if report.members_differ_in_views else ""
        typer.echo(f"{shlex.join(map(str, words))} --data DIR{views}")
