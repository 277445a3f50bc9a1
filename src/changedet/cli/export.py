"""``changedet export``: write a model file as ONNX, for runtimes other than PyTorch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.completion import complete_kind
from changedet.cli.options import ModelArgument

if TYPE_CHECKING:
    from changedet.storage.output_folder import Existing


def export(
    model: ModelArgument,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write (.onnx).")],
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only this kind of change, of those that the model tells apart.",
            show_default="all",
            autocompletion=complete_kind,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it exists.")
    ] = False,
) -> None:
    """Write a model as ONNX, which predicts without PyTorch.

    The scores of the new file are compared with those of the model first; if they differ, nothing
    is written. A description (STAC, Machine Learning Model extension) goes beside it. Use the new
    file wherever a model file goes: changedet predict ... --model FILE.onnx
    """
    from changedet.export.request import check_export
    from changedet.model_search import find_model

    existing: Existing = "replace" if overwrite else "refuse"
    path = find_model(model)
    check_export(path, out, kind=kind, existing=existing)
    from changedet.export.export import export_model

    report = export_model(path, out, kind=kind, existing=existing)
    tiles = (
        f"tiles of any multiple of {report.stride} px"
        if report.tile_px is None
        else f"tiles of {report.tile_px} px only"
    )
    typer.echo(f"{report.out}: {report.size_bytes / 1e6:.1f} MB, {tiles}")
    sizes = ", ".join(f"{batch} x {height} x {width}" for batch, height, width in report.shapes)
    typer.echo(
        f"compared with PyTorch on {sizes} px: scores differ by at most "
        f"{report.largest_difference:.1g}, {100 * report.flipped_share:.3g} % of the mask differs"
    )
    typer.echo(f"{report.item}: its description (STAC)")
