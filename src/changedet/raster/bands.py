"""Which bands of a raster the model gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rasterio.enums import ColorInterp

from changedet.errors import ConfigError
from changedet.raster.environment import gdal_environment
from changedet.raster.open import open_raster
from changedet.storage.secrets import without_secrets
from changedet.storage.text import first_few

if TYPE_CHECKING:
    from collections.abc import Sequence

    import rasterio


# Bands of a multispectral satellite; hyperspectral ones have hundreds.
_LISTED: Final = 16
# So many are named in an example.
_EXAMPLE: Final = 3


def choose_bands(
    dataset: rasterio.DatasetReader,
    wanted: tuple[int, ...] | None,
    *,
    channels: int,
    location: str,
    setting: str = "bands",
) -> tuple[int, ...]:
    """Check the wanted bands, or take all of them if there are just as many as the model takes.

    Args:
        dataset: The open raster.
        wanted: Band numbers from 1, in the order of the model's channels; None: all but alpha.
        channels: Bands that the model takes.
        location: Path or address, for the message.
        setting: Name of the setting that chooses, for the message.

    Raises:
        ConfigError: If a band does not exist, or their number is not what the model takes.
    """
    name = without_secrets(location)
    colours = [band for band in dataset.indexes if band not in alpha_bands(dataset)]
    if wanted is None:
        if len(colours) == channels:
            return tuple(colours)
        first = ",".join(map(str, (colours * channels)[:channels]))
        raise ConfigError(
            f"{name}: has {len(colours)} band{'s' * (len(colours) != 1)} "
            f"({describe_bands(dataset)}), the model takes {channels}; choose them in the model's "
            f"order, for example `{setting}=({first})`{_palette_advice(dataset)}"
        )
    unknown = [str(band) for band in wanted if band not in dataset.indexes]
    if unknown:
        raise ConfigError(
            f"{name}: there is no band {', '.join(unknown)} (`{setting}`); it has "
            f"{describe_bands(dataset)}"
        )
    if len(wanted) != channels:
        raise ConfigError(
            f"`{setting}` names {len(wanted)} bands, but the model takes {channels}; {name} has "
            f"{describe_bands(dataset)}"
        )
    return wanted


def count_common_bands(before: str, after: str) -> int:
    """Count the bands that are no alpha, if both rasters have as many.

    Args:
        before: Path or address of the earlier raster.
        after: The same of the later one.

    Raises:
        ConfigError: If they have not.
        ImageError: If a raster cannot be opened.
    """
    counts: list[int] = []
    for location in (before, after):
        with gdal_environment(), open_raster(location) as dataset:
            counts.append(dataset.count - len(alpha_bands(dataset)))
    if counts[0] != counts[1]:
        first = ", ".join(map(str, range(1, min(*counts, _EXAMPLE) + 1)))
        raise ConfigError(
            f"{without_secrets(before)} has {counts[0]} band{'s' * (counts[0] != 1)} and "
            f"{without_secrets(after)} has {counts[1]}; select those to compare, for example "
            f"`bands=({first})` (and `bands_after` if they are numbered differently)"
        )
    return counts[0]


def alpha_bands(dataset: rasterio.DatasetReader) -> list[int]:
    """Give the numbers of the bands that say how opaque a pixel is."""
    pairs = zip(dataset.indexes, dataset.colorinterp, strict=True)
    return [band for band, colour in pairs if colour == ColorInterp.alpha]


def has_palette(dataset: rasterio.DatasetReader, bands: Sequence[int]) -> bool:
    """Tell whether the only band of these gives colours by a palette."""
    return len(bands) == 1 and dataset.colorinterp[bands[0] - 1] == ColorInterp.palette


def describe_bands(dataset: rasterio.DatasetReader) -> str:
    """List the bands with what the file says of each, such as ``1 red, 2 green, 3 "B8A"``.

    Of many bands, the first few.
    """
    rows = zip(dataset.indexes, dataset.colorinterp, dataset.descriptions, strict=True)
    bands = [f'{band} "{text}"' if text else f"{band} {colour.name}" for band, colour, text in rows]
    return first_few(bands, most=_LISTED)


def _palette_advice(dataset: rasterio.DatasetReader) -> str:
    if ColorInterp.palette not in dataset.colorinterp:
        return ""
    return "; convert palette colours to bands with gdal_translate -expand rgb"
