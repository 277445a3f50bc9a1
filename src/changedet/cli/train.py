"""``changedet train``: train a model from a recipe on a folder of pairs."""

from pathlib import Path
from typing import Annotated

import typer

from changedet.cli.options import DeviceOption
from changedet.cli.train_arguments import with_short_forms


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
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Short for --set training.epochs=N.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Short for --set training.batch_size=N.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Short for --set optimizer.lr=X.")] = None,
    init: Annotated[Path | None, typer.Option(help="Model file to start training from.")] = None,
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
            "--start_epoch",
            min=1,
            help="Epoch at which training and its schedule start; also with --resume.",
        ),
    ] = None,
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
        overrides=with_short_forms(
            overrides or (), {"--epochs": epochs, "--batch-size": batch_size, "--lr": lr}
        ),
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
    progress = outcome.progress
    _, epoch, batch = Path(progress.best_files[-1]).stem.split("_")
    typer.echo(
        f"best max-F1 on validation {progress.best_f_score:.4f}, epoch {epoch}, batch {batch} "
        "(selection set, optimistic)"
    )
    typer.echo(f"model: {out / 'best.safetensors'}")
