"""``changedet train``: train a model from a recipe on a folder of pairs."""

from pathlib import Path
from typing import Annotated

import typer

from changedet.cli.options import DeviceOption


def train(
    config: Annotated[
        str | None,
        typer.Argument(help="A recipe's name (see 'changedet recipes') or a YAML file."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set, or manifest of scenes (YAML).")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting: optimizer.lr=1e-4 (repeatable)."),
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Model file to start training from.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the last checkpoint of the run.")
    ] = False,
    start_epoch: Annotated[
        int,
        typer.Option(
            "--start-epoch", "--start_epoch", min=1, help="Epoch at which the schedule starts."
        ),
    ] = 1,
    device: DeviceOption = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier run in the folder.")
    ] = False,
) -> None:
    """Train a model; Ctrl-C saves, and --resume continues exactly where it stopped."""
    from changedet.cli.progress import TrainingDisplay
    from changedet.training.run import TrainRequest, run_training

    request = TrainRequest(
        out=out,
        data=data,
        recipe=config,
        overrides=tuple(overrides or ()),
        init=init,
        start_epoch=start_epoch,
        device=device,
        mode="resume" if resume else "overwrite" if overwrite else "new",
    )
    with TrainingDisplay() as display:
        outcome = run_training(request, callbacks=[display], say=display.say)
    if outcome.signal is not None:
        typer.echo(
            f"changedet: stopped at epoch {outcome.progress.epoch}, batch "
            f"{outcome.progress.batch}, saved; resume with: changedet train --out {out} --resume",
            err=True,
        )
        raise typer.Exit(128 + outcome.signal)
    best = outcome.progress.best_f_score
    typer.echo(f"best max-F1 on validation {best:.4f} (selection set, optimistic)")
    typer.echo(f"model: {out / 'best.safetensors'}")
