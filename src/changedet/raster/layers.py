"""Names of one image among several in a file: pages of a TIFF, layers of netCDF and HDF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from changedet.errors import ImageError
from changedet.storage.text import exists, first_few

if TYPE_CHECKING:
    from collections.abc import Sequence

# What stands between a file and the number or name of an image in it.
_MARK: Final = "#"
_PAGES: Final = "GTIFF_DIR:"


def split_layer(location: str) -> tuple[str, str | None]:
    """Take apart ``FILE#LAYER``, where LAYER is a number from 1 or a name.

    Addresses are left whole, and so is a file whose own name has the mark.

    Returns:
        The file and the layer; None where none is named.
    """
    file, mark, layer = location.rpartition(_MARK)
    if not (file and mark and layer) or "://" in location:
        return location, None
    if exists(Path(location)) or not (file.startswith("/vsi") or exists(Path(file))):
        return location, None
    return file, layer


def choose_layer(name: str, layers: Sequence[str], layer: str) -> str | None:
    """Find what GDAL calls an image of a file.

    Args:
        name: Of the file, for the message.
        layers: GDAL's names of all images in it; none if there is a single one.
        layer: Number from 1, or the last part of a name.

    Returns:
        GDAL's name; None for the only image.

    Raises:
        ImageError: If there is no such image.
    """
    if not layers and layer == "1":
        return None
    if layer.isdecimal() and 1 <= int(layer) <= len(layers):
        return layers[int(layer) - 1]
    named = [known for known in layers if _last_part(known) == layer]
    if len(named) == 1:
        return named[0]
    raise ImageError(f"{name}: has no image {layer!r}; it holds {describe_layers(name, layers)}")


def describe_layers(name: str, layers: Sequence[str]) -> str:
    """Say in one line which images a file holds and how to name one."""
    if not layers:
        return "a single one, which needs no number"
    if layers[0].startswith(_PAGES):
        return f"{len(layers)}: {name}{_MARK}1 to {name}{_MARK}{len(layers)}"
    listed = [f"{name}{_MARK}{number} ({layer})" for number, layer in enumerate(layers, 1)]
    return first_few(listed)


def _last_part(layer: str) -> str:
    """Give what people know a layer by: of NETCDF:"file.nc":red, red."""
    return layer.replace("/", ":").rpartition(":")[2].strip('"')
