"""``changedet describe``: say in a model's card what its training images were like."""

from pathlib import Path
from typing import Annotated

import typer

from changedet.cli.options import BenchmarkOption, ModelArgument, OutModelArgument
from changedet.cli.preflight import check_data, check_model_file
from changedet.errors import ConfigError


def describe(
    model: ModelArgument,
    out: OutModelArgument,
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Data set that trained it, whose values and looks are measured."
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Split of the data set that trained it.")
    ] = "train",
    held_out_split: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Split that tells how far from the training images others of their kind lie.",
        ),
    ] = "val",
    benchmark: BenchmarkOption = None,
    gsd: Annotated[
        str | None,
        typer.Option(
            metavar="METRES",
            help="Ground sample distance of its images, or the smallest and the largest: 0.5,2.",
        ),
    ] = None,
    working_gsd: Annotated[
        str | None,
        typer.Option(
            metavar="METRES",
            help="Ground sample distance at which the model works, or the smallest and the "
            "largest: 0.5,2 (see changedet benchmark gsd). Images of others are then resampled.",
        ),
    ] = None,
    change_kind: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Kind of change that it finds.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Where its images were taken.")
    ] = None,
    generated: Annotated[
        bool, typer.Option("--generated", help="Its images were drawn by a program.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists, even if it is MODEL.")
    ] = False,
) -> None:
    """State in a model file what its training images were like.

    Predictions on images that are far from that are warned of. Training states it by itself; this
    command is for model files that were written before. The weights stay as they are.
    """
    existing = check_model_file(out, overwrite=overwrite)
    lengths, working = _lengths("--gsd", gsd), _lengths("--working-gsd", working_gsd)
    from changedet.card import read_card
    from changedet.model_search import find_model

    read_card(find_model(model))
    if data is not None:
        check_data(data, benchmark=benchmark)
    from changedet.evaluation.describe import describe_training

    card = describe_training(
        model,
        out,
        data=data,
        split=split,
        held_out_split=held_out_split,
        benchmark=benchmark,
        gsd_m=lengths,
        working_gsd_m=working,
        change_kind=change_kind,
        region=region,
        generated=generated,
        existing=existing,
    )
    stated = None if card.domain is None else card.domain.describe()
    typer.echo(f"{out}: {stated or 'values of the training images'}")


def _lengths(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        lengths = tuple(float(part) for part in text.split(","))
    except ValueError:
        lengths = ()
    if len(lengths) not in (1, 2):
        raise ConfigError(
            f"{option} takes one or two lengths in metres, such as 0.5,2; got {text!r}"
        )
    return lengths
