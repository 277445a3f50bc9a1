"""Options of ``changedet predict`` that are for rasters only, and what their words mean."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import typer

from changedet._optional import require
from changedet.cli.options import band_numbers
from changedet.cli.preflight import check_device, check_method
from changedet.errors import ConfigError
from changedet.vector.region_text import check_region

if TYPE_CHECKING:
    from changedet.predict.request import SceneRequest

_reading: Final = partial(typer.Option, rich_help_panel="Rasters: reading")
_polygons: Final = partial(typer.Option, rich_help_panel="Rasters: polygons")

BandsOption: TypeAlias = Annotated[
    str | None,
    _reading(metavar="N,N,...", help="Band numbers in the model's order, from 1, such as 4,3,2."),
]
BandsAfterOption: TypeAlias = Annotated[
    str | None,
    _reading(metavar="N,N,...", help="The same for the second date.", show_default="as --bands"),
]
StretchOption: TypeAlias = Annotated[
    str | None,
    _reading(
        metavar="LOW,HIGH|auto", help="Values that become 0 and 255, for models trained on 8 bit."
    ),
]
NodataOption: TypeAlias = Annotated[
    str,
    _reading(
        metavar="auto|none|VALUE",
        help="What marks missing pixels in both dates, besides what the files declare; auto: "
        "what is certain in their values.",
    ),
]
AlphaOption: TypeAlias = Annotated[
    Literal["auto", "mask", "ignore"],
    _reading(help="Take an alpha band as a mask; auto: if it looks like one."),
]
AoiOption: TypeAlias = Annotated[
    str | None,
    _reading(
        metavar="BOX|FILE",
        help="Area of interest: XMIN,YMIN,XMAX,YMAX, or a .geojson, .gpkg or .shp file.",
    ),
]
AoiCrsOption: TypeAlias = Annotated[
    str | None,
    _reading(
        metavar="CRS",
        help="CRS of the four numbers, such as EPSG:4326.",
        show_default="that of BEFORE",
    ),
]
CoregisterOption: TypeAlias = Annotated[
    bool,
    _reading("--coregister", help="Correct the shift measured between the dates."),
]
ResamplingOption: TypeAlias = Annotated[
    Literal["nearest", "bilinear", "cubic"],
    _reading(help="How AFTER is resampled onto the grid of BEFORE."),
]
TileOption: TypeAlias = Annotated[
    int | None,
    _reading(min=1, metavar="PIXELS", help="Height and width of a tile.", show_default="by model"),
]
OverlapOption: TypeAlias = Annotated[
    int | None,
    _reading(
        min=0,
        metavar="PIXELS",
        help="What neighbouring tiles share.",
        show_default="a quarter of the tile",
    ),
]
PolygonsOption: TypeAlias = Annotated[
    Literal["gpkg", "geoparquet", "geojson"],
    _polygons(help="Format of the polygons."),
]
MinAreaOption: TypeAlias = Annotated[
    float | None,
    _polygons(
        min=0.0,
        metavar="AREA",
        help="Leave out smaller polygons, in m² (pixels without CRS); 0 keeps all.",
        show_default="16 px",
    ),
]
FillHolesOption: TypeAlias = Annotated[
    float | None,
    _polygons(
        min=0.0,
        metavar="AREA",
        help="Fill holes up to this area, in m² (pixels without CRS); 0 fills none.",
        show_default="16 px",
    ),
]
SimplifyOption: TypeAlias = Annotated[
    float,
    _polygons(min=0.0, metavar="PIXELS", help="Simplify the outlines by at most this."),
]

_PARAMETERS = (
    "bands",
    "bands_after",
    "stretch",
    "nodata",
    "alpha",
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


def refuse_where_ignored(ctx: typer.Context) -> None:
    """Reject these options for pictures, even when set to their default.

    Args:
        ctx: Of the command that was given them.

    Raises:
        ConfigError: If one was given.
    """
    sources = {name: ctx.get_parameter_source(name) for name in _PARAMETERS}
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


def parse_stretch(text: str | None) -> tuple[float, float] | Literal["auto"] | None:
    """Read the values that become 0 and 255.

    Raises:
        ConfigError: If the text is neither two numbers nor ``auto``.
    """
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


def parse_nodata(text: str) -> float | Literal["auto", "none"]:
    """Read what marks missing pixels.

    Raises:
        ConfigError: If the text is neither a number nor one of the two words.
    """
    if text == "auto":
        return "auto"
    if text == "none":
        return "none"
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            f"--nodata takes auto, none or a number, such as -9999; got {text!r}"
        ) from error


def check_scoring(settings: Mapping[str, Any]) -> str:
    """Find the model, and refuse options about how it scores that do not apply to it.

    Args:
        settings: The options of ``changedet predict`` by the names of its parameters.

    Returns:
        The model file, or the baseline's name.

    Raises:
        ChangeDetError: As :func:`changedet.cli.preflight.check_method`.
    """
    check_device(settings["device"])
    same = (
        *("threshold", "test_time", "kind", "encoder", "encoder_weights", "runtime", "precision"),
        "device",
    )
    return check_method(
        settings["model"],
        **{name: settings[name] for name in same},
        gsd_m=settings["gsd"],
        needs_threshold=True,
    )


def common_request(settings: Mapping[str, Any], *, method: str) -> "SceneRequest":
    """Check the options for rasters, and make of all options what scenes have in common.

    Args:
        settings: The options of ``changedet predict`` by the names of its parameters.
        method: The model file, or the baseline's name.

    Returns:
        A request without rasters and without a folder.

    Raises:
        ConfigError: If an option makes no sense.
        DataError: If the file of an area is not there.
        MissingExtraError: If a package for the polygons is not installed.
    """
    check_region(settings["aoi"], region_crs=settings["aoi_crs"])
    limits = parse_stretch(settings["stretch"])
    missing = parse_nodata(settings["nodata"])
    bands = band_numbers("--bands", settings["bands"])
    bands_after = band_numbers("--bands-after", settings["bands_after"])
    if settings["polygons"] == "geoparquet":
        require("pyarrow.parquet", extra="parquet")
    from changedet.predict.request import SceneRequest
    from changedet.vector.files import PolygonOptions

    same = (
        *("threshold", "test_time", "kind", "device", "runtime", "precision", "encoder"),
        *("encoder_weights", "batch_size", "alpha", "resampling"),
    )
    return SceneRequest(
        before="",
        after="",
        model=method,
        out=Path(),
        **{name: settings[name] for name in same},
        gsd_m=settings["gsd"],
        tile_px=settings["tile"],
        overlap_px=settings["overlap"],
        bands=bands,
        bands_after=bands_after,
        stretch=limits,
        nodata=missing,
        coregister="global" if settings["coregister"] else "off",
        region=settings["aoi"],
        region_crs=settings["aoi_crs"],
        polygons=PolygonOptions(
            format=settings["polygons"],
            min_area=settings["min_area"],
            fill_holes=settings["fill_holes"],
            simplify_px=settings["simplify"],
        ),
    )
