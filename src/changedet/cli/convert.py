"""``changedet convert``: turn a public checkpoint into a model file."""

from pathlib import Path
from typing import Annotated

import typer

from changedet.types import Distance


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Checkpoint of DASNet or DASNet-V2 (.pth).")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="Model file to write (.safetensors).")
    ],
    *,
    distance: Annotated[
        Distance, typer.Option(help="Distance that the network was trained with.")
    ] = "l2",
    normalisation: Annotated[
        str,
        typer.Option(
            help="What it was trained with: seed (CDD's means), imagenet, six comma-separated "
            "means in 0..255 (before b,g,r then after b,g,r), or a .json file."
        ),
    ] = "seed",
    threshold: Annotated[
        float | None, typer.Option(help="Score in [0, 1] from which a pixel is changed.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists.")
    ] = False,
) -> None:
    """Turn a public DASNet or DASNet-V2 checkpoint into a model file; nothing in it is run."""
    from changedet.models.upstream import convert_checkpoint, parse_normalisation
    from changedet.storage.output_folder import check_result_file

    check_result_file(target, existing="replace" if overwrite else "refuse")
    card = convert_checkpoint(
        source,
        target,
        distance=distance,
        normalisation=parse_normalisation(normalisation),
        threshold=threshold,
    )
    stated = "none, so predict needs --threshold" if threshold is None else f"{threshold:g}"
    typer.echo(
        f"{target}: {card.architecture}, attention {card.options['attention']}, "
        f"distance {distance}, normalisation {normalisation}, threshold {stated}"
    )
