"""What the header of a raster says of its bands: which are read, their kind, whether with gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from changedet.errors import ImageError
from changedet.raster.bands import alpha_bands, choose_bands, has_palette
from changedet.raster.open import open_raster
from changedet.raster.pixels import may_have_gaps
from changedet.raster.units import read_units
from changedet.raster.value_types import kind_of_values
from changedet.storage.secrets import without_secrets

if TYPE_CHECKING:
    from changedet.raster.pixel_rules import Linear
    from changedet.types import PixelType

_RGB = 3


class BandReading(NamedTuple):
    """How the bands of a raster are read.

    Attributes:
        bands: Their numbers, from 1, in the model's order.
        channels: How many bands that makes: the colours of a palette are three.
        pixel_type: Kind of the stored values.
        has_gaps: Whether pixels may hold no data.
        band_count: Bands of the file.
        units: Scale and offset of each band; empty where they are not known.
    """

    bands: tuple[int, ...]
    channels: int
    pixel_type: PixelType = "uint8"
    has_gaps: bool = False
    band_count: int = 1
    units: tuple[Linear, ...] = ()


def settle_bands(
    location: str, wanted: tuple[int, ...] | None, *, channels: int | None
) -> BandReading:
    """Choose the bands of a raster from its header.

    Args:
        location: Path or address.
        wanted: Band numbers from 1, in the model's order; None: all but alpha, and the colours of
            a palette.
        channels: Bands that the model takes; None: as many as there are.

    Raises:
        ConfigError: If a band does not exist, or their number is not what the model takes.
        ImageError: If it cannot be opened, or has complex numbers.
    """
    with open_raster(location) as dataset:
        colours = [band for band in dataset.indexes if band not in alpha_bands(dataset)]
        if wanted is None and channels in (None, _RGB) and has_palette(dataset, colours):
            bands, number = tuple(colours), _RGB
        else:
            number = len(wanted or colours) if channels is None else channels
            bands = choose_bands(dataset, wanted, channels=number, location=location)
        dtypes = {dataset.dtypes[band - 1] for band in bands}
        odd = next((dtype for dtype in sorted(dtypes) if dtype.startswith("complex")), None)
        if odd is not None:
            raise ImageError(
                f"{without_secrets(location)}: has complex numbers ({odd}); write their magnitude "
                "with gdal_calc.py, or choose other bands"
            )
        return BandReading(
            bands,
            number,
            kind_of_values(dtypes),
            may_have_gaps(dataset, bands),
            dataset.count,
            read_units(dataset, bands).bands,
        )
