"""Options of ``changedet predict`` that are for rasters only, and what their words mean."""

from functools import partial
from typing import Annotated, Final, Literal, TypeAlias

import typer

from changedet.errors import ConfigError

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
