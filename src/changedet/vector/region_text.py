"""An area of interest as the user writes it: four numbers or a file; no GDAL."""

import math
from pathlib import Path
from typing import Final, TypeAlias

from changedet.errors import ConfigError, DataError
from changedet.storage.text import exists

#: Left, bottom, right, top.
Bounds: TypeAlias = tuple[float, float, float, float]
#: Endings of the files that polygons are read from.
SUFFIXES: Final = (".gpkg", ".geojson", ".json", ".shp")


def is_region_file(text: str) -> bool:
    """Tell a file of polygons from a bounding box."""
    return Path(text.strip()).suffix.lower() in SUFFIXES


def parse_bounding_box(text: str) -> Bounds:
    """Read ``XMIN,YMIN,XMAX,YMAX``.

    Raises:
        ConfigError: If these are not four numbers, or the corners are swapped.
    """
    try:
        left, bottom, right, top = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"a region is XMIN,YMIN,XMAX,YMAX or a {', '.join(SUFFIXES)} file, got {text!r}"
        ) from error
    if not all(math.isfinite(side) for side in (left, bottom, right, top)):
        raise ConfigError(f"a bounding box needs finite numbers, got {text!r}")
    if left >= right or bottom >= top:
        raise ConfigError(
            f"a bounding box is XMIN,YMIN,XMAX,YMAX with XMIN < XMAX and YMIN < YMAX, got {text!r}"
        )
    return left, bottom, right, top


def check_region(region: str | None, *, region_crs: str | None) -> None:
    """Refuse an area of interest that can be told wrong from its words.

    Args:
        region: Bounding box or file; None: all of the scene.
        region_crs: CRS of the bounding box, if it is another one than that of the scene.

    Raises:
        ConfigError: If it is neither, or the CRS does not apply.
        DataError: If the file is not there.
    """
    if region is None:
        if region_crs is not None:
            raise ConfigError(
                f"`region_crs={region_crs}` is the CRS of the four numbers of `region`, and there "
                "is no `region`; add `region=xmin,ymin,xmax,ymax` or remove it"
            )
    elif not is_region_file(region):
        parse_bounding_box(region)
    elif region_crs is not None:
        raise ConfigError(
            f"`region_crs={region_crs}` applies to a `region` of four numbers only, and {region} "
            "is a file, which has its own CRS; remove it (ogr2ogr -a_srs corrects the file)"
        )
    elif not exists(Path(region.strip())):
        raise DataError(f"{region}: no such file; check the path")
