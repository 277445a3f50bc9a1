"""``changedet predict``: turn two rasters, or pairs of images, into change maps."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from changedet._optional import large_imports
from changedet.cli import scene_options
from changedet.cli.completion import complete_method
from changedet.cli.options import (
    SCORING,
    BaselineEncoderOption,
    BaselineEncoderWeightsOption,
    DeviceOption,
    GsdOption,
    KindOption,
    OutOption,
    OverwriteOption,
    PrecisionOption,
    ProgressForm,
    ProgressOption,
    QuietOption,
    RuntimeOption,
    TestTimeOption,
    ThresholdOption,
)
from changedet.cli.scene_report import findings, repeat_warnings
from changedet.cli.wording import error_line, say
from changedet.errors import ChangeDetError

if TYPE_CHECKING:
    from changedet.predict.request import SceneRequest
    from changedet.storage.output_folder import Existing
    from changedet.types import Arithmetic, Runtime, TestTime

_INTERRUPTED = 130
_FAILED = 1


def predict(
    ctx: typer.Context,
    before: Annotated[
        str,
        typer.Argument(
            metavar="BEFORE",
            help="First date: a raster, its http(s):// or s3:// address, a picture, or a folder.",
            show_default=False,
        ),
    ],
    after: Annotated[
        str,
        typer.Argument(
            metavar="AFTER",
            help="Second date; in folders, files are matched by their names without the ending.",
            show_default=False,
        ),
    ],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model file, folder of a training run, or name (see changedet models); or a "
            "method that needs no training: baseline:ir_mad, baseline:cva, baseline:difference, "
            "baseline:deep_difference.  Required.",
            autocompletion=complete_method,
        ),
    ] = None,
    out: OutOption,
    threshold: ThresholdOption = None,
    test_time: TestTimeOption = None,
    kind: KindOption = None,
    gsd: GsdOption = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Tiles scored at once.",
            show_default="by device",
            rich_help_panel=SCORING,
        ),
    ] = None,
    device: DeviceOption = "auto",
    runtime: RuntimeOption = "auto",
    precision: PrecisionOption = "float32",
    encoder: BaselineEncoderOption = None,
    encoder_weights: BaselineEncoderWeightsOption = None,
    bands: scene_options.BandsOption = None,
    bands_after: scene_options.BandsAfterOption = None,
    stretch: scene_options.StretchOption = None,
    nodata: scene_options.NodataOption = "auto",
    alpha: scene_options.AlphaOption = "auto",
    aoi: scene_options.AoiOption = None,
    aoi_crs: scene_options.AoiCrsOption = None,
    coregister: scene_options.CoregisterOption = False,
    resampling: scene_options.ResamplingOption = "bilinear",
    tile: scene_options.TileOption = None,
    overlap: scene_options.OverlapOption = None,
    polygons: scene_options.PolygonsOption = "gpkg",
    min_area: scene_options.MinAreaOption = None,
    fill_holes: scene_options.FillHolesOption = None,
    simplify: scene_options.SimplifyOption = 0.0,
    overwrite: OverwriteOption = False,
    progress: ProgressOption = "bar",
    quiet: QuietOption = False,
) -> None:
    """Map what changed between two rasters or pictures.

    Two rasters of any size give score.tif, mask.tif, polygons, item.json (STAC) and summary.json;
    killed and started again, the command goes on from the finished tiles. Two PNG or JPEG pictures
    of one size give score, mask, heat map and overlay as PNG. Two folders: all of their pairs.
    """
    from changedet.predict.inputs import check_inputs, check_out, is_folder_of_images, is_scene

    check_inputs(before, after)
    are_scenes = is_scene(before) or is_scene(after)
    are_folders = is_folder_of_images(before) or is_folder_of_images(after)
    if not are_scenes:
        scene_options.refuse_where_ignored(ctx)
    existing: Existing = "replace" if overwrite else "refuse"
    check_out(out, are_folders=are_scenes and are_folders, existing=existing)
    # The options by their names, as other commands that predict on rasters have them, too.
    method = scene_options.check_scoring(ctx.params)
    if not are_scenes:
        _predict_pictures(
            Path(before),
            Path(after),
            model=method,
            out=out,
            threshold=threshold,
            test_time=test_time,
            kind=kind,
            gsd_m=gsd,
            batch_size=batch_size,
            device=device,
            runtime=runtime,
            precision=precision,
            encoder=encoder,
            encoder_weights=encoder_weights,
            existing=existing,
            form=progress,
            quiet=quiet,
        )
        return
    request = replace(
        scene_options.common_request(ctx.params, method=method),
        before=before,
        after=after,
        out=out,
        existing=existing,
    )
    try:
        if are_folders:
            _predict_folders(request, form=progress, quiet=quiet)
        else:
            _predict_scene(request, form=progress, quiet=quiet)
    except KeyboardInterrupt:
        typer.echo("stopped; finished work is kept: run the same command again to resume", err=True)
        raise typer.Exit(_INTERRUPTED) from None


def _predict_pictures(
    before: Path,
    after: Path,
    *,
    model: str,
    out: Path,
    threshold: float | None,
    test_time: "TestTime | None",
    kind: str | None,
    gsd_m: float | None,
    batch_size: int | None,
    device: str,
    runtime: "Runtime",
    precision: "Arithmetic",
    encoder: str | None,
    encoder_weights: str | None,
    existing: "Existing",
    form: ProgressForm,
    quiet: bool,
) -> None:
    from changedet.cli.pair_progress import pair_progress
    from changedet.predict.images import predict_files

    with pair_progress("predict", quiet=quiet, form=form) as progress:
        report = predict_files(
            before,
            after,
            model=model,
            out=out,
            threshold=threshold,
            test_time=test_time,
            kind=kind,
            gsd_m=gsd_m,
            batch_size=batch_size or 8,
            device=device,
            runtime=runtime,
            precision=precision,
            encoder=encoder,
            encoder_weights=encoder_weights,
            existing=existing,
            say=say,
            progress=progress,
        )
    for pair in report.pairs:
        typer.echo(f"{pair.name}: {100 * pair.changed_share:.2f} % changed")
    for remark in report.remarks:
        if remark.severity == "warning" or not quiet:
            say(remark.sentence)
    typer.echo(f"threshold {report.threshold:.4f} ({report.threshold_source})")
    typer.echo(f"results: {report.out}")
    if not quiet:
        typer.echo("look at heatmap.png and overlay.png; score.png holds the scores for programs")


def _predict_scene(request: "SceneRequest", *, form: ProgressForm, quiet: bool) -> None:
    from changedet.cli.scene_progress import scene_progress

    with large_imports():
        from changedet.predict.rasters import predict_scene
        from changedet.predict.remarks import warnings_of

    with scene_progress(quiet=quiet, form=form) as display:
        report = predict_scene(request, say=display.say, progress=display.update)
    for line in findings(report, request):
        typer.echo(line)
    repeat_warnings(warnings_of(report.remarks))
    typer.echo(f"threshold {report.threshold:.4f} ({report.threshold_source})")
    typer.echo(f"results: {report.out}")
    if not quiet:
        typer.echo("look at preview.png; mask.tif, score.tif and the polygons open in QGIS")


def _predict_folders(request: "SceneRequest", *, form: ProgressForm, quiet: bool) -> None:
    from changedet.cli.scene_progress import scene_progress
    from changedet.predict.folders import predict_scenes
    from changedet.predict.remarks import warnings_of

    failures: dict[str, ChangeDetError] = {}
    warnings: list[str] = []
    threshold = None
    try:
        with scene_progress(quiet=quiet, form=form) as display:
            for stem, outcome in predict_scenes(request, say=display.say, progress=display.update):
                with display.aside():
                    if isinstance(outcome, ChangeDetError):
                        failures[stem] = outcome
                        typer.echo(f"{stem}: failed, continuing with the others", err=True)
                        continue
                    for line in findings(outcome, request):
                        typer.echo(f"{stem}: {line}")
                    warnings += (f"{stem}: {text}" for text in warnings_of(outcome.remarks))
                    threshold = f"{outcome.threshold:.4f} ({outcome.threshold_source})"
    finally:
        # Hours may have passed since, so they are listed where they are seen.
        repeat_warnings(warnings)
        for stem, error in failures.items():
            typer.echo(f"changedet: {stem}: {error_line(error)}", err=True)
    if threshold is not None:
        typer.echo(f"threshold {threshold}")
    typer.echo(f"results: {request.out}")
    if failures:
        raise typer.Exit(_FAILED)
