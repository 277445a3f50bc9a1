"""Whether the values of a raster are what the model was trained on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

from changedet.errors import ConfigError
from changedet.types import PixelType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from changedet.raster.info import RasterInfo
    from changedet.raster.rescale import Limits

_BYTE = "uint8"
#: Pixel type of what takes all kinds of real values, and the dates may differ in it.
ANY_TYPE = "any"


def kind_of_values(dtypes: Iterable[str]) -> PixelType:
    """Tell the kind of stored values from the types of all bands that are read."""
    names = set(dtypes)
    name = names.pop() if len(names) == 1 else "float32"
    return next((kind for kind in get_args(PixelType) if kind == name), "float32")


def require_stretch_in_order(stretch: Limits | Literal["auto"] | None) -> None:
    """Refuse limits that are no range.

    Raises:
        ConfigError: If low is not below high, or one of them is no number.
    """
    if stretch is None or stretch == "auto":
        return
    low, high = stretch
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(
            f"`stretch=({low:g}, {high:g})`: the first value must be below the second"
        )


def needs_stretch(
    raster: RasterInfo, *, pixel_type: str, stretch: Limits | Literal["auto"] | None
) -> bool:
    """Tell whether the values must be stretched to 8 bit, and whether that was asked for.

    Args:
        raster: One of the dates.
        pixel_type: What the model was trained on, or :data:`ANY_TYPE`.
        stretch: What the user asked for.

    Raises:
        ConfigError: If the raster's values are not of the kind that the model was trained on.
    """
    if raster.dtype.startswith("complex"):
        raise ConfigError(
            f"{raster.name}: has complex numbers ({raster.dtype}); write their magnitude with "
            "gdal_calc.py, or choose other bands"
        )
    if pixel_type == ANY_TYPE:
        if stretch is not None:
            raise ConfigError(
                "`stretch` applies to models trained on 8 bit only; baselines use the values as "
                "they are stored; remove it"
            )
        return False
    if pixel_type == _BYTE:
        if raster.dtype == _BYTE:
            return False
        if stretch is None:
            raise ConfigError(
                f"{raster.name}: has {raster.dtype} values, but the model was trained on 8 bit; "
                'set which values become 0 and 255: `stretch=(LOW, HIGH)` or `stretch="auto"`'
            )
        return True
    if raster.dtype == _BYTE:
        raise ConfigError(
            f"{raster.name}: has 8-bit values, but the model was trained on {pixel_type}; give the "
            "raster as it was before it was converted to 8 bit"
        )
    if stretch is not None:
        raise ConfigError(
            "`stretch` applies to models trained on 8 bit only; this one was trained on "
            f"{pixel_type} and uses the values as they are stored; remove it"
        )
    return False
