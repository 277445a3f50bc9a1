"""``changedet predict``: turn image pairs into change maps."""

from pathlib import Path
from typing import Annotated

import typer


def predict(
    before: Annotated[Path, typer.Argument(help="Image of the first date, or a folder of them.")],
    after: Annotated[
        Path, typer.Argument(help="Image of the second date, or a folder with the same stems.")
    ],
    *,
    model: Annotated[Path, typer.Option(help="Model file (.safetensors).")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    threshold: Annotated[
        float | None,
        typer.Option(help="Score in [0, 1] from which on a pixel counts as changed."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Tiles that go through the model at once.")
    ] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results of an earlier prediction.")
    ] = False,
) -> None:
    """Write score, mask, heat map and overlay of a pair, or of two folders matched by stem."""
    from changedet.cli.pair_progress import pair_progress
    from changedet.experiment.prediction import predict_files

    with pair_progress("predict") as progress:
        report = predict_files(
            before,
            after,
            model=model,
            out=out,
            threshold=threshold,
            batch_size=batch_size,
            device=device,
            existing="replace" if overwrite else "refuse",
            progress=progress,
        )
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)
    for pair in report.pairs:
        typer.echo(f"{pair.name}: {100 * pair.changed_share:.2f} % changed")
    typer.echo(f"threshold {report.threshold:.4f} ({report.threshold_source})")
    typer.echo(f"results: {report.out}")
