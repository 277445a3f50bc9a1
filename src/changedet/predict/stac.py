"""A prediction on a scene as a STAC Item (stacspec.org): contents, sources, location."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pystac
from pyproj import CRS
from pyproj.exceptions import CRSError
from pystac.extensions.classification import Classification, ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension

from changedet._version import __version__
from changedet.palette import CHANGED_COLOUR, NODATA_COLOUR, PAPER, to_hex
from changedet.predict.footprint import footprint
from changedet.raster.cog import MASK_NODATA
from changedet.storage.results import to_plain

if TYPE_CHECKING:
    from changedet.raster.geo_grid import GeoGrid
    from changedet.raster.info import RasterInfo

_PROCESSING: Final = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
_MEDIA_TYPES: Final[dict[str, str]] = {
    ".tif": pystac.MediaType.COG,
    ".gpkg": pystac.MediaType.GEOPACKAGE,
    ".parquet": "application/vnd.apache.parquet",
    ".geojson": pystac.MediaType.GEOJSON,
    ".json": pystac.MediaType.JSON,
    ".png": pystac.MediaType.PNG,
    ".xml": pystac.MediaType.XML,
}
_TITLES: Final = {
    "score": "Change score, 0 to 1",
    "mask": "Change mask: 1 changed, 0 unchanged, 255 no data",
    "polygons": "Outlines of the changes",
    "preview": "Before, after, change score and outlines at a glance",
    "score-place": "CRS of the score, to be kept beside it",
    "mask-place": "CRS of the mask, to be kept beside it",
}
_ROLES: Final = {
    "preview": ["overview"],
    "score-place": ["metadata"],
    "mask-place": ["metadata"],
}
# Value, name, meaning and colour of the pixels of the mask.
_CLASSES: Final = (
    (0, "unchanged", "no change detected", PAPER),
    (1, "changed", "change detected", CHANGED_COLOUR),
    (MASK_NODATA, "nodata", "no data in one of the dates", NODATA_COLOUR),
)
# Multihash: the code of SHA-256 and the length of its digest in bytes, before the digest.
_SHA256: Final = "1220"
# Common metadata of STAC 1.1.
_PIXELS: Final[dict[str, dict[str, object]]] = {
    "score": {"data_type": "float32", "nodata": "nan"},
    "mask": {"data_type": "uint8", "nodata": 255},
}


def make_item(
    *,
    identifier: str,
    grid: GeoGrid,
    assets: Mapping[str, Path],
    inputs: tuple[RasterInfo, RasterInfo],
    created: datetime,
    properties: Mapping[str, Any],
    checksums: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Describe the products of one scene.

    The time range spans both images if both rasters state when they were acquired; otherwise it
    is ``created``. Addresses of inputs are given without user names and queries, which
    may hold a key.

    Args:
        identifier: Of the item.
        grid: Where the products lie; without CRS the item has no geometry.
        assets: Product files by what they are (``score``, ``mask``, ``polygons`` ...), in the
            folder that the item will be in.
        inputs: What is known of ``before`` and ``after``.
        created: When the products were made, with time zone.
        properties: More of them; what has no number (NaN) becomes null.
        checksums: SHA-256 of the product files in hexadecimal, by what they are.

    Returns:
        STAC Item of plain JSON types.
    """
    before, after = inputs
    created = created.astimezone(UTC)
    outline = footprint(grid)
    taken = [_instant(facts.acquired) for facts in inputs if facts.acquired is not None]
    has_both = len(taken) == len(inputs)
    item = pystac.Item(
        id=identifier,
        geometry=outline and outline.geometry,
        bbox=outline and outline.bbox,
        datetime=None if has_both else created,
        start_datetime=min(taken) if has_both else None,
        end_datetime=max(taken) if has_both else None,
        properties={},
    )
    item.common_metadata.created = created
    if before.gsd_m is not None:
        item.common_metadata.gsd = before.gsd_m
    _add_projection(item, grid)
    item.stac_extensions.append(_PROCESSING)
    item.properties |= {
        "processing:software": {"changedet": __version__},
        "changedet:inputs": {"before": _facts(before), "after": _facts(after)},
        **properties,
    }
    for name, path in assets.items():
        item.add_asset(name, _asset(name, path))
        checksum = (checksums or {}).get(name)
        if checksum is not None:
            FileExtension.ext(item.assets[name], add_if_missing=True).checksum = _SHA256 + checksum
    if "mask" in assets:
        _add_classes(item)
    for date, facts in zip(("before", "after"), inputs, strict=True):
        item.add_link(pystac.Link("derived_from", _address(facts), title=date))
    plain: dict[str, Any] = to_plain(item.to_dict(include_self_link=False, transform_hrefs=False))
    return plain


def crs_code(crs: str | None) -> str | None:
    """Name a CRS by authority and number, if it is a registered one."""
    if crs is None:
        return None
    try:
        authority = CRS.from_user_input(crs).to_authority(min_confidence=100)
    except CRSError:
        return None
    return ":".join(authority) if authority else None


def _wkt2(crs: str) -> str | None:
    """Give the text of a CRS; of one that PROJ cannot read, there is none in that language."""
    try:
        return CRS.from_user_input(crs).to_wkt()
    except CRSError:
        return None


def _instant(text: str) -> datetime:
    return pystac.utils.str_to_datetime(text)


def _add_projection(item: pystac.Item, grid: GeoGrid) -> None:
    code = crs_code(grid.crs)
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=code,
        wkt2=None if code is not None or grid.crs is None else _wkt2(grid.crs),
        shape=list(grid.shape),
        transform=list(grid.transform)[:6],
    )


def _asset(name: str, path: Path) -> pystac.Asset:
    return pystac.Asset(
        href=f"./{path.name}",
        title=_TITLES.get(name),
        media_type=_MEDIA_TYPES.get(path.suffix.lower()),
        roles=_ROLES.get(name, ["data"]),
        extra_fields=dict(_PIXELS.get(name, {})),
    )


def _add_classes(item: pystac.Item) -> None:
    """Say what the values of the mask mean."""
    classes = []
    for value, name, description, colour in _CLASSES:
        entry = Classification.create(
            value=value,
            name=name,
            description=description,
            color_hint=to_hex(colour).removeprefix("#").upper(),
        )
        if value == MASK_NODATA:
            entry.properties["nodata"] = True
        classes.append(entry)
    ClassificationExtension.ext(item.assets["mask"], add_if_missing=True).classes = classes


def _address(facts: RasterInfo) -> str:
    """Name an input so that it is found from wherever the item lies; without secrets."""
    path = Path(facts.name)
    return path.absolute().as_uri() if path.exists() else facts.name


def _facts(facts: RasterInfo) -> dict[str, object]:
    """Say what tells this input from others."""
    nodata = facts.nodata
    return {
        "href": facts.name,
        "driver": facts.driver,
        "shape": [facts.height, facts.width],
        "dtype": facts.dtype,
        "bands": list(facts.bands),
        # STAC's own name for what JSON has no number for.
        "nodata": "nan" if nodata is not None and math.isnan(nodata) else nodata,
        "gsd": facts.gsd_m,
        "size": facts.size_bytes,
        "changed_at": facts.changed_at,
        "acquired": facts.acquired,
    }
