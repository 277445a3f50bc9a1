"""``changedet convert``: turn a public checkpoint into a model file."""

from pathlib import Path
from typing import Annotated

import typer

from changedet.cli.options import OutModelArgument
from changedet.cli.preflight import check_model_file
from changedet.errors import CheckpointError
from changedet.types import Distance


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Public checkpoint of DASNet or DASNet-V2 (.pth).",
            show_default=False,
        ),
    ],
    target: OutModelArgument,
    *,
    distance: Annotated[
        Distance, typer.Option(help="Distance that the network was trained with.")
    ] = "l2",
    normalisation: Annotated[
        str,
        typer.Option(
            metavar="cdd|imagenet|MEANS|FILE",
            help="What it was trained with: cdd (the means of CDD), imagenet, six means in 0..255 "
            "separated by commas (b,g,r before, then b,g,r after), or a .json file.",
        ),
    ] = "cdd",
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE", help="Score in [0, 1] from which on a pixel counts as changed."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists.")
    ] = False,
) -> None:
    """Turn a public DASNet or DASNet-V2 checkpoint into a model file.

    Nothing in the checkpoint is run.
    """
    check_model_file(target, overwrite=overwrite)
    if not source.is_file():
        raise CheckpointError(f"there is no weights file {source}; check the spelling")
    if threshold is not None:
        from changedet.card import check_threshold

        check_threshold(threshold)
    from changedet.models.upstream_normalisation import parse_normalisation

    statistics = parse_normalisation(normalisation)
    from changedet.models.upstream import convert_checkpoint

    card = convert_checkpoint(
        source,
        target,
        distance=distance,
        normalisation=statistics,
        threshold=threshold,
    )
    stated = "none, so predict needs --threshold" if threshold is None else f"{threshold:g}"
    typer.echo(
        f"{target}: {card.architecture}, attention {card.options['attention']}, "
        f"distance {distance}, normalisation {normalisation}, threshold {stated}"
    )
