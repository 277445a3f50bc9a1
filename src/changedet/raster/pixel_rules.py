"""How stored values of a raster are read, besides what the file itself declares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from changedet.errors import ConfigError

#: What marks missing pixels besides what the file declares: what is certain in the values
#: ("auto"), nothing ("none"), or a value in both dates.
NoData: TypeAlias = float | Literal["auto", "none"]
#: Whether an alpha band tells which pixels hold data: where it looks like a mask ("auto"), always
#: ("mask"), never ("ignore").
Alpha: TypeAlias = Literal["auto", "mask", "ignore"]


@dataclass(frozen=True)
class Linear:
    """Turn stored values of one band into another unit: ``factor * value + offset``."""

    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class PixelRules:
    """How the values of one raster are read.

    Attributes:
        missing_in_all: Values that mark a missing pixel where all chosen bands hold them.
        missing_in_any: Values that mark one where any chosen band holds them.
        uses_alpha: Whether a pixel is missing where an alpha band is 0.
        units: How each chosen band is converted; None: values stay as they are stored.
    """

    missing_in_all: tuple[float, ...] = ()
    missing_in_any: tuple[float, ...] = ()
    uses_alpha: bool = True
    units: tuple[Linear, ...] | None = None

    @property
    def has_missing(self) -> bool:
        """Whether values that the file does not declare mark missing pixels."""
        return bool(self.missing_in_all or self.missing_in_any)


def check_nodata(nodata: NoData) -> None:
    """Refuse what marks no pixel.

    Raises:
        ConfigError: If it is neither a finite number nor ``auto`` nor ``none``.
    """
    if isinstance(nodata, str):
        if nodata not in ("auto", "none"):
            raise ConfigError(f"`nodata` must be auto, none or a number, got {nodata!r}")
    elif not math.isfinite(nodata):
        raise ConfigError(
            f"`nodata` must be a finite number, got {nodata}; NaN and infinite values never count "
            "as data, so nothing needs to be set for them"
        )


def rules_for_value(nodata: float, *, dtype: str) -> PixelRules:
    """Make a value mark missing pixels, in the way in which a declared one does.

    Args:
        nodata: The value.
        dtype: Type of the stored values; of unsigned ones, all bands must hold the value.
    """
    if dtype.startswith("uint"):
        return PixelRules(missing_in_all=(nodata,))
    return PixelRules(missing_in_any=(nodata,))
