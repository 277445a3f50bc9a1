"""``changedet predict``: turn two rasters, or pairs of images, into change maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from changedet.cli.options import BaselineEncoderWeightsOption, DeviceOption, TestTimeOption
from changedet.cli.wording import error_line, say
from changedet.errors import ChangeDetError, ConfigError

if TYPE_CHECKING:
    from changedet.predict.request import SceneReport, SceneRequest
    from changedet.types import TestTime
    from changedet.vector.files import AreaLimit

_INTERRUPTED = 130
_FAILED = 1
_PARAMETERS_OF_SCENES = (
    "bands",
    "bands_after",
    "stretch",
    "aoi",
    "aoi_crs",
    "coregister",
    "resampling",
    "tile",
    "overlap",
    "polygons",
    "min_area",
    "fill_holes",
    "simplify",
)


def predict(
    ctx: typer.Context,
    before: Annotated[
        str, typer.Argument(help="First date: a raster, its http(s):// or s3:// address, a folder.")
    ],
    after: Annotated[
        str, typer.Argument(help="Second date; in folders, files are matched by their stems.")
    ],
    *,
    model: Annotated[
        str,
        typer.Option(
            help="Model file (.safetensors), or a method that needs no training: baseline:ir_mad, "
            "baseline:cva, baseline:difference, baseline:deep_difference."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    threshold: Annotated[
        float | None,
        typer.Option(help="Score in [0, 1] from which a pixel counts as changed."),
    ] = None,
    test_time: TestTimeOption = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Tiles that go through the model at once.  [default: by device]"),
    ] = None,
    device: DeviceOption = "auto",
    encoder: Annotated[
        str | None,
        typer.Option(help="deep_difference: timm encoder.  [default: tf_efficientnet_lite0]"),
    ] = None,
    encoder_weights: BaselineEncoderWeightsOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results of an earlier prediction.")
    ] = False,
    bands: Annotated[
        str | None,
        typer.Option(help="Band numbers in the model's order: 4,3,2."),
    ] = None,
    bands_after: Annotated[
        str | None,
        typer.Option(help="The same for the second date.  [default: --bands]"),
    ] = None,
    stretch: Annotated[
        str | None,
        typer.Option(
            help="LOW,HIGH or auto: values that become 0 and 255, for models trained on 8 bit.",
        ),
    ] = None,
    aoi: Annotated[
        str | None,
        typer.Option(
            help="Area of interest: xmin,ymin,xmax,ymax, or a .geojson, .gpkg or .shp file.",
        ),
    ] = None,
    aoi_crs: Annotated[
        str | None,
        typer.Option(help="CRS of the four numbers.  [default: that of BEFORE]"),
    ] = None,
    coregister: Annotated[
        bool,
        typer.Option("--coregister", help="Correct the shift measured between the dates."),
    ] = False,
    resampling: Annotated[
        Literal["nearest", "bilinear", "cubic"],
        typer.Option(help="How AFTER is resampled onto the grid of BEFORE."),
    ] = "bilinear",
    tile: Annotated[
        int | None, typer.Option(min=1, help="Tile in pixels.  [default: by model]")
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(min=0, help="Pixels shared by neighbouring tiles.  [default: tile / 4]"),
    ] = None,
    polygons: Annotated[
        Literal["gpkg", "geoparquet", "geojson"], typer.Option(help="Format of the polygons.")
    ] = "gpkg",
    min_area: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Remove smaller polygons, in m2 (pixels without CRS); 0 keeps all.  "
            "[default: 16 px]",
        ),
    ] = None,
    fill_holes: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Fill holes up to this area, in m2 (pixels without CRS); 0 keeps all.  "
            "[default: 16 px]",
        ),
    ] = None,
    simplify: Annotated[
        float, typer.Option(min=0.0, help="Simplify outlines, tolerance in pixels.")
    ] = 0.0,
) -> None:
    """Map what changed between two rasters (of any size) or pictures, or in two folders of them.

    Rasters give score.tif, mask.tif, polygons, item.json (STAC) and summary.json; killed and
    started again, the command goes on from the finished tiles. PNG or JPEG pictures give score,
    mask, heat map and overlay as PNG.
    """
    from changedet.predict.folders import is_scene

    if not (is_scene(before) or is_scene(after)):
        _refuse_scene_options(ctx)
        _predict_pictures(
            Path(before),
            Path(after),
            model=model,
            out=out,
            threshold=threshold,
            test_time=test_time,
            batch_size=batch_size,
            device=device,
            encoder=encoder,
            encoder_weights=encoder_weights,
            overwrite=overwrite,
        )
        return
    _check_aoi_crs(aoi_crs, aoi=aoi)
    from changedet.predict.request import SceneRequest
    from changedet.vector.files import PolygonOptions

    request = SceneRequest(
        before=before,
        after=after,
        model=model,
        out=out,
        threshold=threshold,
        test_time=test_time,
        device=device,
        encoder=encoder,
        encoder_weights=encoder_weights,
        batch_size=batch_size,
        tile_px=tile,
        overlap_px=overlap,
        bands=_numbers("--bands", bands),
        bands_after=_numbers("--bands-after", bands_after),
        stretch=_stretch(stretch),
        resampling=resampling,
        coregister="global" if coregister else "off",
        region=aoi,
        region_crs=aoi_crs,
        polygons=PolygonOptions(
            format=polygons, min_area=min_area, fill_holes=fill_holes, simplify_px=simplify
        ),
        existing="replace" if overwrite else "refuse",
    )
    try:
        if Path(before).is_dir() or Path(after).is_dir():
            _predict_folders(request)
        else:
            _predict_scene(request)
    except KeyboardInterrupt:
        typer.echo("stopped; finished work is kept: run the same command again to resume", err=True)
        raise typer.Exit(_INTERRUPTED) from None


def _refuse_scene_options(ctx: typer.Context) -> None:
    """Reject options that would be ignored, even when set to their default."""
    sources = {name: ctx.get_parameter_source(name) for name in _PARAMETERS_OF_SCENES}
    options = [
        "--" + name.replace("_", "-")
        for name, source in sources.items()
        if source is not None and source.name != "DEFAULT"
    ]
    if options:
        raise ConfigError(
            f"{', '.join(options)} only work(s) on rasters such as GeoTIFF, not on PNG or JPEG; "
            "remove them, or convert the images (gdal_translate)"
        )


def _predict_pictures(
    before: Path,
    after: Path,
    *,
    model: str,
    out: Path,
    threshold: float | None,
    test_time: "TestTime | None",
    batch_size: int | None,
    device: str,
    encoder: str | None,
    encoder_weights: str | None,
    overwrite: bool,
) -> None:
    from changedet.cli.pair_progress import pair_progress
    from changedet.predict.images import predict_files

    with pair_progress("predict") as progress:
        report = predict_files(
            before,
            after,
            model=model,
            out=out,
            threshold=threshold,
            test_time=test_time,
            batch_size=batch_size or 8,
            device=device,
            encoder=encoder,
            encoder_weights=encoder_weights,
            existing="replace" if overwrite else "refuse",
            progress=progress,
        )
    for pair in report.pairs:
        typer.echo(f"{pair.name}: {100 * pair.changed_share:.2f} % changed")
    typer.echo(f"threshold {report.threshold:.4f} ({report.threshold_source})")
    typer.echo(f"results: {report.out}")


def _check_aoi_crs(aoi_crs: str | None, *, aoi: str | None) -> None:
    if aoi_crs is None:
        return
    from changedet.vector.vector_file import SUFFIXES

    if aoi is None:
        raise ConfigError(
            f"--aoi-crs {aoi_crs} is the CRS of the four numbers of --aoi, and there is no --aoi; "
            "add --aoi xmin,ymin,xmax,ymax or remove it"
        )
    if Path(aoi).suffix.lower() in SUFFIXES:
        raise ConfigError(
            f"--aoi-crs {aoi_crs} applies to an --aoi of four numbers only, and {aoi} is a file, "
            "which has its own CRS; remove it (ogr2ogr -a_srs corrects the file)"
        )


def _predict_scene(request: "SceneRequest") -> None:
    from changedet.cli.scene_progress import scene_progress
    from changedet.predict.rasters import predict_scene
    from changedet.predict.remarks import warnings_of

    with scene_progress() as display:
        report = predict_scene(request, say=display.say, progress=display.update)
    for line in _findings(report, request):
        typer.echo(line)
    _repeat_warnings(warnings_of(report.remarks))
    typer.echo(f"threshold {report.threshold:.4f} ({report.threshold_source})")
    typer.echo(f"results: {report.out}")


def _predict_folders(request: "SceneRequest") -> None:
    from changedet.cli.scene_progress import scene_progress
    from changedet.predict.folders import predict_scenes
    from changedet.predict.remarks import warnings_of

    failures: dict[str, ChangeDetError] = {}
    warnings: list[str] = []
    threshold = None
    try:
        with scene_progress() as display:
            for stem, outcome in predict_scenes(request, say=display.say, progress=display.update):
                with display.aside():
                    if isinstance(outcome, ChangeDetError):
                        failures[stem] = outcome
                        typer.echo(f"{stem}: failed, continuing with the others", err=True)
                        continue
                    for line in _findings(outcome, request):
                        typer.echo(f"{stem}: {line}")
                    warnings += (f"{stem}: {text}" for text in warnings_of(outcome.remarks))
                    threshold = f"{outcome.threshold:.4f} ({outcome.threshold_source})"
    finally:
        # Hours may have passed since, so they are listed where they are seen.
        _repeat_warnings(warnings)
        for stem, error in failures.items():
            typer.echo(f"changedet: {stem}: {error_line(error)}", err=True)
    if threshold is not None:
        typer.echo(f"threshold {threshold}")
    typer.echo(f"results: {request.out}")
    if failures:
        raise typer.Exit(_FAILED)


def _repeat_warnings(texts: Sequence[str]) -> None:
    """List once more, where it is seen, what may make the results wrong."""
    if texts:
        count = "1 warning" if len(texts) == 1 else f"{len(texts)} warnings"
        typer.echo(f"{count}:", err=True)
    for text in texts:
        say(f"  {text}")


def _findings(report: "SceneReport", request: "SceneRequest") -> list[str]:
    """Say in a few lines what was found on a scene."""
    counts, polygons = report.counts, report.polygons
    known = counts.changed + counts.unchanged
    area = "" if polygons.area_m2 is None else f", {polygons.area_m2:,.0f} m2"
    by_request = polygons.dropped if request.polygons.min_area is not None else 0
    dropped = f" ({by_request} smaller ones removed)" if by_request else ""
    lines = [
        f"{100 * counts.changed / known:.2f} % changed{_without_data(report, request)}; "
        f"{polygons.count} polygons{area}{dropped}"
    ]
    if clean_up := _clean_up(report, request):
        lines.append(clean_up)
    memory = report.peak_memory_mb
    lines.append(
        f"{report.mpx_per_s:.2f} Mpx/s over {report.seconds:.0f} s"
        + ("" if memory is None else f", peak memory {memory:,.0f} MB")
    )
    return lines


def _clean_up(report: "SceneReport", request: "SceneRequest") -> str:
    """Say what is not in the polygon file though nobody asked for that; empty: nothing."""
    smallest, holes = report.polygons.min_area, report.polygons.fill_holes
    parts, options = [], []
    if request.polygons.min_area is None and smallest is not None:
        parts.append(f"patches below {_size(smallest)} left out ({report.polygons.dropped})")
        options.append("--min-area 0")
    if request.polygons.fill_holes is None and holes is not None:
        parts.append(f"holes up to {_size(holes)} filled")
        options.append("--fill-holes 0")
    if not parts:
        return ""
    keeps = "keeps" if len(options) == 1 else "keep"
    return f"in the polygons, {', '.join(parts)}; {' '.join(options)} {keeps} all"


def _size(limit: "AreaLimit") -> str:
    if limit.unit == "m2" or limit.area_m2 is None:
        return f"{limit.value:g} {limit.unit}"
    area = f"{limit.area_m2:,.0f}" if limit.area_m2 >= 100 else f"{limit.area_m2:.3g}"
    return f"{limit.value:g} px ({area} m2)"


def _without_data(report: "SceneReport", request: "SceneRequest") -> str:
    counts = report.counts
    if not counts.nodata:
        return ""
    percent = 100 * counts.nodata / (counts.changed + counts.unchanged + counts.nodata)
    share = "less than 0.1" if percent < 0.1 else f"{percent:.1f}"
    # An area of interest may be of any shape, and the results are a rectangle.
    outside = "" if request.region is None else " or outside the area of interest"
    return f", {share} % without data{outside}"


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"{option} takes band numbers from 1 with commas, such as 4,3,2; got {text!r}"
        ) from error


def _stretch(text: str | None) -> tuple[float, float] | Literal["auto"] | None:
    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--stretch takes two numbers or auto, such as 0,3000; got {text!r}"
        ) from error
    return low, high
