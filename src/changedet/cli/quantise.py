"""``changedet quantise``: compute most of an exported model in 8 bits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.options import GsdOption, ModelArgument
from changedet.export.quantise_request import (
    LARGEST_LOSS,
    PAIRS,
    QuantisationRequest,
    check_quantisation,
)

if TYPE_CHECKING:
    from changedet.export.comparison import Difference
    from changedet.export.quantise_request import QuantisationReport
    from changedet.storage.output_folder import Existing


def quantise(
    model: ModelArgument,
    *,
    data: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Pairs like those the model will see; labels are used where there are any.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write (.onnx).")],
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Split the pairs are from; not one that you report figures on."
        ),
    ] = "train",
    pairs: Annotated[
        int,
        typer.Option(
            min=2, help="How many; every fourth is compared instead of being calibrated on."
        ),
    ] = PAIRS,
    gsd: GsdOption = None,
    largest_loss: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="F1",
            help="How much F1 by the labels may fall; if it falls more, nothing is written.",
        ),
    ] = LARGEST_LOSS,
    largest_flipped: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Share of the pixels that may change sides; if more do, nothing is written.",
            show_default="without labels, F1 0.97 of the masks decides",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it exists.")
    ] = False,
) -> None:
    """Compute most of an exported model in 8 bits, which is faster and less exact.

    The ranges of values between the layers are measured on pairs of images. Layers that most of the
    error would come from stay in float32. Scores and mask are compared with those of the model on
    pairs that were not used for that; if they differ too much, nothing is written.
    """
    from changedet.model_search import find_model

    existing: Existing = "replace" if overwrite else "refuse"
    path = find_model(model)
    request = QuantisationRequest(
        model=path,
        data=data,
        out=out,
        split=split,
        pairs=pairs,
        gsd_m=gsd,
        largest_loss=largest_loss,
        largest_flipped=largest_flipped,
        existing=existing,
    )
    check_quantisation(request)
    from changedet.export.quantise import quantise_model

    report = quantise_model(
        path,
        data,
        out,
        split=split,
        pairs=pairs,
        gsd_m=gsd,
        largest_loss=largest_loss,
        largest_flipped=largest_flipped,
        existing=existing,
    )
    typer.echo(
        f"{report.out}: {report.size_bytes / 1e6:.1f} MB, {report.layers_in_8_bits} of "
        f"{report.layers} convolutions in 8 bits, calibrated on {report.calibrated_on} pairs"
    )
    typer.echo(f"compared with float32 on {report.compared_on} other pairs: {_words(report)}")
    if isinstance(report.openvino, str):
        typer.echo(f"OpenVINO will refuse the file: {report.openvino}")
    elif report.openvino is None:
        typer.echo("OpenVINO, which is not installed, will refuse the file: it was not compared")
    else:
        typer.echo(f"the same in OpenVINO: {_words(report.openvino)}")
    typer.echo(f"{report.item}: its description (STAC)")


def _words(found: "QuantisationReport | Difference") -> str:
    parts = [
        f"scores differ by {found.mean_difference:.2g} on average and at most "
        f"{found.largest_difference:.2g}",
        f"{100 * found.flipped_share:.3g} % of the mask differs",
    ]
    if found.agreement is not None:
        parts.append(f"F1 of the masks {found.agreement:.4f}")
    if found.f1 is not None and found.f1_float32 is not None:
        parts.append(f"F1 by the labels {found.f1:.4f} instead of {found.f1_float32:.4f}")
    return ", ".join(parts)
