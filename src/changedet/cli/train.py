"""``changedet train``: train a model from a recipe on a folder of pairs."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from changedet.cli.completion import complete_model, complete_recipe
from changedet.cli.options import (
    BandsAfterOption,
    BandsOption,
    DeviceOption,
    OverridesOption,
    OverwriteOption,
    QuietOption,
    band_numbers,
)
from changedet.cli.train_arguments import with_short_forms
from changedet.cli.wording import speaker

if TYPE_CHECKING:
    from changedet.training.launch import Launch
    from changedet.training.request import TrainRequest


def train(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="Name of a recipe (see changedet recipes) or a YAML file.",
            show_default="default",
            autocompletion=complete_recipe,
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the run.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Data set: a folder, a manifest (YAML), or review.gpkg with verdicts on a result.",
        ),
    ] = None,
    overrides: OverridesOption = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model file, run or name whose weights the training starts from.",
            autocompletion=complete_model,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Short for --set training.epochs=N."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Short for --set training.batch_size=N."),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(metavar="RATE", help="Short for --set optimizer.lr=RATE.")
    ] = None,
    bands: BandsOption = None,
    bands_after: BandsAfterOption = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume from the last checkpoint of the run; --resume RUN: of that run.",
        ),
    ] = False,
    start_epoch: Annotated[
        int | None,
        typer.Option(
            "--start-epoch",
            min=1,
            metavar="N",
            help="Epoch at which training and its schedule start; also with --resume.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a model on pairs with labels.

    Ctrl-C saves the run, and --resume continues exactly where it stopped.
    """
    from changedet.storage.lock import check_idle
    from changedet.training.launch import read_launch
    from changedet.training.request import TrainRequest
    from changedet.training.restart import settle_restart
    from changedet.view.review_of_run import data_of_run

    launch = read_launch()
    if launch.is_main and not launch.restarts:
        check_idle(out)
    request = TrainRequest(
        out=out,
        data=data,
        recipe=config,
        overrides=with_short_forms(
            overrides or (),
            {
                "--epochs": epochs,
                "--batch-size": batch_size,
                "--lr": lr,
                "--bands": band_numbers("--bands", bands),
                "--bands-after": band_numbers("--bands-after", bands_after),
            },
        ),
        init=None if init is None else Path(init),
        start_epoch=start_epoch,
        device=device,
        mode="resume" if resume else "overwrite" if overwrite else "new",
    )
    if launch.world > 1:
        # Once for each process PyTorch would say that it looks for unused weights, as it is to.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if not launch.is_main:
        _follow(request, launch)
    request = settle_restart(request, launch)
    with data_of_run(request.data, out, mode=request.mode, say=speaker(quiet=quiet)) as labelled:
        _train(replace(request, data=labelled), launch, quiet=quiet)


def _follow(request: "TrainRequest", launch: "Launch") -> NoReturn:
    """Train beside the first process, which says what there is to say and settles the request."""
    warnings.simplefilter("ignore")
    from changedet.training.run import run_training

    outcome = run_training(request, launch=launch)
    raise typer.Exit(0 if outcome.signal is None else 128 + outcome.signal)


def _train(request: "TrainRequest", launch: "Launch", *, quiet: bool) -> None:
    """Check, train, and say how it ended."""
    from changedet.training.config import trains_on_validation
    from changedet.training.launch import check_batch
    from changedet.training.request import check_request

    out = request.out
    settled = check_request(request)
    check_batch(settled.training.batch_size, world=launch.world)
    settings = settled.data
    if request.data is not None and request.mode != "resume":
        from changedet.data.index import check_splits

        splits = {
            "data.train_split": settings.train_split,
            "data.val_split": settings.val_split,
        }
        check_splits(request.data, splits, benchmark=settings.benchmark)

    from changedet.cli.progress import TrainingDisplay
    from changedet.training.run import run_training

    with TrainingDisplay(quiet=quiet) as display:
        outcome = run_training(request, callbacks=[display], say=display.say, launch=launch)
    if outcome.signal is not None:
        program = "changedet" if launch.world == 1 else "torchrun … -m changedet"
        typer.echo(
            f"changedet: stopped at epoch {outcome.progress.epoch}, batch "
            f"{outcome.progress.batch}, saved; resume with: {program} train --out {out} --resume",
            err=True,
        )
        raise typer.Exit(128 + outcome.signal)
    progress = outcome.progress
    model = out / "best.safetensors"
    if trains_on_validation(settings):
        typer.echo(
            f"last epoch: max-F1 {progress.f_score:.4f} on {settings.val_split}, which it was "
            "trained on (training set, optimistic)"
        )
        typer.echo(
            f"model: {model}, without a threshold; take that of a run with the same settings on "
            f"training data alone: changedet calibrate {model} OUT --threshold-of RUN"
        )
        return
    _, epoch, batch = Path(progress.best_files[-1]).stem.split("_")
    typer.echo(
        f"best max-F1 on validation {progress.best_f_score:.4f}, epoch {epoch}, batch {batch} "
        "(selection set, optimistic)"
    )
    typer.echo(f"model: {model}")
