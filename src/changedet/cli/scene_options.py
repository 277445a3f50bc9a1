"""Options of ``changedet predict`` that are for rasters only, and what their words mean."""

from typing import Annotated, Final, Literal, TypeAlias

import typer

from changedet.errors import ConfigError

_READING: Final = "Rasters: reading"
_POLYGONS: Final = "Rasters: polygons"

BandsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help="Band numbers in the model's order, from 1, such as 4,3,2.",
        rich_help_panel=_READING,
    ),
]
BandsAfterOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help="The same for the second date.",
        show_default="as --bands",
        rich_help_panel=_READING,
    ),
]
StretchOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH|auto",
        help="Values that become 0 and 255, for models trained on 8 bit.",
        rich_help_panel=_READING,
    ),
]
NodataOption: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="auto|none|VALUE",
        help="What marks missing pixels in both dates, besides what the files declare; auto: "
        "what is certain in their values.",
        rich_help_panel=_READING,
    ),
]
AlphaOption: TypeAlias = Annotated[
    Literal["auto", "mask", "ignore"],
    typer.Option(
        help="Take an alpha band as a mask; auto: if it looks like one.",
        rich_help_panel=_READING,
    ),
]
AoiOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="BOX|FILE",
        help="Area of interest: XMIN,YMIN,XMAX,YMAX, or a .geojson, .gpkg or .shp file.",
        rich_help_panel=_READING,
    ),
]
AoiCrsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="CRS",
        help="CRS of the four numbers, such as EPSG:4326.",
        show_default="that of BEFORE",
        rich_help_panel=_READING,
    ),
]
CoregisterOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--coregister",
        help="Correct the shift measured between the dates.",
        rich_help_panel=_READING,
    ),
]
ResamplingOption: TypeAlias = Annotated[
    Literal["nearest", "bilinear", "cubic"],
    typer.Option(help="How AFTER is resampled onto the grid of BEFORE.", rich_help_panel=_READING),
]
TileOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="PIXELS",
        help="Height and width of a tile.",
        show_default="by model",
        rich_help_panel=_READING,
    ),
]
OverlapOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="PIXELS",
        help="What neighbouring tiles share.",
        show_default="a quarter of the tile",
        rich_help_panel=_READING,
    ),
]
PolygonsOption: TypeAlias = Annotated[
    Literal["gpkg", "geoparquet", "geojson"],
    typer.Option(help="Format of the polygons.", rich_help_panel=_POLYGONS),
]
MinAreaOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        metavar="AREA",
        help="Leave out smaller polygons, in m² (pixels without CRS); 0 keeps all.",
        show_default="16 px",
        rich_help_panel=_POLYGONS,
    ),
]
FillHolesOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        metavar="AREA",
        help="Fill holes up to this area, in m² (pixels without CRS); 0 fills none.",
        show_default="16 px",
        rich_help_panel=_POLYGONS,
    ),
]
SimplifyOption: TypeAlias = Annotated[
    float,
    typer.Option(
        min=0.0,
        metavar="PIXELS",
        help="Simplify the outlines by at most this.",
        rich_help_panel=_POLYGONS,
    ),
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
